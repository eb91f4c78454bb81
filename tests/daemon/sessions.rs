//! Global settings of the server that every session begins with, made for applications and not for evictd.

use super::shop::{Shop, stop};
use crate::support::{Evictd, MysqlOptions};

const SIZES: &str = r#"
[[rule]]
name   = "sizes"
tables = ["$db.größen"]
keys   = ["size:{größe}"]
"#;

fn minimal(extra: &[&str]) -> MysqlOptions {
    MysqlOptions {
        row_metadata: "MINIMAL",
        extra: extra.iter().map(|arg| (*arg).to_owned()).collect(),
        ..MysqlOptions::default()
    }
}

/// Tables that no rule is about are in the catalog too.
#[tokio::test]
async fn names_and_labels_beyond_ascii_are_read_whatever_character_set_sessions_begin_with() {
    let shop = Shop::own(minimal(&["--init-connect=SET NAMES latin1"])).await;
    shop.sql(
        "SET NAMES utf8mb4;
         CREATE TABLE größen (id INT PRIMARY KEY, größe ENUM('groß', 'klein'));
         CREATE TABLE 価格 (id INT PRIMARY KEY, 円 INT)",
    )
    .await;
    let evictd = shop.config().rest(SIZES).start().await;
    let keys = ["size:groß", "size:klein"];
    let change = "SET NAMES utf8mb4; INSERT INTO größen VALUES (1, 'groß')";
    let gone = shop.deleted_by(&evictd, &keys, change).await;
    assert_eq!(gone, keys[..1], "{}", evictd.tail());
    stop(evictd).await;
}

#[tokio::test]
async fn global_settings_for_sessions_change_nothing_that_evictd_reads() {
    let shop = Shop::own(minimal(&["--init-connect=SET max_execution_time = 1"])).await;
    let keys = ["user:1:profile", "user:2:profile"];
    for setting in [
        "sql_select_limit = 2",
        "max_join_size = 1",
        "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH'",
        "time_zone = '+09:00'",
        "transaction_isolation = 'SERIALIZABLE'",
        "group_concat_max_len = 4",
        "wait_timeout = 1",
    ] {
        shop.mysql().exec(format!("SET GLOBAL {setting}")).await;
        let examined = Evictd::finish(
            &shop.config().options().args(&["check"]),
            super::shop::WITHIN,
        )
        .await;
        assert_eq!(
            examined.code,
            Some(0),
            "{setting}: {}{}",
            examined.stdout,
            examined.stderr
        );
        let evictd = shop.config().start().await;
        let change = "REPLACE INTO users (id, name) VALUES (1, UUID())";
        let gone = shop.deleted_by(&evictd, &keys, change).await;
        assert_eq!(gone, keys[..1], "{setting}: {}", evictd.tail());
        stop(evictd).await;
    }
}

/// A session that commits nothing by itself sees the catalog for ever as it was at its first question.
#[tokio::test]
async fn columns_are_looked_up_as_they_are_though_sessions_begin_without_autocommit() {
    let shop = Shop::own(minimal(&["--init-connect=SET autocommit = 0"])).await;
    shop.sql("CREATE TABLE pairs (id INT PRIMARY KEY, a INT, b INT)")
        .await;
    let rule = "[[rule]]\nname = \"pairs\"\ntables = [\"$db.pairs\"]\nkeys = [\"pair:{b}\"]\n";
    let evictd = shop.config().rest(rule).start().await;
    let keys = ["pair:1", "pair:2", "pair:7", "pair:8"];
    let before = "INSERT INTO pairs VALUES (1, 1, 2)";
    assert_eq!(shop.deleted_by(&evictd, &keys, before).await, ["pair:2"]);
    shop.sql("ALTER TABLE pairs MODIFY a INT AFTER b").await;
    shop.done(&evictd).await;
    let after = "INSERT INTO pairs (id, a, b) VALUES (2, 7, 8)";
    assert_eq!(shop.deleted_by(&evictd, &keys, after).await, ["pair:8"]);
    let open: Vec<u64> = shop
        .mysql()
        .rows("SELECT trx_mysql_thread_id FROM information_schema.innodb_trx")
        .await;
    assert_eq!(open, [0; 0], "transactions are open");
    stop(evictd).await;
}
