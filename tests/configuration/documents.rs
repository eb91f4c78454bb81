//! The example, the manual and the readme show what is accepted, and know every
//! field, choice and metric.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use evictd::config::{self, BufferConfig, PasswordConfig, SecretRef, SettleConfig};

use super::smallest::{SMALLEST, refusal};

fn repository_file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
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
