//! ALTER TABLE: which of its clauses change rows, and which leave them as they are.

use super::shop::{Shop, USERS, stop};
use crate::support::MysqlOptions;

const PRODUCTS: &str = "CREATE TABLE products (
    id INT PRIMARY KEY, net INT, gross INT AS (net * 2), name VARCHAR(20), INDEX by_name (name))";

const RULE: &str = r#"
[[rule]]
name   = "products"
tables = ["$db.products"]
keys   = ["product:{id}"]
"#;

/// No row has the first; the second is another rule's.
const KEYS: [&str; 2] = ["product:404", "user:404:profile"];

async fn shop(row_metadata: &'static str) -> Shop {
    let shop = Shop::own(MysqlOptions {
        row_metadata,
        ..MysqlOptions::default()
    })
    .await;
    shop.sql(PRODUCTS).await;
    shop
}

/// The rows differ afterwards, and no row event says so.
#[tokio::test]
async fn a_column_that_is_dropped_and_added_again_changes_every_row() {
    for row_metadata in ["FULL", "MINIMAL"] {
        let shop = shop(row_metadata).await;
        let evictd = shop.config().rest(&format!("{USERS}{RULE}")).start().await;
        shop.done(&evictd).await;
        for sql in [
            "ALTER TABLE products DROP COLUMN gross, ADD COLUMN gross INT AS (net * 3)",
            "ALTER TABLE products DROP gross; ALTER TABLE products ADD gross INT AS (net * 4)",
            "ALTER TABLE products DROP COLUMN gross",
            "ALTER TABLE products DROP COLUMN net, ADD COLUMN net INT DEFAULT 9",
            "ALTER TABLE products DROP net; ALTER TABLE products ADD net INT DEFAULT 8",
            "ALTER TABLE products COMMENT 'x', ALGORITHM = COPY, DROP net",
            // A clause that is not known to leave the rows alone.
            "ALTER TABLE products ORDER BY name",
            "ALTER TABLE products ALTER COLUMN name SET INVISIBLE",
        ] {
            let deleted = shop.deleted_by(&evictd, &KEYS, sql).await;
            assert_eq!(deleted, KEYS[..1], "{row_metadata}: {sql}");
        }
        stop(evictd).await;
    }
}

#[tokio::test]
async fn clauses_that_leave_the_rows_alone_delete_nothing() {
    for row_metadata in ["FULL", "MINIMAL"] {
        let shop = shop(row_metadata).await;
        let evictd = shop.config().rest(&format!("{USERS}{RULE}")).start().await;
        // Without names in the binlog, a table whose rows were read is watched for other columns.
        shop.sql("INSERT INTO products (id, net, name) VALUES (1, 2, 'tea'); INSERT INTO users (id) VALUES (1)")
            .await;
        shop.done(&evictd).await;
        for sql in [
            "ALTER TABLE products RENAME INDEX by_name TO named",
            "ALTER TABLE products ADD INDEX (net), ADD UNIQUE KEY both_of_them (id, net) USING BTREE",
            "ALTER TABLE products DROP INDEX net, DROP KEY both_of_them, ADD FULLTEXT words (name)",
            "ALTER TABLE products ALTER INDEX named INVISIBLE, ALTER INDEX named VISIBLE",
            "ALTER TABLE products COMMENT = 'DROP COLUMN net, TRUNCATE PARTITION p', AUTO_INCREMENT 7",
            "ALTER TABLE products COMMENT 'it''s größer', ALGORITHM = INPLACE, LOCK = NONE",
            "SET NAMES latin1; ALTER TABLE products COMMENT 'größe'; SET NAMES utf8mb4",
            "ALTER TABLE products ALTER COLUMN net SET DEFAULT 5, ALTER name SET DEFAULT (UPPER('x'))",
            "ALTER TABLE products ALTER net DROP DEFAULT",
            "ALTER TABLE products ADD CONSTRAINT positive CHECK (net > 0);
             ALTER TABLE products ALTER CHECK positive NOT ENFORCED",
            "ALTER TABLE products DROP CHECK positive",
            "ALTER TABLE products ENGINE = InnoDB, ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 8",
            "ALTER TABLE products FORCE",
            "/*!40000 ALTER TABLE products DISABLE KEYS */",
            "ALTER TABLE products DEFAULT CHARACTER SET = latin1 COLLATE latin1_swedish_ci",
            "CREATE INDEX by_net ON products (net); DROP INDEX by_net ON products",
            "ANALYZE TABLE products; OPTIMIZE TABLE products; CHECK TABLE products",
            "CREATE VIEW cheap AS SELECT * FROM products WHERE net < 5; ALTER VIEW cheap AS SELECT 1; DROP VIEW cheap",
            "CREATE TRIGGER t BEFORE INSERT ON products FOR EACH ROW SET NEW.net = 1; DROP TRIGGER t",
        ] {
            let deleted = shop.deleted_by(&evictd, &KEYS, sql).await;
            assert_eq!(deleted, [""; 0], "{row_metadata}: {sql}");
        }
        let add =
            "ALTER TABLE products ADD COLUMN stock INT DEFAULT 3 AFTER net, ADD (a INT, b INT)";
        let deleted = shop.deleted_by(&evictd, &KEYS, add).await;
        match row_metadata {
            "FULL" => assert_eq!(deleted, [""; 0], "no rule reads them"),
            // What was read before went by names that may have been those of after.
            _ => assert_eq!(deleted, KEYS[..1]),
        }
        let deleted = shop
            .deleted_by(&evictd, &["product:1"], "UPDATE products SET stock = 4")
            .await;
        assert_eq!(deleted, ["product:1"]);
        stop(evictd).await;
    }
}

/// Partitions that are added, looked at or rebuilt have the rows of before.
#[tokio::test]
async fn partitions_that_are_added_or_rebuilt_delete_nothing() {
    let shop = shop("FULL").await;
    let evictd = shop.config().rest(&format!("{USERS}{RULE}")).start().await;
    shop.sql("ALTER TABLE products PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))")
        .await;
    shop.done(&evictd).await;
    for sql in [
        "ALTER TABLE products ADD PARTITION (PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN (30))",
        "ALTER TABLE products ANALYZE PARTITION p0, p1",
        "ALTER TABLE products REBUILD PARTITION p1, p2",
    ] {
        let deleted = shop.deleted_by(&evictd, &KEYS, sql).await;
        assert_eq!(deleted, [""; 0], "{sql}");
    }
    for sql in [
        "ALTER TABLE products ADD INDEX (net) REMOVE PARTITIONING",
        "ALTER TABLE products DISCARD TABLESPACE",
    ] {
        let deleted = shop.deleted_by(&evictd, &KEYS, sql).await;
        assert_eq!(deleted, KEYS[..1], "{sql}");
    }
    stop(evictd).await;
}

/// While it was not there, the rule fitted no row.
#[tokio::test]
async fn a_column_that_a_rule_reads_counts_when_it_is_added() {
    let shop = shop("FULL").await;
    let rule = RULE.replace("product:{id}", "product:{NET}");
    let evictd = shop.config().rest(&format!("{USERS}{rule}")).start().await;
    for sql in [
        "ALTER TABLE products DROP COLUMN gross, DROP COLUMN net",
        "ALTER TABLE products ADD COLUMN (stock INT, net INT DEFAULT 404)",
    ] {
        let deleted = shop.deleted_by(&evictd, &KEYS, sql).await;
        assert_eq!(deleted, KEYS[..1], "{sql}");
    }
    stop(evictd).await;
}
