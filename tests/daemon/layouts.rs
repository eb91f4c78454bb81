//! Columns that the binlog does not name, and an evictd that ends between rows that were read with the columns of
//! later and the statement that made them so.

use std::time::Duration;

use super::shop::{Config, Shop, WITHIN, stop};
use crate::support::{Evictd, MysqlOptions, Relay, eventually};

const RULE: &str = r#"
[[rule]]
name   = "pairs"
tables = ["$db.pairs"]
keys   = ["pair:{b}"]
"#;

const KEYS: [&str; 2] = ["pair:1", "pair:2"];

/// How the one that read the rows ends.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Killed,
    InOrder,
    /// With another that stands by.
    Followed,
}

/// One that has read a row of `pairs` with columns that took each other's place since, and not the statement.
async fn read_the_row_alone(shop: &Shop, config: &Config, relay: &Relay) -> Evictd {
    let mut evictd = config.start().await;
    shop.done(&evictd).await;
    shop.fill(&KEYS).await;
    evictd.signal("STOP");
    shop.sql("INSERT INTO pairs VALUES (1, 2)").await;
    let (file, offset, _) = shop.end().await;
    // The server sends the row at once, and nobody takes it yet.
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay.hold_dumps();
    shop.sql("ALTER TABLE pairs DROP COLUMN a, ADD COLUMN c INT AFTER b")
        .await;
    evictd.signal("CONT");
    eventually("the row is passed", WITHIN, async || {
        let stored = shop.checkpoint()?;
        let passed = stored["file"] == file.as_str() && stored["offset"].as_u64()? >= offset;
        passed.then_some(())
    })
    .await;
    // 1 is in the column that is called b by now.
    assert_eq!(shop.redis.keys().await, KEYS[1..], "{}", evictd.tail());
    evictd
}

#[tokio::test]
async fn a_statement_after_a_restart_widens_what_was_read_with_its_columns_before() {
    for ends in [Ends::Killed, Ends::InOrder, Ends::Followed] {
        let shop = Shop::own(MysqlOptions {
            row_metadata: "MINIMAL",
            ..MysqlOptions::default()
        })
        .await;
        shop.sql("CREATE TABLE pairs (a INT, b INT)").await;
        let relay = Relay::to(shop.mysql().port()).await;
        let mut config = shop.config().rest(RULE);
        config.source_url = format!("mysql://evictd@127.0.0.1:{}", relay.port());
        let mut reader = read_the_row_alone(&shop, &config, &relay).await;
        let next = match ends {
            Ends::Killed => {
                reader.kill();
                relay.release();
                config.start().await
            }
            Ends::InOrder => {
                stop(reader).await;
                relay.release();
                config.start().await
            }
            Ends::Followed => {
                let mut next = Evictd::start(&config.options());
                next.wait_for_line("standing by until", WITHIN).await;
                reader.kill();
                relay.release();
                next
            }
        };
        shop.gone(&KEYS, &next).await;

        // Columns that were there when rows were read are theirs: nothing is left to widen.
        shop.done(&next).await;
        let stored = shop.checkpoint_at_end().await;
        assert_eq!(stored["columns_of"], serde_json::Value::Null, "{ends:?}");
        stop(next).await;
    }
}

/// The columns come with the rows: a restart before the statement is nothing to widen for.
#[tokio::test]
async fn with_the_names_in_the_binlog_a_restart_before_a_statement_widens_nothing() {
    let shop = Shop::own(MysqlOptions::default()).await;
    shop.sql("CREATE TABLE pairs (a INT, b INT)").await;
    let config = shop.config().rest(RULE);
    let evictd = config.start().await;
    let gone = shop
        .deleted_by(&evictd, &KEYS, "INSERT INTO pairs VALUES (1, 2)")
        .await;
    assert_eq!(gone, KEYS[1..]);
    stop(evictd).await;
    shop.fill(&KEYS).await;
    shop.sql("ALTER TABLE pairs ADD COLUMN c INT").await;
    let evictd = config.start().await;
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, KEYS, "{}", evictd.tail());
    stop(evictd).await;
}
