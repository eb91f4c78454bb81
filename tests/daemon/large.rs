//! What is larger than memory should have to hold: transactions, compressed or not, and single rows.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::shop::{Config, Shop, WITHIN, stop};
use crate::support::{Evictd, MysqlOptions, Relay, eventually};

/// What a daemon may take at most, however large a transaction is.
const RESIDENT_BYTES_MAX: u64 = 64 << 20;

/// For transactions of a million rows.
const LONG: Duration = Duration::from_secs(240);

/// With few keys, so that what is measured is the reading.
const PROFILES: &str = r#"
[[rule]]
name   = "users"
tables = ["$db.users"]
keys   = ["user:{id}:profile"]
"#;

/// The most memory that evictd ever had, in bytes.
fn resident_max(evictd: &Evictd) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", evictd.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .expect("Linux says how much memory was used");
    kib << 10
}

async fn roomy() -> Shop {
    let extra = [
        "--innodb-redo-log-capacity=512M",
        "--max-allowed-packet=64M",
    ];
    Shop::own(MysqlOptions {
        extra: extra.map(str::to_owned).to_vec(),
        ..MysqlOptions::default()
    })
    .await
}

/// Inserts users 1 to `rows` in one transaction.
fn insert_all(rows: u32, name: &str) -> String {
    format!(
        "SET cte_max_recursion_depth = {rows};
         INSERT INTO users (id, name) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         SELECT i, {name} FROM n"
    )
}

/// Reads a transaction of `rows` users through a relay that holds its second half back: the keys of its beginning
/// are gone before its end has left the server. Returns the memory that it took.
async fn acted_on_while_it_streams(shop: &Shop, rows: u32, prepare: &str, name: &str) -> u64 {
    let relay = Relay::to(shop.mysql().port()).await;
    let mut config: Config = shop.config().rest(PROFILES);
    config.source_url = format!("mysql://evictd@127.0.0.1:{}", relay.port());
    let evictd = config.start().await;
    shop.done(&evictd).await;

    let last = format!("user:{rows}:profile");
    shop.fill(&["user:1:profile", &last, "user:0:profile"])
        .await;
    let (_, before, _) = shop.end().await;
    // Less than what any connection was sent so far and half of the transaction: nothing of it passes until then.
    relay.hold_after(0);
    shop.sql(&format!("{prepare}; {}", insert_all(rows, name)))
        .await;
    let (_, after, _) = shop.end().await;
    assert_eq!(shop.redis.keys().await.len(), 3, "nothing passed the relay");
    relay.hold_after(before + (after - before) / 2);
    eventually("the first key goes", LONG, async || {
        let keys = shop.redis.keys().await;
        (!keys.contains(&"user:1:profile".to_owned())).then_some(())
    })
    .await;
    assert_eq!(
        shop.redis.keys().await,
        ["user:0:profile".to_owned(), last.clone()],
        "the end has not been read"
    );
    relay.release();
    eventually("the last key goes", LONG, async || {
        (shop.redis.keys().await == ["user:0:profile"]).then_some(())
    })
    .await;
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, ["user:0:profile"]);
    shop.checkpoint_at_end().await;
    let resident = resident_max(&evictd);
    let lines = evictd.lines();
    let broken = lines.iter().find(|line| line.contains("ERROR"));
    assert_eq!(broken, None, "{}", evictd.tail());
    stop(evictd).await;
    resident
}

/// How many rows the largest transaction has; `EVICTD_TEST_ROWS=5000000` for more than `make test` has time for.
fn rows() -> u32 {
    std::env::var("EVICTD_TEST_ROWS").map_or(1_000_000, |rows| rows.parse().expect("a number"))
}

#[tokio::test]
async fn a_huge_transaction_is_acted_on_while_it_streams_in_and_takes_little_memory() {
    let shop = roomy().await;
    let resident = acted_on_while_it_streams(&shop, rows(), "DO 0", "NULL").await;
    println!("{} rows in {} MiB", rows(), resident >> 20);
    assert!(resident < RESIDENT_BYTES_MAX, "{} MiB", resident >> 20);
}

#[tokio::test]
async fn a_compressed_transaction_is_unpacked_while_it_streams_in_and_takes_little_memory() {
    let shop = roomy().await;
    shop.sql("ALTER TABLE users MODIFY name VARCHAR(4000)")
        .await;
    let (_, before, _) = shop.end().await;
    let resident = acted_on_while_it_streams(
        &shop,
        60_000,
        "SET binlog_transaction_compression = ON",
        // Long, different from row to row, and easy to compress.
        "CONCAT(SHA2(i, 256), REPEAT('x', 3900))",
    )
    .await;
    let (_, after, _) = shop.end().await;
    assert!(after - before < 40 << 20, "230 MB were compressed");
    assert!(resident < RESIDENT_BYTES_MAX, "{} MiB", resident >> 20);
}

const FILES: &str = r#"
[[rule]]
name   = "files"
tables = ["$db.files"]
keys   = ["file:{id}:{name}"]
"#;

const FILE_KEYS: [&str; 4] = ["file:1:a", "file:1:b", "file:2:a", "file:2:b"];

/// Which keys are gone after a change, in a session with these settings.
async fn gone_by(shop: &Shop, evictd: &Evictd, settings: &str, sql: &str) -> Vec<String> {
    shop.deleted_by(evictd, &FILE_KEYS, &format!("{settings}; {sql}"))
        .await
}

