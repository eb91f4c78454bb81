//! What a configuration may say, what is refused and how, and that the example
//! and the manual know every field.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evictd::config::{
    self, BufferConfig, CheckpointConfig, ConfigError, PasswordConfig, RedisIam, RedisIamKind,
    SecretRef, SettleConfig, SourceIam, TlsMode,
};
use evictd::model::position::OnGap;
use evictd::model::position::Start;

const SMALLEST: &str = r#"
name = "shop"
[source]
url = "mysql://evictd@127.0.0.1:3306"
[redis]
url = "redis://127.0.0.1:6379"
[[rule]]
name = "users"
tables = ["shop.users"]
keys = ["user:{id}"]
"#;

fn repository_file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The line and the text of the one error that `text` has.
fn refusal(text: &str) -> String {
    match config::parse(text) {
        Err(ConfigError::Invalid { line, message, .. }) => {
            assert!(!message.contains('\n'), "{message:?} is more than a line");
            format!("{line}: {message}")
        }
        other => panic!("{text}\n{other:?}"),
    }
}

#[test]
fn the_smallest_configuration_has_safe_defaults() {
    let config = config::parse(SMALLEST).unwrap();
    assert_eq!(
        config.checkpoint,
        CheckpointConfig::File {
            path: PathBuf::from("/var/lib/evictd/shop.checkpoint.json")
        }
    );
    assert_eq!(
        config.source.tls.mode,
        TlsMode::Disabled,
        "the host is a loopback address"
    );
    assert_eq!(
        (config.source.server_id, config.source.start),
        (None, Start::Current)
    );
    assert_eq!(
        (config.source.heartbeat, config.source.on_gap),
        (Duration::from_secs(10), OnGap::InvalidateAll)
    );
    assert!(config.buffer.is_none() && config.cloudfront.is_none());
    assert_eq!(config.metrics_listen, None);
    assert_eq!(config.lag_max, Duration::from_secs(60));
    assert_eq!(config.log_level, None);
    for level in ["warn", "info,evictd=debug", "info,evictd::evict=trace"] {
        let config = config::parse(&format!("{SMALLEST}[log]\nlevel = \"{level}\"\n")).unwrap();
        assert_eq!(config.log_level.as_deref(), Some(level));
    }
    assert_eq!(config.ledger_dir, Some(PathBuf::from("/var/lib/evictd")));
    let elsewhere = format!("{SMALLEST}[ledger]\ndir = \"/var/log/evictd\"\n");
    let elsewhere = config::parse(&elsewhere).unwrap();
    assert_eq!(elsewhere.ledger_dir, Some(PathBuf::from("/var/log/evictd")));
    let far =
        config::parse(&SMALLEST.replace("evictd@127.0.0.1:3306", "a%40b@db.example")).unwrap();
    assert_eq!(far.source.tls.mode, TlsMode::VerifyIdentity);
    assert_eq!(
        (&*far.source.host, far.source.port, &*far.source.user),
        ("db.example", 3306, "a@b")
    );
}

#[test]
fn a_checkpoint_in_redis_needs_no_directory_and_has_a_key_of_its_name() {
    let parse = |lines: &str| config::parse(&format!("{SMALLEST}{lines}")).unwrap();
    let config = parse("[checkpoint]\nstore = \"redis\"\n");
    let key = "evictd:shop:checkpoint".to_owned();
    assert_eq!(config.checkpoint, CheckpointConfig::Redis { key });
    assert_eq!((&config.ledger_dir, config.budget_file()), (&None, None));
    assert_eq!(config.history_file(), None);
    let config = parse(
        "[checkpoint]\nstore = \"redis\"\nkey = \"app:{evictd}\"\n[ledger]\ndir = \"/var/log/evictd\"\n",
    );
    let key = "app:{evictd}".to_owned();
    assert_eq!(config.checkpoint, CheckpointConfig::Redis { key });
    assert_eq!(
        config.budget_file(),
        Some(PathBuf::from("/var/log/evictd/shop.budget.json"))
    );
    assert_eq!(
        config.history_file(),
        Some(PathBuf::from("/var/log/evictd/shop.invalidations.jsonl"))
    );
    let refused = |lines: &str| refusal(&format!("{SMALLEST}[checkpoint]\n{lines}"));
    for (lines, expected) in [
        (
            "key = \"k\"",
            "12: checkpoint.key has no use with a file: set checkpoint.store = \"redis\", or leave it out",
        ),
        (
            "store = \"redis\"\npath = \"/x\"",
            "13: checkpoint.path has no use with checkpoint.store = \"redis\": leave it out; `checkpoint.key` names the key",
        ),
        (
            "store = \"redis\"\nkey = \"\"",
            "13: checkpoint.key is empty: name a key, or leave it out",
        ),
    ] {
        assert_eq!(refused(lines), expected);
    }
}

