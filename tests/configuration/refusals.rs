//! What is refused, with its line and what to do.

use std::fs;
use std::path::Path;

use evictd::config;

use super::smallest::{SMALLEST, refusal};

#[test]
fn what_is_wrong_is_said_in_one_line_with_its_number() {
    let whole = format!(
        "{SMALLEST}paths = [\"/users/{{id}}\"]\n[buffer]\nkind = \"local\"\npath = \"/q\"\n\
         [cloudfront]\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
         [[path]]\npattern = \"/checkout/*\"\nclass = \"strong\"\n"
    );
    config::parse(&whole).unwrap();
    let cases = [
        (
            "name = \"shop\"",
            "name = \"sh op\"",
            "2: name \"sh op\": use 1 to 48 letters, digits, `-` and `_`",
        ),
        (
            "name = \"shop\"",
            "nmae = \"shop\"",
            "2: unknown field `nmae`, expected one of `name`, `source`, `checkpoint`, `redis`, `buffer`, `cloudfront`, `ledger`, `metrics`, `log`, `path`, `rule`; did you mean `name`?",
        ),
        (
            "mysql://evictd@",
            "mysql://evictd:secret@",
            "4: source.url holds a password, which logs and process lists would show; move it to `source.password = { env = \"…\" }`, `{ file = \"…\" }` or `{ credential = \"…\" }`",
        ),
        (
            "\n[redis]",
            "\n[log]\nlevel = \"loud\"\n[redis]",
            "6: log.level = \"loud\": write error, warn, info, debug or trace, or such words for modules too, as in \"info,evictd=debug\"",
        ),
        (
            "mysql://evictd@",
            "postgres://evictd@",
            "4: source.url must begin with mysql://",
        ),
        (
            "mysql://evictd@",
            "mysql://",
            "4: source.url names no user: write mysql://USER@HOST:PORT",
        ),
        (
            ":3306",
            ":3306/shop",
            "4: source.url takes neither a database nor options: write mysql://USER@HOST:PORT",
        ),
        (
            "\n[redis]",
            "\nserver_id = 0\n[redis]",
            "5: source.server_id must not be 0: choose a number that no other replica uses",
        ),
        (
            "\n[redis]",
            "\nheartbeat = \"10\"\n[redis]",
            "5: \"10\" is not a duration; write a whole number and a unit: \"200ms\", \"10s\", \"5m\", \"1h\"",
        ),
        (
            "\n[redis]",
            "\nheartbeat = \"2h\"\n[redis]",
            "4: source.heartbeat must be between 100ms and 1h",
        ),
        (
            "\n[redis]",
            "\nstart = \"checkpoint\"\n[redis]",
            "5: source.start says where to begin without a checkpoint: write `current`, `earliest` or a position",
        ),
        (
            "\n[redis]",
            "\nstart = \"late\"\n[redis]",
            "5: source.start: \"late\" is not a position: write `current`, `earliest`, `checkpoint`, a file and offset such as `mysql-bin.000002:4`, or a GTID set",
        ),
        (
            "\n[redis]",
            "\non_gap = \"hold\"\n[redis]",
            "5: unknown variant `hold`, expected `invalidate-all` or `halt`",
        ),
        (
            "\n[redis]",
            "\ntls = { mode = \"disabled\", ca_file = \"/ca\" }\n[redis]",
            "5: source.tls: `ca_file` has no effect with mode = \"disabled\"",
        ),
        (
            "redis://127",
            "memcached://127",
            "6: redis.url must be redis://HOST:PORT/DB, or rediss://… for TLS",
        ),
        (
            "\n[[rule]]",
            "\nsettle_after = \"2m\"\n[[rule]]",
            "7: redis.settle_after = \"2m\": write a duration of at most 1m, such as \"1s\", or \"off\"",
        ),
        (
            "\n[[rule]]",
            "\nsettle_after = 1\n[[rule]]",
            "7: invalid type: integer `1`, expected a duration such as \"1s\", \"off\", or { replica_lag = true, … }",
        ),
        (
            "\n[[rule]]",
            "\nsettle_after = { replica_lag = false }\n[[rule]]",
            "7: redis.settle_after.replica_lag = false: write a duration, such as settle_after = \"1s\", instead of the table",
        ),
        (
            "\n[[rule]]",
            "\nsettle_after = { replica_lag = true, min = \"11s\" }\n[[rule]]",
            "7: redis.settle_after: `min` must not be longer than `max`, and `max` at most 1m",
        ),
        (
            "\n[[rule]]",
            "\nsettle_after = { replica_lag = true, max = \"61s\" }\n[[rule]]",
            "7: redis.settle_after: `min` must not be longer than `max`, and `max` at most 1m",
        ),
        (
            "\n[[rule]]",
            "\nsettle_after = { replica_lag = true, maxx = \"9s\" }\n[[rule]]",
            "7: unknown field `maxx`, expected one of `replica_lag`, `min`, `max`; did you mean `max`?",
        ),
        (
            "redis://127",
            "redis://:secret@127",
            "6: redis.url holds a password, which logs and process lists would show; move it to `redis.password = { env = \"…\" }`, `{ file = \"…\" }` or `{ credential = \"…\" }`",
        ),
        (
            "\n[[rule]]",
            "\ntls = { ca_file = \"/ca\" }\n[[rule]]",
            "7: redis.tls has no effect with redis://: write rediss:// in redis.url",
        ),
        (
            "redis://127.0.0.1:6379\"",
            "rediss://127.0.0.1:6379\"\ntls = { cert_file = \"/cert\" }",
            "7: redis.tls: `cert_file` and `key_file` come together",
        ),
        (
            "6379\"",
            "6379/1\"\ncluster = true",
            "6: redis.url: a cluster has only database 0",
        ),
        (
            "6379\"",
            "6379\"\ncluster = true\nsentinel = { master = \"shop\", urls = [\"redis://s\"] }",
            "8: redis.sentinel has no effect with redis.cluster = true: a cluster fails over by itself",
        ),
        (
            "6379\"",
            "6379\"\nsentinel = { master = \"shop\", urls = [] }",
            "7: redis.sentinel.urls is empty: name the sentinels, as redis://HOST:26379",
        ),
        (
            "6379\"",
            "6379\"\nsentinel = { master = \"shop\", urls = [\"s:26379\"] }",
            "7: redis.sentinel.urls: write redis://HOST:26379, or rediss://… for TLS",
        ),
        (
            "path = \"/q\"",
            "queue_url = \"https://q\"",
            "12: [buffer] with kind = \"local\" takes `path`, not `queue_url`",
        ),
        (
            "kind = \"local\"\npath = \"/q\"",
            "kind = \"sqs\"",
            "12: [buffer] with kind = \"sqs\" takes `queue_url`, not `path`",
        ),
        (
            "kind = \"local\"\npath = \"/q\"",
            "kind = \"sqs\"\nqueue_url = \"shop\"",
            "12: buffer.queue_url is not a URL: write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE",
        ),
        (
            "path = \"/q\"",
            "path = \"/q\"\nmax_receives = 0",
            "15: buffer.max_receives must not be 0: every message is received at least once",
        ),
        (
            "[cloudfront]",
            "[cloudfront]\ncalls_per_second = 1000",
            "16: cloudfront.calls_per_second must be between 0.01 and 100: CloudFront throttles an account at a few calls a second",
        ),
        (
            "[buffer]",
            "bulk_threshold = 0\n[buffer]",
            "12: rule \"users\": bulk_threshold must not be 0: write 1 to send its wildcards for every change of two paths",
        ),
        (
            "[buffer]",
            "edge_tags = [\"user-{id}\"]\n[buffer]",
            "12: rule \"users\": edge tag \"user-{id}\" has no wildcard for all rows: say in `table_wide` what covers them, with `paths` (\"/*\" is everything) or with `edge_tags` that every such page has",
        ),
        (
            "[buffer]",
            "edge_tags = [\"user-{id}\"]\ntable_wide = { keys = [\"user:*\"] }\n[buffer]",
            "12: rule \"users\": edge tag \"user-{id}\" has no wildcard for all rows: say in `table_wide` what covers them, with `paths` (\"/*\" is everything) or with `edge_tags` that every such page has",
        ),
        (
            "[buffer]",
            "edge_tags = [\"user {id}\"]\n[buffer]",
            "12: rule \"users\": edge tag \"user {id}\": byte 4 of the tag is not a printable ASCII character, or it is a space or a comma, which no tag can have",
        ),
        (
            "[buffer]",
            "edge_tags = [\"#users\"]\n[buffer]",
            "12: rule \"users\": edge tag \"#users\": CloudFront's `#` is put before it: leave it out",
        ),
        (
            "[buffer]",
            "edge_tags = [\"u\"]\ntable_wide = { edge_tags = [\"a,b\"] }\n[buffer]",
            "13: rule \"users\": table_wide: edge tag \"a,b\": byte 1 of the tag is not a printable ASCII character, or it is a space or a comma, which no tag can have",
        ),
        (
            "[buffer]",
            "distributions = [\"mian\"]\n[buffer]",
            "12: rule \"users\": no [[cloudfront.distribution]] is called \"mian\"; did you mean `main`?",
        ),
        (
            "[buffer]",
            "distributions = [\"main\", \"main\"]\n[buffer]",
            "12: rule \"users\": `distributions` has \"main\" twice",
        ),
        (
            "[buffer]",
            "distributions = []\n[buffer]",
            "12: rule \"users\": `distributions` is empty: name some, or leave it out for all of them",
        ),
        (
            "paths = [\"/users/{id}\"]",
            "distributions = [\"main\"]",
            "11: rule \"users\": `distributions` has no effect without `paths` or `edge_tags`",
        ),
        (
            "paths = [\"/users/{id}\"]",
            "tenant = \"{id}\"",
            "11: rule \"users\": `tenant` has no effect without `paths` or `edge_tags`",
        ),
        (
            "[[path]]",
            "[[cloudfront.distribution]]\nname = \"shop\"\nid = \"E2\"\n[[rule]]\nname = \"t\"\ntables = [\"a.b\"]\npaths = [\"/{id}\"]\ntenant = \"{t}\"\n[[path]]",
            "26: rule \"t\": a tenant belongs to one distribution: name it, as in `distributions = [\"main\"]`",
        ),
        (
            "[buffer]",
            "expand = { locale = [] }\n[buffer]",
            "12: rule \"users\": expand: `locale` has no text",
        ),
        (
            "[buffer]",
            "expand = { locale = [\"en\"] }\n[buffer]",
            "12: rule \"users\": expand: no template has a `{locale}`: variables stand in `keys`, `paths`, `edge_tags` and the keys of `cascade_from`",
        ),
        (
            "paths = [\"/users/{id}\"]",
            "expand = { tail = [\"*\", \"\"] }\npaths = [\"/{tail}/{id}\"]",
            "12: rule \"users\": path \"/{tail}/{id}\": CloudFront takes a `*` only as the last character",
        ),
        (
            "[buffer]\nkind = \"local\"\npath = \"/q\"\n",
            "",
            "12: [cloudfront] needs a [buffer]: add `kind = \"sqs\"` with `queue_url`, or `kind = \"local\"` with `path`",
        ),
        (
            "[cloudfront]\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n",
            "",
            "12: [buffer] has no effect without [cloudfront]: add a [[cloudfront.distribution]], or remove it",
        ),
        (
            "[[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n",
            "",
            "15: [cloudfront] names no distribution: add [[cloudfront.distribution]] with `name` and `id`",
        ),
        (
            "[[path]]",
            "[[cloudfront.distribution]]\nname = \"main\"\nid = \"E2\"\n[[path]]",
            "20: two distributions are called \"main\"",
        ),
        (
            "[[path]]",
            "[[path]]\npattern = \"/checkout/*\"\nclass = \"cached\"\n[[path]]",
            "23: [[path]] \"/checkout/*\" can never match: the same pattern stands before it",
        ),
        (
            "\"/checkout/*\"",
            "\"\"",
            "20: a [[path]] has an empty pattern",
        ),
        (
            "class = \"strong\"",
            "class = \"stong\"",
            "21: unknown variant `stong`, expected one of `strong`, `immutable`, `short-ttl`, `cached`; did you mean `strong`?",
        ),
        (
            "[\"shop.users\"]",
            "[\"users\"]",
            "9: rule \"users\": table \"users\" has no database: write `database.table`, such as `shop.users`",
        ),
        (
            "[\"shop.users\"]",
            "[]",
            "7: rule \"users\": `tables` is empty",
        ),
        (
            "[\"shop.users\"]",
            "[\"shop.users\"]\non = []",
            "10: rule \"users\": `on` is empty",
        ),
        (
            "[\"shop.users\"]",
            "[\"shop.users\"]\nwhen = \"status == 1\"",
            "10: rule \"users\": when \"status == 1\": there is no `status`; write `before.status` or `after.status` for a column",
        ),
        (
            "user:{id}",
            "user:{id",
            "10: rule \"users\": template \"user:{id\": a `{` is not closed; write `{{` for a brace",
        ),
        (
            "user:{id}",
            "user:{id|lowr}",
            "10: rule \"users\": template \"user:{id|lowr}\": there is no filter `lowr`; did you mean `lower`?",
        ),
        (
            "/users/{id}",
            "users/{id}",
            "11: rule \"users\": path \"users/{id}\" must begin with `/`",
        ),
        (
            "/users/{id}",
            "/users/*/{id}",
            "11: rule \"users\": path \"/users/*/{id}\": CloudFront takes a `*` only as the last character",
        ),
        (
            "[buffer]",
            "table_wide = { paths = [\"/a*b\"] }\n[buffer]",
            "12: rule \"users\": table_wide: path \"/a*b\": \"*\" at byte 2 of the path is not a wildcard: CloudFront knows it only as the template's last character; encode a literal one as %2A",
        ),
        (
            "[buffer]",
            "guard = { key = \"g:{id}\", ttl = \"1d\" }\n[buffer]",
            "12: rule \"users\": `guard` needs `version`: name the column that every update bumps",
        ),
        (
            "[buffer]",
            "version = \"version\"\nguard = { key = \"g:{before.id}\", ttl = \"1d\" }\n[buffer]",
            "13: rule \"users\": guard \"g:{before.id}\" names the row, before and after alike: write `{id}`",
        ),
        (
            "[buffer]",
            "version = \"version\"\nguard = { key = \"g:{Version}\", ttl = \"1d\" }\n[buffer]",
            "13: rule \"users\": guard \"g:{Version}\" holds the version and cannot be named after it: leave `{Version}` out",
        ),
        (
            "[buffer]",
            "version = \"version\"\nguard = { key = \"g:{id}\", ttl = \"10ms\" }\n[buffer]",
            "13: rule \"users\": guard: ttl = \"10ms\": write a duration from 1s to 366d, longer than any fill takes, such as \"1d\"",
        ),
        (
            "[buffer]",
            "tag_sets = [{ key = \"t:{id\" }]\n[buffer]",
            "12: rule \"users\": template \"t:{id\": a `{` is not closed; write `{{` for a brace",
        ),
        (
            "[buffer]",
            "tag_sets = [{ kee = \"t:{id}\" }]\n[buffer]",
            "12: unknown field `kee`, expected `key` or `member_prefix`; did you mean `key`?",
        ),
        (
            "[buffer]",
            "tag_sets = [7]\n[buffer]",
            "12: invalid type: integer `7`, expected a template, or { key = \"…\", member_prefix = \"…\" }",
        ),
        (
            "[buffer]",
            "hash_fields = [{ key = \"users\", field = \"\" }]\n[buffer]",
            "12: rule \"users\": template \"\": it is empty",
        ),
        (
            "[buffer]",
            "publish = \"\"\n[buffer]",
            "12: rule \"users\": `publish` is empty: name a channel, or leave it out",
        ),
        (
            "keys = [\"user:{id}\"]\n",
            "publish = \"c\"\n",
            "10: rule \"users\": `publish` has no effect: the rule deletes no `keys`, `tag_sets` or `hash_fields`",
        ),
        (
            "[buffer]",
            "table_wide = { tag_sets = [\"\"] }\n[buffer]",
            "12: rule \"users\": table_wide: a glob of tag sets is empty",
        ),
        (
            "[buffer]",
            "table_wide = { keys = [\"\"] }\n[buffer]",
            "12: rule \"users\": table_wide: a key glob is empty",
        ),
        (
            "[buffer]",
            "[[rule]]\nname = \"users\"\ntables = [\"a.b\"]\nkeys = [\"k\"]\n[buffer]",
            "12: two rules are called \"users\"",
        ),
        (
            "[buffer]",
            "[[rule]]\nname = \"b\"\ntables = [\"a.b\"]\n[buffer]",
            "12: rule \"b\": it invalidates nothing: add `keys`, `paths`, `edge_tags`, `tag_sets`, `hash_fields` or `guard`",
        ),
        (
            "/users/{id}",
            "/checkout/{id}",
            "11: rule \"users\": path \"/checkout/{id}\" can produce /checkout/, which is of class strong and never invalidated; narrow the template (`|urlencode` keeps a value inside its segment) or put a more specific [[path]] before",
        ),
        (
            "[buffer]",
            "table_wide = { paths = [\"/checkout/*\"] }\n[buffer]",
            "7: rule \"users\": path \"/checkout/*\" can produce /checkout/*, which is of class strong and never invalidated; narrow the template (`|urlencode` keeps a value inside its segment) or put a more specific [[path]] before",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(whole.contains(from), "{from}");
        assert_eq!(
            refusal(&whole.replacen(from, to, 1)),
            expected,
            "{from} -> {to}"
        );
    }
    assert_eq!(
        refusal(SMALLEST.split("[[rule]]").next().unwrap()),
        "1: there is no [[rule]]: add at least one with `name`, `tables`, and `keys` or `paths`"
    );
}

#[test]
fn an_error_names_the_file_it_is_in() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), SMALLEST.replace("[redis]", "[reddis]")).unwrap();
    let error = config::load(file.path()).unwrap_err().to_string();
    let expected = format!("{}:5: unknown field `reddis`", file.path().display());
    assert!(
        error.starts_with(&expected) && error.ends_with("did you mean `redis`?"),
        "{error}"
    );
    let error = config::load(Path::new("/nonexistent/evictd.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("name the configuration with --config or EVICTD_CONFIG"),
        "{error}"
    );
}
