//! Transactions that end otherwise than by COMMIT: XA, and tables that a rollback leaves as they are.

use super::shop::{Shop, USERS, stop};
use crate::support::MysqlOptions;

const ORDERS: &str = r#"
[[rule]]
name   = "orders"
tables = ["$db.orders"]
keys   = ["order:{id}"]
"#;

const KEYS: [&str; 3] = ["user:1:profile", "user:9:profile", "order:1"];

fn rules() -> String {
    format!("{USERS}{ORDERS}")
}

/// The rows of a prepared transaction are read before anybody sees them: a reader fills its keys with the old rows
/// until the transaction is committed.
#[tokio::test]
async fn the_commit_of_a_prepared_xa_transaction_deletes_the_keys_of_its_tables_again() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = shop.config().rest(&rules()).start().await;
    for (compression, id) in [("OFF", 1), ("ON", 2)] {
        let xid = format!("'{}','{compression}'", shop.database);
        let prepare = format!(
            "SET binlog_transaction_compression = {compression}; XA START {xid};
             INSERT INTO users (id, name) VALUES ({id}, REPEAT('x', 100)); INSERT INTO unrelated VALUES ();
             XA END {xid}; XA PREPARE {xid}"
        );
        shop.sql(&prepare).await;
        shop.done(&evictd).await;
        let deleted = shop
            .deleted_by(&evictd, &KEYS, &format!("XA COMMIT {xid}"))
            .await;
        assert_eq!(
            deleted,
            ["user:1:profile", "user:9:profile"],
            "{compression}"
        );
    }
    stop(evictd).await;
}

#[tokio::test]
async fn an_xa_transaction_that_touched_no_mapped_table_or_is_rolled_back_deletes_nothing() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = shop.config().rest(&rules()).start().await;
    for (change, end) in [
        ("INSERT INTO unrelated VALUES ()", "COMMIT"),
        ("INSERT INTO users (id) VALUES (1)", "ROLLBACK"),
    ] {
        let xid = format!("'{}','{end}'", shop.database);
        let prepare = format!("XA START {xid}; {change}; XA END {xid}; XA PREPARE {xid}");
        shop.sql(&prepare).await;
        shop.done(&evictd).await;
        let deleted = shop
            .deleted_by(&evictd, &KEYS, &format!("XA {end} {xid}"))
            .await;
        assert_eq!(deleted, [""; 0], "{change}, {end}");
    }
}

#[tokio::test]
async fn an_xa_transaction_committed_in_one_phase_is_an_ordinary_one() {
    let shop = Shop::open().await;
    let evictd = shop.config().rest(&rules()).start().await;
    let xid = format!("'{}'", shop.database);
    let sql = format!(
        "XA START {xid}; INSERT INTO users (id) VALUES (1); XA END {xid}; XA COMMIT {xid} ONE PHASE"
    );
    let deleted = shop.deleted_by(&evictd, &KEYS, &sql).await;
    assert_eq!(deleted, ["user:1:profile"]);
    shop.sql("UPDATE users SET version = 2").await;
    stop(evictd).await;
}

/// What was prepared before evictd started is not known to it.
#[tokio::test]
async fn the_commit_of_an_xa_transaction_prepared_before_a_restart_deletes_everything() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let config = shop.config().rest(&rules());
    let evictd = config.start().await;
    let xid = format!("'{}'", shop.database);
    let prepare = format!(
        "XA START {xid}; INSERT INTO users (id) VALUES (1); XA END {xid}; XA PREPARE {xid}"
    );
    shop.sql(&prepare).await;
    shop.done(&evictd).await;
    stop(evictd).await;
    let evictd = config.start().await;
    let deleted = shop
        .deleted_by(&evictd, &KEYS, &format!("XA COMMIT {xid}"))
        .await;
    assert_eq!(deleted, KEYS);
}

/// MyISAM knows no transactions: its rows stay changed, so that their keys must go.
#[tokio::test]
async fn changes_that_a_rollback_cannot_undo_count() {
    let shop = Shop::own(MysqlOptions {
        // With GTIDs a transaction must not mix such tables.
        gtid: false,
        ..MysqlOptions::default()
    })
    .await;
    shop.sql("ALTER TABLE orders ENGINE = MyISAM").await;
    let evictd = shop.config().rest(&rules()).start().await;
    let keys = [
        "user:1:profile",
        "user:2:profile",
        "user:3:profile",
        "order:1",
        "order:2",
        "order:9",
    ];
    for (number, (sql, expected)) in [
        (
            "BEGIN; INSERT INTO users (id) VALUES (1); SAVEPOINT s; INSERT INTO users (id) VALUES (2);
             INSERT INTO orders (id) VALUES (1); ROLLBACK TO s; INSERT INTO users (id) VALUES (3); COMMIT",
            &["user:1:profile", "user:3:profile", "order:1"][..],
        ),
        (
            "BEGIN; INSERT INTO users (id) VALUES (2); INSERT INTO orders (id) VALUES (2); ROLLBACK",
            &["order:2"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let deleted = shop.deleted_by(&evictd, &keys, sql).await;
        assert_eq!(deleted, expected, "{number}");
        let users: Vec<(u64,)> = shop.mysql().rows("SELECT id FROM shop.users ORDER BY id").await;
        assert_eq!(users, [(1,), (3,)], "{number}");
    }
    let orders: Vec<(u64,)> = shop
        .mysql()
        .rows("SELECT id FROM shop.orders ORDER BY id")
        .await;
    assert_eq!(orders, [(1,), (2,)], "what a rollback leaves");
    stop(evictd).await;
}