#[test]
fn settling_is_a_duration_or_off_or_follows_the_readers() {
    let second = Duration::from_secs(1);
    let lag = |min, max| SettleConfig::ReplicaLag { min, max };
    for (line, expected) in [
        ("", SettleConfig::Fixed(second)),
        ("settle_after = \"200ms\"", SettleConfig::Fixed(second / 5)),
        ("settle_after = \"off\"", SettleConfig::Off),
        (
            "settle_after = { replica_lag = true }",
            lag(second, 10 * second),
        ),
        (
            "[redis.settle_after]\nreplica_lag = true\nmin = \"200ms\"\nmax = \"1m\"",
            lag(second / 5, 60 * second),
        ),
    ] {
        let text = SMALLEST.replace("\n[[rule]]", &format!("\n{line}\n[[rule]]"));
        let config = config::parse(&text).unwrap();
        assert_eq!(config.redis.settle_after, expected, "{line}");
    }
}

#[test]
fn the_example_is_accepted_as_it_stands() {
    let config = config::parse(&repository_file("config/evictd.toml")).unwrap();
    assert_eq!(config.rules.iter().count(), 2);
    assert_eq!(
        config.source.password,
        Some(PasswordConfig::Kept(SecretRef::Env(
            "EVICTD_SOURCE_PASSWORD".to_owned()
        )))
    );
    let cloudfront = config.cloudfront.as_ref().unwrap();
    let [distribution] = cloudfront.distributions.as_slice() else {
        panic!("{cloudfront:?}");
    };
    assert_eq!(distribution.monthly_path_budget, Some(20_000));
    assert!(cloudfront.always.contains("/users/7") && !cloudfront.always.contains("/x"));
    assert!((cloudfront.calls_per_second - 1.0).abs() < f64::EPSILON);
    assert_eq!(config.max_receives, 5);
    let users = config
        .bulk
        .iter()
        .find(|bulk| bulk.rule == "users")
        .unwrap();
    assert_eq!(users.threshold, 1_000);
    assert_eq!(users.wildcards, ["/users/*", "/api/users/*", "#users"]);
    let stock = config
        .bulk
        .iter()
        .find(|bulk| bulk.rule == "stock")
        .unwrap();
    assert_eq!(stock.wildcards, [""; 0], "short-ttl paths are not sent");
    let budget = PathBuf::from("/var/lib/evictd/shop.budget.json");
    assert_eq!(config.budget_file(), Some(budget));
    let history = PathBuf::from("/var/lib/evictd/shop.invalidations.jsonl");
    assert_eq!(config.history_file(), Some(history));
    assert!(matches!(config.buffer, Some(BufferConfig::Sqs { .. })));
}

