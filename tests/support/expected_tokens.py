"""Signs tokens of AWS IAM with the SDK for Python, as its documentation and the guides of the services show.

Reads a JSON object: `access_key`, `secret_key`, `session_token` (or null), `region`, and `tokens`, a list of objects
with `service`, `host`, `user`, `at` (as in X-Amz-Date), `port` for a database and `serverless` for a cache. Prints the
list of tokens.
"""

import datetime
import json
import sys
from unittest import mock
from urllib.parse import urlencode

import botocore.session
from botocore.model import ServiceId
from botocore.signers import RequestSigner

asked = json.load(sys.stdin)
session = botocore.session.Session()
session.set_credentials(asked["access_key"], asked["secret_key"], asked["session_token"])
region = asked["region"]


def database(token):
    client = session.create_client("rds", region_name=region)
    return client.generate_db_auth_token(token["host"], token["port"], token["user"], region)


def cache(token):
    service = token["service"]
    emitter = session.get_component("event_emitter")
    signer = RequestSigner(ServiceId(service), region, service, "v4", session.get_credentials(), emitter)
    query = {"Action": "connect", "User": token["user"]}
    if token.get("serverless"):
        query["ResourceType"] = "ServerlessCache"
    url = f"https://{token['host']}/?{urlencode(query)}"
    request = {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}}
    signed = signer.generate_presigned_url(request, operation_name="connect", expires_in=900, region_name=region)
    return signed.removeprefix("https://")


def signed(token):
    at = datetime.datetime.strptime(token["at"], "%Y%m%dT%H%M%SZ")
    with mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: at):
        return database(token) if token["service"] == "rds-db" else cache(token)


json.dump([signed(token) for token in asked["tokens"]], sys.stdout)