#[tokio::test]
async fn rows_over_16_mb_count_like_others_with_every_image_and_compression() {
    let shop = roomy().await;
    shop.sql("CREATE TABLE files (id INT PRIMARY KEY, name VARCHAR(9), data LONGBLOB)")
        .await;
    let mut evictd = shop.config().rest(FILES).start().await;
    // Nothing that could be compressed, so that a compressed event has more than 16 MB too.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..20 << 20)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    let mut conn = shop.mysql().conn().await;
    for compression in ["OFF", "ON"] {
        shop.fill(&FILE_KEYS).await;
        conn.query_drop(format!(
            "SET binlog_transaction_compression = {compression}"
        ))
        .await
        .unwrap();
        conn.exec_drop("INSERT INTO shop.files VALUES (1, 'a', ?)", (&noise,))
            .await
            .unwrap();
        shop.done(&evictd).await;
        let left = shop.redis.keys().await;
        assert_eq!(left, FILE_KEYS[1..], "compression {compression}");
        for image in ["FULL", "MINIMAL", "NOBLOB"] {
            let settings = format!(
                "SET binlog_row_image = {image}, binlog_transaction_compression = {compression}"
            );
            // The blob changes with the name, and alone.
            let both = "UPDATE files SET name = 'b', data = CONCAT(data, 'x')";
            let renamed = gone_by(&shop, &evictd, &settings, both).await;
            let expected = match image {
                // The name of before is in no image, which widens to the table.
                "MINIMAL" => &FILE_KEYS[..],
                _ => &FILE_KEYS[..2],
            };
            assert_eq!(renamed, expected, "{settings}");
            let alone = "UPDATE files SET data = CONCAT(data, 'y')";
            let grown = gone_by(&shop, &evictd, &settings, alone).await;
            let expected = match image {
                "MINIMAL" => &FILE_KEYS[..],
                _ => &FILE_KEYS[1..2],
            };
            assert_eq!(grown, expected, "{settings}");
            shop.sql("UPDATE files SET name = 'a'").await;
            shop.done(&evictd).await;
        }
        let settings = format!("SET binlog_transaction_compression = {compression}");
        let deleted = gone_by(&shop, &evictd, &settings, "DELETE FROM files").await;
        assert_eq!(deleted, FILE_KEYS[..1], "{settings}");
    }
    conn.disconnect().await.unwrap();
    assert_eq!(evictd.exited(), None);
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

const PLANNED: &str = r#"
[[rule]]
name    = "users"
tables  = ["$db.users"]
version = "version"
keys    = ["user:{id}:v{version}", "user:{slug}", "tenant:{tenant_id}:users"]
paths   = ["/users/{slug}"]
"#;

/// 20,000 rows in transactions of every kind, from an empty table to an empty table.
fn workload(settings: &str) -> String {
    format!(
        "{settings}; SET cte_max_recursion_depth = 20000;
         INSERT INTO users (id, tenant_id, slug, name) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
           SELECT i, i % 7, CONCAT('s', i), REPEAT('n', i % 100) FROM n;
         BEGIN;
         UPDATE users SET slug = CONCAT('t', id), version = version + 1 WHERE id % 4 = 0;
         INSERT INTO orders (id, user_id) SELECT id, id FROM users WHERE id <= 1000;
         UPDATE users SET name = NULL WHERE id % 5 = 0;
         DELETE FROM users WHERE id % 9 = 0;
         COMMIT;
         DELETE FROM orders;
         DELETE FROM users"
    )
}

/// The plans of everything from `start` on, without positions and times.
async fn plans(shop: &Shop, start: &str, end: &str) -> Vec<String> {
    let config = shop
        .config()
        .rest(PLANNED)
        .source(&format!("start = \"{start}\""));
    let args = ["run", "--dry-run", "--format", "json"];
    let evictd = Evictd::start(&config.options().args(&args));
    let end = format!("\"mark:{end}\"");
    let text = eventually("the plans are printed", WITHIN, async || {
        let text = evictd.stdout();
        text.trim_end().ends_with('}').then_some(())?;
        text.lines().last()?.contains(&end).then_some(text)
    })
    .await;
    stop(evictd).await;
    let plan = |line: &str| {
        let mut plan: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = plan.as_object_mut().unwrap();
        fields.remove("position").unwrap();
        fields.remove("committed_at").unwrap();
        plan.to_string()
    };
    let mut plans: Vec<String> = text.lines().map(plan).collect();
    plans.pop();
    plans
}

#[tokio::test]
async fn a_workload_of_20000_rows_gives_the_same_plans_compressed_by_session_by_server_or_not() {
    let shop = roomy().await;
    let mut all = Vec::new();
    for (mark, global, session) in [
        (1, "OFF", ""),
        (2, "OFF", "SET binlog_transaction_compression = ON"),
        (3, "ON", ""),
    ] {
        let global = format!("SET GLOBAL binlog_transaction_compression = {global}");
        shop.mysql().exec(global).await;
        let (file, offset, _) = shop.end().await;
        let session = if session.is_empty() { "DO 0" } else { session };
        shop.sql(&workload(session)).await;
        let written = shop.end().await.1 - offset;
        shop.sql(&format!("INSERT INTO marks VALUES ({mark})"))
            .await;
        let start = format!("{file}:{offset}");
        all.push((written, plans(&shop, &start, &mark.to_string()).await));
    }
    let [(plain, planned), (by_session, second), (by_server, third)] = all.as_slice() else {
        panic!("three runs");
    };
    assert!(planned.len() > 24_000, "{}", planned.len());
    assert!(
        by_session < &(plain / 2) && by_server < &(plain / 2),
        "they were compressed"
    );
    assert!(planned == second, "the session's switch changes no plan");
    assert!(planned == third, "the server's switch changes no plan");
}
