//! What Prometheus reads from a daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use evictd::telemetry::metric::{self, MetricKind};
use mysql_async::prelude::Queryable;
use redis::AsyncCommands;

use super::asked::exchange;
use super::shop::{Shop, WITHIN, start, stop};
use crate::metrics::named;
use crate::support::{
    FakeCloudFront, FakeSettings, MysqlOptions, eventually, free_port, run_promtool, shared_aws,
};

/// What a daemon answers at `/metrics`.
pub async fn scrape(listen: SocketAddr) -> String {
    let answer = exchange(listen, b"GET /metrics HTTP/1.1\r\nHost: evictd\r\n\r\n").await;
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The value of the series that begins with `series`, 0 without one.
pub fn value(scrape: &str, series: &str) -> f64 {
    let line = scrape.lines().find(|line| line.starts_with(series));
    line.map_or(0.0, |line| {
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    })
}

/// A series' metric and labels, those of every metric left out.
fn series(line: &str) -> (String, BTreeSet<String>) {
    let (series, _) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.trim_end_matches('}').split("\",");
    let labels = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
    let declared = named(name).into_iter().next().unwrap();
    let labels = labels.filter(|label| label != "name" && label != "le");
    (declared, labels.collect())
}

/// What this run does not bring about, and which test does.
const NOT_HERE: [(&str, &str); 7] = [
    (metric::SETTLE_AFTER, "daemon::replica_lag"),
    (metric::BUFFER_DEAD_LETTERS, "daemon::drains"),
    (metric::BUFFER_ERRORS, "drain"),
    (metric::BUFFER_MESSAGES_LEFT, "drain"),
    (metric::BUFFER_RETRIES, "daemon::faults"),
    (metric::CHECKPOINT_RETRIES, "evict::tests::order"),
    (metric::EDGE_PATHS_COVERED, "edge::quota"),
];

const RULES: &str = r#"
[[path]]
pattern = "/stock/*"
class   = "short-ttl"

[[rule]]
name     = "users"
tables   = ["$db.users"]
version  = "version"
keys     = ["user:{id}:v{version}", "user:{id}:profile"]
guard    = { key = "user:{id}:guard", ttl = "1d" }
tag_sets = ["tag:user-{id}"]
publish  = "changes"
paths    = ["/users/{slug}", "/stock/{id}"]
bulk_threshold = 50

[[rule]]
name   = "orders"
tables = ["$db.orders"]
keys   = ["order:{id}"]
"#;

#[tokio::test]
async fn every_metric_is_there_with_its_help_kind_and_labels_once_it_was_brought_about() {
    let mut shop = Shop::own(MysqlOptions::default()).await;
    let fake = FakeCloudFront::start(FakeSettings {
        refuse: Some("refused".to_owned()),
        fail: Some(4),
        ..FakeSettings::default()
    })
    .await;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let queue = shop.dir.path().join("queue.redb");
    let config = shop.config().redis("settle_after = \"100ms\"").rest(&format!(
        "[metrics]\nlisten = \"{listen}\"\n[buffer]\nkind = \"local\"\npath = \"{}\"\n\
         [cloudfront]\nwindow = \"50ms\"\ncalls_per_second = 50\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\nmonthly_path_budget = 100\n{RULES}",
        queue.display()
    ));
    let options = config.options().envs(shared_aws().await.env());
    let options = options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    let evictd = start(&options).await;

    // A key of a set, a guard that cannot be raised, a bump that is missed, and a version that falls.
    let mut conn = shop.redis.conn().await;
    let _: () = conn.sadd("tag:user-1", "page:1").await.unwrap();
    let _: () = conn.set("page:1", "x").await.unwrap();
    let _: () = conn.set("user:9:guard", "no number").await.unwrap();
    shop.sql("INSERT INTO users (id, slug, version) VALUES (1, 'ada', 5), (9, 'refused', 1)")
        .await;
    shop.sql("UPDATE users SET version = 6, name = 'x' WHERE id = 1")
        .await;
    shop.sql("UPDATE users SET name = 'y' WHERE id = 1").await;
    shop.sql("UPDATE users SET version = 2 WHERE id = 1").await;
    shop.sql("DELETE FROM users WHERE id = 1").await;
    // A whole table; a transaction of many paths, and more of them than the budget has.
    shop.sql("TRUNCATE TABLE orders").await;
    let insert = async |first: usize, rows: usize| {
        let rows: Vec<String> = (first..first + rows)
            .map(|id| format!("({id}, 's{id}')"))
            .collect();
        let rows = rows.join(", ");
        shop.sql(&format!("INSERT INTO users (id, slug) VALUES {rows}"))
            .await;
    };
    // Before a wildcard covers it.
    eventually("the edge refuses a path", WITHIN, async || {
        let text = scrape(listen).await;
        (value(&text, "evictd_edge_paths_refused_total{") > 0.0).then_some(())
    })
    .await;
    // One after the other: what is sent together would be a bulk change.
    for (first, paid) in [(1_000, 45.0), (2_000, 90.0)] {
        insert(first, 45).await;
        eventually("the edge has them", WITHIN, async || {
            let paths = value(&scrape(listen).await, "evictd_edge_paths_total{");
            (paths >= paid).then_some(())
        })
        .await;
    }
    insert(3_000, 45).await;
    eventually("they go under a wildcard", WITHIN, async || {
        let paths = value(&scrape(listen).await, "evictd_edge_paths_coalesced_total{");
        (paths > 0.0).then_some(())
    })
    .await;
    insert(20_000, 60).await;
    shop.done(&evictd).await;
    // Redis away, and the source lost.
    shop.redis.kill();
    shop.sql("INSERT INTO users (id, slug) VALUES (30000, 'late')")
        .await;
    eventually("Redis is missed", WITHIN, async || {
        let text = scrape(listen).await;
        (value(&text, "evictd_cache_retries_total{") > 0.0).then_some(())
    })
    .await;
    shop.redis.start_again().await;
    eventually("the reader is cut off", WITHIN, async || {
        let dumps: Vec<u64> = shop
            .mysql()
            .rows("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
            .await;
        for id in &dumps {
            // It may be gone by now.
            shop.mysql()
                .conn()
                .await
                .query_drop(format!("KILL {id}"))
                .await
                .ok();
        }
        let text = scrape(listen).await;
        (value(&text, "evictd_source_reconnects_total{") > 0.0).then_some(())
    })
    .await;
    shop.done(&evictd).await;

    let not_here = NOT_HERE.map(|(name, _)| name);
    let mut missing = Vec::new();
    let text = eventually("everything was brought about", WITHIN, async || {
        let text = scrape(listen).await;
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        let there: BTreeSet<String> = lines.map(|line| series(line).0).collect();
        let wanted = metric::ALL.iter().map(|metric| metric.name);
        missing = wanted
            .filter(|name| !there.contains(*name) && !not_here.contains(name))
            .filter(|name| *name != metric::LAST_GAP)
            .collect::<Vec<_>>();
        missing.is_empty().then_some(text)
    });
    let text = tokio::select! {
        text = text => text,
        () = tokio::time::sleep(WITHIN - Duration::from_secs(5)) => {
            panic!("{missing:?} missing\n{}\n{}", scrape(listen).await, evictd.tail())
        }
    };

    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        assert!(line.contains("name=\"shop\""), "{line}");
        let (name, found) = series(line);
        labels.entry(name).or_insert(found);
    }
    for metric in metric::ALL
        .iter()
        .filter(|metric| labels.contains_key(metric.name))
    {
        let kind = match metric.kind() {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let name = metric.name;
        for line in [
            format!("# TYPE {name} {kind}"),
            format!("# HELP {name} {}", metric.help()),
        ] {
            assert!(
                text.lines().any(|exposed| exposed == line),
                "{line}\n{text}"
            );
        }
        let declared: BTreeSet<String> = metric.labels().map(str::to_owned).collect();
        assert_eq!(labels[name], declared, "{name}");
    }
    let unknown: Vec<&String> = labels
        .keys()
        .filter(|name| !metric::ALL.iter().any(|metric| metric.name == **name))
        .collect();
    assert_eq!(unknown, [""; 0]);
    for (series, at_least) in [
        (
            "evictd_changes_total{name=\"shop\",table=\"shop.users\",op=\"insert\"}",
            197.0,
        ),
        (
            "evictd_changes_total{name=\"shop\",table=\"shop.users\",op=\"update\"}",
            3.0,
        ),
        (
            "evictd_changes_total{name=\"shop\",table=\"shop.users\",op=\"delete\"}",
            1.0,
        ),
        (
            "evictd_missed_version_bumps_total{name=\"shop\",rule=\"users\"}",
            1.0,
        ),
        ("evictd_backward_versions_total{", 1.0),
        (
            "evictd_widenings_total{name=\"shop\",reason=\"statement\"}",
            1.0,
        ),
        ("evictd_cache_keys_refused_total{", 1.0),
        ("evictd_dead_letters_on_record{", 1.0),
        ("evictd_tag_set_keys_total{", 1.0),
        ("evictd_published_messages_total{", 1.0),
        (
            "evictd_paths_skipped_total{name=\"shop\",class=\"short-ttl\"}",
            1.0,
        ),
        ("evictd_bulk_changes_total{", 1.0),
        ("evictd_budget_spent_paths{", 1.0),
        ("evictd_budget_limit_paths{", 100.0),
        ("evictd_connected{", 1.0),
        ("evictd_config_current{", 1.0),
        ("evictd_commit_to_visible_seconds_count{", 1.0),
        ("evictd_commit_to_edge_completed_seconds_count{", 1.0),
    ] {
        assert!(value(&text, series) >= at_least, "{series}\n{text}");
    }
    run_promtool(&["check", "metrics"], &text);
    stop(evictd).await;
}

#[tokio::test]
async fn a_thousand_tables_are_as_many_series_as_the_rules_name_them() {
    const TABLES: usize = 1_000;
    let shop = Shop::open().await;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    // Of its own: another test's daemon on this server would take its place now and then.
    let config = shop.config().source("server_id = 4711001").rest(&format!(
        "[metrics]\nlisten = \"{listen}\"\n\
         [[rule]]\nname = \"tenants\"\ntables = [\"$db.tenant_*\"]\nkeys = [\"tenant:{{id}}\"]\n"
    ));
    // Half of them are no rule's.
    let name = |number: usize| match number % 2 {
        0 => format!("tenant_{number}"),
        _ => format!("foreign_{number}"),
    };
    let create: Vec<String> = (0..TABLES)
        .map(|number| {
            format!(
                "CREATE TABLE {} (id INT PRIMARY KEY) ENGINE = MEMORY",
                name(number)
            )
        })
        .collect();
    for statements in create.chunks(100) {
        shop.sql(&statements.join(";")).await;
    }
    let evictd = config.start().await;
    shop.sql(&format!("INSERT INTO {} VALUES (1000000)", name(0)))
        .await;
    shop.done(&evictd).await;
    let count = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let before = scrape(listen).await;
    let insert: Vec<String> = (1..TABLES)
        .map(|number| format!("INSERT INTO {} VALUES ({number})", name(number)))
        .collect();
    for statements in insert.chunks(100) {
        shop.sql(&statements.join(";")).await;
    }
    shop.done(&evictd).await;
    let after = scrape(listen).await;
    let label = format!("table=\"{}.tenant_*\",op=\"insert\"", shop.database);
    let counted = value(
        &after,
        &format!("evictd_changes_total{{name=\"{}\",{label}}}", shop.database),
    );
    assert!((counted - 500.0).abs() < 0.5, "{counted}\n{after}");
    assert_eq!(count(&before), count(&after), "{before}\n{after}");
    assert!(
        !after.contains("tenant_2\"") && !after.contains("foreign_"),
        "{after}"
    );
    stop(evictd).await;
}