#[test]
fn the_example_is_accepted_with_its_alternatives_too() {
    let example = repository_file("config/evictd.toml");
    let local: String = example
        .lines()
        .filter(|line| {
            let replaced = ["kind =", "queue_url =", "settle_after ="];
            !replaced.iter().any(|start| line.starts_with(start))
        })
        .map(|line| match line.strip_prefix("# ") {
            Some(
                alternative @ ("path = \"/var/lib/evictd/shop.queue.redb\""
                | "password = { env = \"EVICTD_REDIS_PASSWORD\" }    # as source.password"),
            ) => format!("{alternative}\n"),
            Some(alternative)
                if alternative.starts_with("kind =")
                    || alternative.starts_with("settle_after =") =>
            {
                format!("{alternative}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let config = config::parse(&local).unwrap();
    assert!(matches!(config.buffer, Some(BufferConfig::Local { .. })));
    assert!(config.redis.password.is_some());
    assert!(matches!(
        config.redis.settle_after,
        SettleConfig::ReplicaLag { .. }
    ));
}

#[test]
fn tokens_of_iam_are_for_named_accounts_and_through_tls() {
    let text = SMALLEST
        .replace(
            "\n[redis]",
            "\npassword = { iam = { region = \"eu-west-1\" } }\ntls = { mode = \"verify-identity\" }\n[redis]",
        )
        .replace(
            "redis://127.0.0.1:6379\"",
            "rediss://cache@shop.example\"\npassword = { iam = { region = \"us-gov-west-1\", cache = \"Shop-1\" } }",
        );
    let config = config::parse(&text).unwrap();
    assert_eq!(
        config.source.password,
        Some(PasswordConfig::Iam(SourceIam {
            region: "eu-west-1".to_owned()
        }))
    );
    assert_eq!(
        config.redis.password,
        Some(PasswordConfig::Iam(RedisIam {
            region: "us-gov-west-1".to_owned(),
            // As AWS keeps it.
            cache: "shop-1".to_owned(),
            kind: RedisIamKind::Elasticache,
        }))
    );
    let serverless = "cache = \"shop\", kind = \"elasticache-serverless\"";
    config::parse(&text.replace("cache = \"Shop-1\"", serverless)).unwrap();
    for (from, to, expected) in [
        (
            "verify-identity",
            "disabled",
            "5: source.password.iam needs TLS: set source.tls, as in tls = { mode = \"verify-identity\", ca_file = \"…\" }",
        ),
        (
            "\ntls = { mode = \"verify-identity\" }",
            "",
            "5: source.password.iam needs TLS: set source.tls, as in tls = { mode = \"verify-identity\", ca_file = \"…\" }",
        ),
        (
            "\"eu-west-1\"",
            "\"eu-west-1.amazonaws.com\"",
            "5: source.password.iam.region = \"eu-west-1.amazonaws.com\": write a region, such as \"eu-west-1\"",
        ),
        (
            "rediss://",
            "redis://",
            "9: redis.password.iam needs TLS: write rediss:// in redis.url",
        ),
        (
            "cache@",
            "",
            "9: redis.password.iam is for one user: write rediss://USER@HOST:PORT in redis.url",
        ),
        (
            "Shop-1",
            "shop.abc.cache.amazonaws.com",
            "9: redis.password.iam.cache = \"shop.abc.cache.amazonaws.com\": write the cache's name, not its address",
        ),
        (", cache = \"Shop-1\"", "", "9: missing field `cache`"),
    ] {
        assert!(text.contains(from), "{from}");
        assert_eq!(refusal(&text.replacen(from, to, 1)), expected, "{from}");
    }
}

/// A table of the configuration, and a text with an unknown field in it.
const TABLES: [(&str, &str); 26] = [
    ("", "nope = 1"),
    ("source", "[source]\nnope = 1"),
    ("source.password", "[source]\npassword = { nope = 1 }"),
    (
        "source.password.iam",
        "[source]\npassword = { iam = { nope = 1 } }",
    ),
    ("source.tls", "[source]\ntls = { nope = 1 }"),
    ("checkpoint", "[checkpoint]\nnope = 1"),
    ("redis", "[redis]\nnope = 1"),
    ("redis.password", "[redis]\npassword = { nope = 1 }"),
    (
        "redis.password.iam",
        "[redis]\npassword = { iam = { nope = 1 } }",
    ),
    ("redis.settle_after", "[redis]\nsettle_after = { nope = 1 }"),
    ("redis.tls", "[redis]\ntls = { nope = 1 }"),
    ("redis.sentinel", "[redis]\nsentinel = { nope = 1 }"),
    (
        "redis.sentinel.password",
        "[redis]\nsentinel = { password = { nope = 1 } }",
    ),
    ("buffer", "[buffer]\nnope = 1"),
    ("cloudfront", "[cloudfront]\nnope = 1"),
    (
        "cloudfront.distribution",
        "[[cloudfront.distribution]]\nnope = 1",
    ),
    ("ledger", "[ledger]\nnope = 1"),
    ("metrics", "[metrics]\nnope = 1"),
    ("log", "[log]\nnope = 1"),
    ("path", "[[path]]\nnope = 1"),
    ("rule", "[[rule]]\nnope = 1"),
    ("rule.guard", "[[rule]]\nguard = { nope = 1 }"),
    ("rule.tag_sets", "[[rule]]\ntag_sets = [{ nope = 1 }]"),
    ("rule.hash_fields", "[[rule]]\nhash_fields = [{ nope = 1 }]"),
    ("rule.table_wide", "[[rule]]\ntable_wide = { nope = 1 }"),
    (
        "rule.cascade_from",
        "[[rule]]\ncascade_from = [{ nope = 1 }]",
    ),
];

/// Tables that may be a plain value instead.
const VALUES_TOO: [&str; 1] = ["redis.settle_after"];

/// Fields whose value is one of a few words.
const CHOICES: [(&str, &str); 7] = [
    ("source.tls.mode", "[source]\ntls = { mode = \"nope\" }"),
    ("source.on_gap", "[source]\non_gap = \"nope\""),
    ("checkpoint.store", "[checkpoint]\nstore = \"nope\""),
    (
        "redis.password.iam.kind",
        "[redis]\npassword = { iam = { kind = \"nope\" } }",
    ),
    ("buffer.kind", "[buffer]\nkind = \"nope\""),
    ("path.class", "[[path]]\nclass = \"nope\""),
    ("rule.on", "[[rule]]\non = [\"nope\"]"),
];

/// What the types would have taken instead, by the error's own words.
fn expected_instead(text: &str) -> BTreeSet<String> {
    let message = refusal(text);
    let mut quoted = message.split('`').skip(1).step_by(2);
    assert_eq!(quoted.next(), Some("nope"), "{message}");
    let names: BTreeSet<String> = quoted.map(str::to_owned).collect();
    assert!(!names.is_empty(), "{message}");
    names
}

fn fields() -> Vec<String> {
    let mut out = Vec::new();
    for (table, text) in TABLES {
        for field in expected_instead(text) {
            out.push(if table.is_empty() {
                field
            } else {
                format!("{table}.{field}")
            });
        }
    }
    out
}

#[test]
fn the_example_mentions_every_field_and_every_choice() {
    let example = repository_file("config/evictd.toml");
    let words: BTreeSet<&str> = example
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')
        .collect();
    let mut missing = Vec::new();
    for field in fields() {
        let name = field.rsplit('.').next().unwrap();
        let forms = [
            format!("{name} = "),
            format!("[{name}]"),
            format!("[[{name}]]"),
            format!(".{name}]]"),
        ];
        if !forms.iter().any(|form| example.contains(form)) {
            missing.push(field);
        }
    }
    for (field, text) in CHOICES {
        for choice in expected_instead(text) {
            if !words.contains(choice.as_str()) {
                missing.push(format!("{field} = {choice}"));
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn the_manual_has_a_row_for_every_field_and_no_other() {
    let manual = repository_file("docs/configuration.md");
    let rows: BTreeSet<String> = manual
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split_once('`')
                .map(|(name, _)| name.to_owned())
        })
        .filter(|name| {
            name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains(['{', '(', ' '])
        })
        .collect();
    // A table of the configuration has a heading or rows for its fields.
    let tables: BTreeSet<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    let fields: BTreeSet<String> = fields()
        .into_iter()
        .filter(|field| {
            let field = field.as_str();
            !tables.contains(field) || VALUES_TOO.contains(&field)
        })
        .collect();
    let filters = evictd::rules::filter::NAMES.map(str::to_owned);
    let classes = expected_instead("[[path]]\nclass = \"nope\"");
    let known: BTreeSet<String> = fields
        .iter()
        .cloned()
        .chain(filters)
        .chain(classes)
        .collect();
    assert_eq!(
        known.difference(&rows).collect::<Vec<_>>(),
        [""; 0],
        "without a row"
    );
    assert_eq!(
        rows.difference(&known).collect::<Vec<_>>(),
        [""; 0],
        "unknown to the types"
    );
    for (field, text) in CHOICES {
        for choice in expected_instead(text) {
            assert!(
                manual.contains(&format!("`{choice}`")),
                "{field} = {choice}"
            );
        }
    }
}

/// The TOML blocks of a page.
fn toml_blocks(page: &str) -> Vec<String> {
    let blocks = page.split("```toml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn what_the_readme_and_the_manual_show_is_accepted() {
    let readme = repository_file("README.md");
    let [first] = toml_blocks(&readme).try_into().unwrap();
    let config = config::parse(&first).unwrap();
    assert_eq!(config.rules.iter().count(), 1);
    let rule = |fields: &str| {
        config::parse(&SMALLEST.replace("keys = [\"user:{id}\"]\n", fields)).unwrap()
    };
    let mut examples = 0;
    for block in toml_blocks(&repository_file("docs/configuration.md")) {
        if block.starts_with("when") {
            for line in block.lines() {
                rule(&format!("keys = [\"k\"]\n{line}\n"));
                examples += 1;
            }
        } else if block.starts_with("[checkpoint]\n") {
            config::parse(&format!("{SMALLEST}{block}")).unwrap();
        } else if let Some(fields) = block.strip_prefix("[redis]\n") {
            let text = SMALLEST.replace("\n[[rule]]", &format!("\n{fields}[[rule]]"));
            config::parse(&text).unwrap();
            examples += 1;
        } else {
            rule(&block);
            examples += 1;
        }
    }
    assert_eq!(examples, 10);
}

#[test]
fn the_page_about_metrics_names_every_metric_and_no_other() {
    let all = evictd::telemetry::metric::ALL.iter();
    let known: BTreeSet<&str> = all
        .map(|metric| metric.name.strip_prefix("evictd_").unwrap())
        .collect();
    let page = repository_file("docs/metrics.md");
    let section = page
        .split("## Metrics")
        .nth(1)
        .unwrap()
        .split("## ")
        .next()
        .unwrap();
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let named: BTreeSet<&str> = rows
        .flat_map(|row| row.split('`'))
        .map(|name| name.split('{').next().unwrap())
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let unknown: Vec<_> = named.difference(&known).copied().collect();
    assert_eq!(unknown, [""; 0]);
    let missing: Vec<_> = known.difference(&named).copied().collect();
    assert_eq!(missing, [""; 0]);
}

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
            "5: \"10\" is no duration; write a whole number and a unit: \"200ms\", \"10s\", \"5m\", \"1h\"",
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
            "5: source.tls: `ca_file` has no use with mode = \"disabled\"",
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
            "7: redis.tls has no use with redis://: write rediss:// in redis.url",
        ),
        (
            "redis://127.0.0.1:6379\"",
            "rediss://127.0.0.1:6379\"\ntls = { cert_file = \"/cert\" }",
            "7: redis.tls: `cert_file` and `key_file` come together",
        ),
        (
            "6379\"",
            "6379/1\"\ncluster = true",
            "6: redis.url: a cluster has database 0 and no other",
        ),
        (
            "6379\"",
            "6379\"\ncluster = true\nsentinel = { master = \"shop\", urls = [\"redis://s\"] }",
            "8: redis.sentinel has no use with redis.cluster = true: a cluster fails over by itself",
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
            "12: buffer.queue_url is no URL: write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE",
        ),
        (
            "path = \"/q\"",
            "path = \"/q\"\nmax_receives = 0",
            "15: buffer.max_receives must not be 0: every message is received once at least",
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
            "12: rule \"users\": edge tag \"user {id}\": byte 4 of the tag is no printable ASCII character, or it is a space or a comma, which no tag can have",
        ),
        (
            "[buffer]",
            "edge_tags = [\"#users\"]\n[buffer]",
            "12: rule \"users\": edge tag \"#users\": CloudFront's `#` is put before it: leave it out",
        ),
        (
            "[buffer]",
            "edge_tags = [\"u\"]\ntable_wide = { edge_tags = [\"a,b\"] }\n[buffer]",
            "13: rule \"users\": table_wide: edge tag \"a,b\": byte 1 of the tag is no printable ASCII character, or it is a space or a comma, which no tag can have",
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
            "11: rule \"users\": `distributions` has no use without `paths` or `edge_tags`",
        ),
        (
            "paths = [\"/users/{id}\"]",
            "tenant = \"{id}\"",
            "11: rule \"users\": `tenant` has no use without `paths` or `edge_tags`",
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
            "12: [buffer] has no use without [cloudfront]: add a [[cloudfront.distribution]], or remove it",
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
            "10: rule \"users\": `publish` has nothing to tell: the rule deletes no `keys`, `tag_sets` or `hash_fields`",
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
