//! Statements that change or hide rows without row events, and tables that change their columns.

use super::shop::{Shop, USERS, WITHIN, stop};
use crate::support::{EVICTD_PASSWORD, MysqlOptions};

const ORDERS: &str = r#"
[[rule]]
name   = "orders"
tables = ["$db.orders"]
keys   = ["order:{id}"]
"#;

/// None of these keys belongs to a row: evictd cannot know them otherwise than by the rule's pattern.
const USER_KEYS: [&str; 2] = ["user:404:v9", "user:405:profile"];
const KEYS: [&str; 4] = ["user:404:v9", "user:405:profile", "order:404", "elsewhere"];

#[tokio::test]
async fn statements_without_row_events_delete_every_key_of_their_tables_and_no_other() {
    let shop = Shop::open().await;
    let rules = format!("{USERS}{ORDERS}");
    let evictd = shop.config().rest(&rules).start().await;
    let db = &shop.database;
    shop.sql(
        "ALTER TABLE users PARTITION BY RANGE (id)
            (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN MAXVALUE);
         CREATE TABLE swap LIKE users; ALTER TABLE swap REMOVE PARTITIONING;
         CREATE TABLE archive LIKE users;
         CREATE TABLE plain LIKE swap;
         INSERT INTO users (id) VALUES (1), (11), (21)",
    )
    .await;
    shop.done(&evictd).await;
    for sql in [
        "ALTER TABLE users TRUNCATE PARTITION p0",
        "ALTER TABLE users DROP PARTITION p0",
        "ALTER TABLE users EXCHANGE PARTITION p1 WITH TABLE swap",
        "ALTER TABLE users REORGANIZE PARTITION p1, p2 INTO (PARTITION p2 VALUES LESS THAN MAXVALUE)",
        "ALTER TABLE users REMOVE PARTITIONING",
        // The table after WITH is the mapped one.
        "ALTER TABLE archive EXCHANGE PARTITION p0 WITH TABLE users WITHOUT VALIDATION",
        "CREATE TABLE _users_gho LIKE plain;
         RENAME TABLE users TO _users_del, _users_gho TO users",
        &format!(
            "CREATE TABLE `_users_new` LIKE plain;
             RENAME TABLE `{db}`.`users` TO `{db}`.`_users_old`, `{db}`.`_users_new` TO `{db}`.`users`"
        ),
        "ALTER TABLE users RENAME TO hidden",
        "ALTER TABLE hidden RENAME TO users",
        "TRUNCATE users",
        &format!("USE mysql; TRUNCATE TABLE {db} /* of */ . -- the shop\n `users`; USE {db}"),
        "SET SESSION binlog_format = STATEMENT; UPDATE users SET name = 'all' WHERE id > 0",
        "SET SESSION binlog_format = STATEMENT; DELETE FROM users",
        "SET SESSION binlog_format = STATEMENT; BEGIN; INSERT INTO unrelated (note) VALUES ('x');
         UPDATE users, unrelated SET users.name = 'all'; COMMIT",
        "DROP TABLE users, plain",
    ] {
        assert_eq!(shop.deleted_by(&evictd, &KEYS, sql).await, USER_KEYS, "{sql}");
    }
    for sql in [
        "TRUNCATE unrelated",
        "ALTER TABLE orders ADD INDEX (user_id)",
        "SET SESSION binlog_format = STATEMENT; INSERT INTO unrelated (note) VALUES ('users')",
    ] {
        assert_eq!(shop.deleted_by(&evictd, &KEYS, sql).await, [""; 0], "{sql}");
    }
    stop(evictd).await;
}

