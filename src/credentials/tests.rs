use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_sigv4::http_request::SignableBody;

use super::token::Presigned;
use super::{Audience, CacheKind, Chain, Password, Signer};

fn at(text: &str) -> SystemTime {
    let time: jiff::Timestamp = text.parse().unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_second().try_into().unwrap())
}

fn credentials(id: &str, secret: &str, session: Option<&str>) -> Credentials {
    Credentials::new(id, secret, session.map(str::to_owned), None, "test")
}

fn parameter<'t>(url: &'t str, name: &str) -> &'t str {
    let (_, query) = url.split_once('?').unwrap();
    let mut all = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = all.find(|(own, _)| *own == name);
    found.unwrap_or_else(|| panic!("{name}: {url}")).1
}

/// Of the signing test suite that AWS publishes with its C runtime (awslabs/aws-c-auth,
/// `tests/aws-signing-test-suite/v4`, each test's `request.txt` and `query-signature.txt`).
#[test]
fn urls_are_signed_as_the_test_suite_of_aws_says() {
    const SESSION: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let suite = [
        (
            "get-vanilla",
            "/",
            None,
            "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
        ),
        (
            "get-vanilla-query-order-key-case",
            "/?Param2=value2&Param1=value1",
            None,
            "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5",
        ),
        (
            "get-vanilla-with-session-token",
            "/",
            Some(SESSION),
            "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c",
        ),
    ];
    for (name, path, session, expected) in suite {
        let presigned = Presigned {
            request: &format!("example.amazonaws.com{path}"),
            service: "service",
            region: "us-east-1",
            lasts: Duration::from_secs(3_600),
            body: SignableBody::empty(),
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let credentials = credentials("AKIDEXAMPLE", secret, session);
        let url = presigned.signed(credentials, at("2015-08-30T12:36:00Z"));
        let url = url.unwrap();
        assert_eq!(
            parameter(&url, "X-Amz-Signature"),
            expected,
            "{name}: {url}"
        );
        assert_eq!(
            parameter(&url, "X-Amz-Credential"),
            "AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request"
        );
    }
}

/// The example of "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" in the Amazon S3
/// API Reference.
#[test]
fn urls_are_signed_as_the_manual_of_s3_shows() {
    let presigned = Presigned {
        request: "examplebucket.s3.amazonaws.com/test.txt",
        service: "s3",
        region: "us-east-1",
        lasts: Duration::from_secs(86_400),
        body: SignableBody::UnsignedPayload,
    };
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let credentials = credentials("AKIAIOSFODNN7EXAMPLE", secret, None);
    let url = presigned.signed(credentials, at("2013-05-24T00:00:00Z"));
    assert_eq!(
        url.unwrap(),
        "examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
}

fn signer(audience: Audience, session: Option<&str>) -> Signer {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let chain = Chain::of(credentials("AKIDEXAMPLE", secret, session));
    Signer::new(chain, "eu-west-1".to_owned(), audience)
}

fn database() -> Audience {
    Audience::Database {
        host: "shop.cluster-abc.eu-west-1.rds.amazonaws.com".to_owned(),
        port: 3306,
        user: "evictd".to_owned(),
    }
}

fn cache(kind: CacheKind) -> Audience {
    Audience::Cache {
        kind,
        name: "shop-cache".to_owned(),
        user: "evictd".to_owned(),
    }
}

/// The signatures are botocore's for the same: `generate_db_auth_token` for the database, and its
/// `SigV4QueryAuth` over the request that the guides of the caches show. `tests/daemon/iam.rs` compares the two
/// again with the time of day.
#[tokio::test]
async fn tokens_are_those_that_the_sdk_for_python_signs() {
    const SESSION: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJH+/=";
    let now = at("2026-11-23T12:00:00Z");
    for (audience, session, request, service, signature) in [
        (
            database(),
            None,
            "shop.cluster-abc.eu-west-1.rds.amazonaws.com:3306/?Action=connect&DBUser=evictd&",
            "rds-db",
            "92869680590bed0d1fadca5a18d26337cc311399ff83dc7ab161bc01afe86e4f",
        ),
        (
            database(),
            Some(SESSION),
            "shop.cluster-abc.eu-west-1.rds.amazonaws.com:3306/?Action=connect&DBUser=evictd&",
            "rds-db",
            "a5d5b31d9abe0f80bf555def2603956e9455ca5493dfe4888bf8cfa79b287932",
        ),
        (
            cache(CacheKind::ElastiCache),
            None,
            "shop-cache/?Action=connect&User=evictd&X",
            "elasticache",
            "5484d0562f48f9450257406bef2be65cc344bd1fbb454b937bee5d5987f9cab3",
        ),
        (
            cache(CacheKind::ElastiCacheServerless),
            None,
            "shop-cache/?Action=connect&User=evictd&ResourceType=ServerlessCache&",
            "elasticache",
            "d3cd33c0bfea3947607dd608cbd68d965c0c912364956e6faa302834884adf66",
        ),
        (
            cache(CacheKind::MemoryDb),
            Some(SESSION),
            "shop-cache/?Action=connect&User=evictd&X",
            "memorydb",
            "a939da9c0f1f6ac26d8e43054e339ae66114a383d7ce52ab108e9e52b15136a0",
        ),
    ] {
        let token = signer(audience, session).token(now).await.unwrap();
        assert!(token.starts_with(request), "{token}");
        assert_eq!(
            parameter(&token, "X-Amz-Credential"),
            format!("AKIDEXAMPLE%2F20261123%2Feu-west-1%2F{service}%2Faws4_request")
        );
        assert_eq!(parameter(&token, "X-Amz-Date"), "20261123T120000Z");
        assert_eq!(parameter(&token, "X-Amz-Expires"), "900");
        assert_eq!(parameter(&token, "X-Amz-SignedHeaders"), "host");
        assert_eq!(parameter(&token, "X-Amz-Signature"), signature, "{token}");
    }
}

#[tokio::test]
async fn what_an_account_is_called_cannot_change_what_is_asked_for() {
    let audience = Audience::Database {
        host: "db.test".to_owned(),
        port: 3306,
        user: "a&Action=all b/\u{e9}".to_owned(),
    };
    let token = signer(audience, None)
        .token(SystemTime::now())
        .await
        .unwrap();
    assert_eq!(parameter(&token, "DBUser"), "a%26Action%3Dall%20b%2F%C3%A9");
}

/// Credentials that end after a while, and how often they were asked for.
#[derive(Clone, Debug, Default)]
struct Ending {
    end: Option<SystemTime>,
    asked: Arc<AtomicU64>,
}

impl ProvideCredentials for Ending {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let times = self.asked.fetch_add(1, Ordering::Relaxed);
        let id = format!("AKID{times}");
        let credentials = Credentials::new(id, "secret", None, self.end, "test");
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

#[tokio::test]
async fn credentials_are_kept_until_shortly_before_their_end() {
    let begin = at("2026-11-23T12:00:00Z");
    for (end, kept_s, gone_s) in [(Some(3_600), 3_530, 3_541), (None, 890, 901)] {
        let provider = Ending {
            end: end.map(|seconds| begin + Duration::from_secs(seconds)),
            ..Ending::default()
        };
        let signer = Signer::new(
            Chain::of(provider.clone()),
            "eu-west-1".to_owned(),
            database(),
        );
        for (after_s, asked, id) in [(0, 1, "AKID0"), (kept_s, 1, "AKID0"), (gone_s, 2, "AKID1")] {
            let token = signer.token(begin + Duration::from_secs(after_s)).await;
            let token = token.unwrap();
            assert!(
                parameter(&token, "X-Amz-Credential").starts_with(id),
                "{token}"
            );
            assert_eq!(provider.asked.load(Ordering::Relaxed), asked, "{end:?}");
        }
    }
}

#[derive(Debug)]
struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let error = CredentialsError::not_loaded("no providers in chain");
        future::ProvideCredentials::ready(Err(error))
    }
}

#[tokio::test]
async fn a_process_without_credentials_is_told_what_it_needs() {
    let signer = Signer::new(Chain::of(Nobody), "eu-west-1".to_owned(), database());
    let password = Password::Token(Arc::new(signer));
    let error = password.now().await.unwrap_err().to_string();
    for words in [
        "\"evictd\" at shop.cluster-abc.eu-west-1.rds.amazonaws.com",
        "no providers in chain",
        "AWS_ACCESS_KEY_ID",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn connections_to_a_cache_are_made_anew_before_the_service_cuts_them() {
    let lasts = |audience| {
        let password = Password::Token(Arc::new(signer(audience, None)));
        password.connection_lasts()
    };
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
    assert_eq!(lasts(database()), None);
    assert_eq!(lasts(cache(CacheKind::ElastiCache)), hours(11));
    assert_eq!(lasts(cache(CacheKind::MemoryDb)), hours(11));
    assert_eq!(Password::fixed("x").connection_lasts(), None);
}

#[test]
fn passwords_are_never_printed() {
    assert!(!format!("{:?}", Password::fixed("hunter2")).contains("hunter2"));
}