/// What a checksumming tool runs all day must not empty the cache.
#[tokio::test]
async fn a_statement_that_only_reads_a_mapped_table_deletes_nothing() {
    let shop = Shop::open().await;
    let evictd = shop
        .config()
        .rest(&format!("{USERS}{ORDERS}"))
        .start()
        .await;
    shop.sql("CREATE TABLE checksums (chunk INT PRIMARY KEY, users INT, crc CHAR(40))")
        .await;
    for sql in [
        "REPLACE INTO checksums (chunk, users, crc)
         SELECT 1, COUNT(*), COALESCE(BIT_XOR(CRC32(name)), 0) FROM users FORCE INDEX (PRIMARY)",
        "INSERT INTO checksums SELECT 2, COUNT(*), '' FROM users ON DUPLICATE KEY UPDATE users = 3",
    ] {
        let sql = format!("SET SESSION binlog_format = STATEMENT; {sql}");
        assert_eq!(
            shop.deleted_by(&evictd, &KEYS, &sql).await,
            [""; 0],
            "{sql}"
        );
    }
    stop(evictd).await;
}

/// The binlog holds the statement alone, which names neither of the tables that change in the end.
#[tokio::test]
async fn a_statement_that_works_through_a_view_a_trigger_or_a_function_counts_as_any() {
    let shop = Shop::open().await;
    let evictd = shop
        .config()
        .rest(&format!("{USERS}{ORDERS}"))
        .start()
        .await;
    shop.sql(
        "INSERT INTO users (id) VALUES (1);
         CREATE TABLE audited (id INT PRIMARY KEY, note TEXT);
         CREATE TABLE notes (id INT);
         CREATE VIEW people AS SELECT * FROM users;
         CREATE TRIGGER audit AFTER INSERT ON audited FOR EACH ROW UPDATE users SET name = 'audited';
         CREATE FUNCTION rename_all() RETURNS INT DETERMINISTIC
         BEGIN UPDATE users SET name = 'function'; RETURN 1; END",
    )
    .await;
    shop.done(&evictd).await;
    for sql in [
        "UPDATE people SET name = 'viewed'",
        "INSERT INTO audited VALUES (1, 'x')",
        "INSERT INTO notes SELECT rename_all()",
    ] {
        let sql = format!("SET SESSION binlog_format = STATEMENT; {sql}");
        let gone = shop.deleted_by(&evictd, &KEYS, &sql).await;
        assert_eq!(gone, KEYS[..3], "{sql}");
    }
    // Read from, a table with triggers is one like others.
    let read = "SET SESSION binlog_format = STATEMENT; INSERT INTO notes SELECT id FROM audited";
    assert_eq!(shop.deleted_by(&evictd, &KEYS, read).await, [""; 0]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_statement_counts_as_any_to_an_account_that_cannot_see_triggers() {
    let shop = Shop::open().await;
    let user = format!("{}_blind", shop.database);
    shop.mysql()
        .exec(format!(
            "CREATE USER '{user}'@'%' IDENTIFIED BY '{EVICTD_PASSWORD}';
             GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO '{user}'@'%'"
        ))
        .await;
    let mut config = shop.config().rest(&format!("{USERS}{ORDERS}"));
    config.source_url = config.source_url.replace("evictd@", &format!("{user}@"));
    let mut evictd = config.start().await;
    let sql = "SET SESSION binlog_format = STATEMENT; INSERT INTO unrelated (note) VALUES ('x')";
    let gone = shop.deleted_by(&evictd, &KEYS, sql).await;
    assert_eq!(gone, KEYS[..3]);
    evictd
        .wait_for_line("without SELECT and TRIGGER on *.*", WITHIN)
        .await;
    stop(evictd).await;
}

/// `CREATE TABLE … SELECT` writes rows after the statement, in one transaction.
#[tokio::test]
async fn a_table_created_from_a_query_counts_row_by_row() {
    let shop = Shop::open().await;
    let evictd = shop.config().start().await;
    let keys = ["user:5:v3", "user:6:v3", "user:5:v4", "user:7:profile"];
    shop.sql("DROP TABLE users").await;
    shop.done(&evictd).await;
    let create =
        "CREATE TABLE users (id INT PRIMARY KEY) SELECT 5 AS id, 3 AS version UNION SELECT 6, 3";
    let deleted = shop.deleted_by(&evictd, &keys, create).await;
    assert_eq!(deleted, ["user:5:v3", "user:6:v3"]);

    let statement = format!("DROP TABLE users; SET SESSION binlog_format = STATEMENT; {create}");
    assert_eq!(shop.deleted_by(&evictd, &keys, &statement).await, keys);
}

#[tokio::test]
async fn loaded_files_count_row_by_row_or_as_anything() {
    let shop = Shop::own(MysqlOptions {
        extra: vec!["--secure-file-priv=".to_owned()],
        ..MysqlOptions::default()
    })
    .await;
    let evictd = shop
        .config()
        .rest(&format!("{USERS}{ORDERS}"))
        .start()
        .await;
    let keys = [
        "user:1:profile",
        "user:2:profile",
        "user:9:profile",
        "order:404",
    ];
    for (format, ids, expected) in [
        ("ROW", "1\n2\n", &keys[..2]),
        ("STATEMENT", "3\n4\n", &keys),
    ] {
        let file = shop.dir.path().join(format);
        std::fs::write(&file, ids).unwrap();
        let load = format!(
            "SET SESSION binlog_format = {format}; LOAD DATA INFILE '{}' INTO TABLE users (id)",
            file.display()
        );
        assert_eq!(
            shop.deleted_by(&evictd, &keys, &load).await,
            expected,
            "{format}"
        );
    }
}

/// Without column names in the binlog, evictd looks the columns up, maybe after they changed.
#[tokio::test]
async fn a_column_added_in_front_does_not_mix_columns_up() {
    let keys = [
        "user:1:v1",
        "user:2:v1",
        "user:3:v1",
        "user:77:v1",
        "user:78:v1",
    ];
    for row_metadata in ["FULL", "MINIMAL"] {
        let shop = Shop::own(MysqlOptions {
            row_metadata,
            ..MysqlOptions::default()
        })
        .await;
        let evictd = shop.config().start().await;
        let alter = "ALTER TABLE users ADD COLUMN first BIGINT UNSIGNED NOT NULL DEFAULT 77 FIRST";
        let (before, after) = (
            "INSERT INTO users (id) VALUES (1)",
            "INSERT INTO users (first, id) VALUES (78, 2)",
        );
        let deleted = shop.deleted_by(&evictd, &keys, before).await;
        assert_eq!(deleted, ["user:1:v1"], "{row_metadata}");
        let deleted = shop
            .deleted_by(&evictd, &keys, &format!("{alter}; {after}"))
            .await;
        match row_metadata {
            "FULL" => assert_eq!(deleted, ["user:2:v1"]),
            // What was read before went by names that may have been those of after.
            _ => assert_eq!(deleted, keys),
        }

        // Read only when the columns are others already.
        let drop = "ALTER TABLE users DROP COLUMN first";
        shop.sql(&format!("{drop}; DELETE FROM users")).await;
        shop.done(&evictd).await;
        let at_once = format!("{before}; {alter}; {after}; DELETE FROM users WHERE id = 1");
        let deleted = shop.deleted_by(&evictd, &keys, &at_once).await;
        let expected = ["user:1:v1", "user:2:v1"];
        match row_metadata {
            "FULL" => assert_eq!(deleted, expected),
            // The first row may not be decodable any more, which widens.
            _ => assert!(
                expected
                    .iter()
                    .all(|key| deleted.iter().any(|gone| gone == key)),
                "{deleted:?}"
            ),
        }
        stop(evictd).await;
    }
}

/// The rows are read when their columns have other names already, and nothing in the binlog contradicts those.
#[tokio::test]
async fn columns_that_took_the_place_of_others_invalidate_what_was_read_with_their_names() {
    let shop = Shop::own(MysqlOptions {
        row_metadata: "MINIMAL",
        ..MysqlOptions::default()
    })
    .await;
    shop.sql("CREATE TABLE pairs (a INT, b INT)").await;
    let rule = r#"
[[rule]]
name   = "pairs"
tables = ["$db.pairs"]
keys   = ["pair:{b}"]
"#;
    let config = shop.config().rest(rule);
    let evictd = config.start().await;
    shop.done(&evictd).await;
    stop(evictd).await;
    let keys = ["pair:1", "pair:2"];
    shop.fill(&keys).await;
    shop.sql(
        "INSERT INTO pairs VALUES (1, 2);
         ALTER TABLE pairs DROP COLUMN a, ADD COLUMN c INT AFTER b",
    )
    .await;
    let evictd = config.start().await;
    // 1 is in the column that is called b by now; the row was about 2.
    shop.gone(&keys, &evictd).await;
    stop(evictd).await;
}

/// All of it can be told: none of it is about a table of a rule.
#[tokio::test]
async fn statements_about_other_tables_and_databases_delete_nothing() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = shop
        .config()
        .rest(&format!("{USERS}{ORDERS}"))
        .start()
        .await;
    for sql in [
        "CREATE DATABASE other; CREATE TABLE other.users (id INT); DROP DATABASE IF EXISTS other",
        "SET NAMES latin1; ALTER TABLE unrelated COMMENT 'größe'; SET NAMES utf8mb4",
        "SET NAMES latin1; ALTER TABLE unrelated COMMENT \"größe\", DROP note; SET NAMES utf8mb4",
        "SET NAMES latin1; TRUNCATE unrelated /* größe */; SET NAMES utf8mb4",
        "SET NAMES gbk; CREATE TABLE plain (id INT COMMENT 'ä'); DROP TABLE plain; SET NAMES utf8mb4",
        "CREATE VIEW `größen` AS SELECT * FROM unrelated; DROP VIEW `größen`",
        "CREATE USER 'größe'@'%'; DROP USER 'größe'@'%'",
    ] {
        assert_eq!(shop.deleted_by(&evictd, &KEYS, sql).await, [""; 0], "{sql}");
    }
    stop(evictd).await;
}

#[tokio::test]
async fn a_table_whose_name_a_client_wrote_in_its_own_character_set_is_known() {
    let shop = Shop::own(MysqlOptions::default()).await;
    // Of the bytes that a client sends as latin1 the server makes these names.
    let latin1 = |name: &str| -> String { name.bytes().map(char::from).collect() };
    let table = latin1("käse");
    shop.sql(&format!("CREATE TABLE `{table}` (id INT)")).await;
    let rule = format!(
        "[[rule]]\nname = \"cheese\"\ntables = [\"$db.{table}\"]\nkeys = [\"cheese:{{id}}\"]"
    );
    let evictd = shop.config().rest(&format!("{rule}{ORDERS}")).start().await;
    let keys = ["cheese:1", "order:404"];
    for sql in [
        "TRUNCATE `käse`",
        "ALTER TABLE `käse` DROP COLUMN x",
        "DROP TABLE `käse`",
    ] {
        shop.sql(&format!("ALTER TABLE `{table}` ADD COLUMN x INT"))
            .await;
        let sql = format!("SET NAMES latin1; {sql}; SET NAMES utf8mb4");
        assert_eq!(
            shop.deleted_by(&evictd, &keys, &sql).await,
            keys[..1],
            "{sql}"
        );
        if !sql.contains("DROP COLUMN") && !sql.contains("DROP TABLE") {
            shop.sql(&format!("ALTER TABLE `{table}` DROP COLUMN x"))
                .await;
        }
    }
    stop(evictd).await;
}

#[tokio::test]
async fn a_dropped_database_widens_the_rules_about_its_tables_and_no_others() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let items = "[[rule]]\nname = \"items\"\ntables = [\"tenant_*.items\"]\nkeys = [\"item:{id}\"]";
    shop.sql("CREATE DATABASE tenant_1; CREATE TABLE tenant_1.items (id INT PRIMARY KEY)")
        .await;
    let evictd = shop
        .config()
        .rest(&format!("{items}{ORDERS}"))
        .start()
        .await;
    let keys = ["item:1", "order:404"];
    assert_eq!(
        shop.deleted_by(&evictd, &keys, "DROP DATABASE tenant_1")
            .await,
        keys[..1]
    );
    stop(evictd).await;
}
