//! Foreign keys whose effect on the child rows is in no event.

use super::shop::{Shop, USERS, WITHIN, stop};
use crate::support::MysqlOptions;

/// InnoDB carries the cascade out by itself, as every server before 9.6 does.
fn native() -> MysqlOptions {
    MysqlOptions {
        extra: vec!["--innodb-native-foreign-keys=ON".to_owned()],
        ..MysqlOptions::default()
    }
}

const SCHEMA: &str = "CREATE TABLE posts (id INT PRIMARY KEY, author BIGINT UNSIGNED,
    FOREIGN KEY (author) REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE);
    INSERT INTO users (id) VALUES (1), (2); INSERT INTO posts VALUES (10, 1), (20, 2)";

const KEYS: [&str; 6] = [
    "post:10",
    "post:20",
    "author:1:posts",
    "author:2:posts",
    "user:1:profile",
    "user:2:profile",
];

fn posts(more: &str) -> String {
    format!(
        "{USERS}\n[[rule]]\nname = \"posts\"\ntables = [\"$db.posts\"]\nkeys = [\"post:{{id}}\", \"author:{{author}}:posts\"]\n{more}"
    )
}

#[tokio::test]
async fn a_parents_delete_widens_the_childs_rule_and_is_announced_at_the_start() {
    let shop = Shop::own(native()).await;
    shop.sql(SCHEMA).await;
    let mut evictd = shop.config().rest(&posts("")).start().await;
    evictd
        .wait_for_line("a foreign key changes rows of the child", WITHIN)
        .await;
    let deleted = shop
        .deleted_by(&evictd, &KEYS, "DELETE FROM users WHERE id = 1")
        .await;
    assert_eq!(
        deleted,
        [
            "post:10",
            "post:20",
            "author:1:posts",
            "author:2:posts",
            "user:1:profile"
        ]
    );
    let deleted = shop
        .deleted_by(
            &evictd,
            &KEYS,
            "UPDATE users SET name = 'Ada', version = 2 WHERE id = 2",
        )
        .await;
    assert_eq!(deleted, ["user:2:profile"], "the referenced column stayed");
    stop(evictd).await;
}

#[tokio::test]
async fn a_declared_cascade_deletes_what_the_parents_row_renders() {
    let shop = Shop::own(native()).await;
    shop.sql(SCHEMA).await;
    let declared = "cascade_from = [{ table = \"$db.users\", keys = [\"author:{id}:posts\"] }]";
    let evictd = shop.config().rest(&posts(declared)).start().await;
    let deleted = shop
        .deleted_by(&evictd, &KEYS, "DELETE FROM users WHERE id = 1")
        .await;
    assert_eq!(deleted, ["author:1:posts", "user:1:profile"]);
    let deleted = shop
        .deleted_by(&evictd, &KEYS, "UPDATE users SET id = 3 WHERE id = 2")
        .await;
    assert_eq!(deleted, ["author:2:posts", "user:2:profile"]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_server_that_logs_cascades_needs_no_widening() {
    let shop = Shop::open().await;
    shop.sql(SCHEMA).await;
    let evictd = shop.config().rest(&posts("")).start().await;
    let deleted = shop
        .deleted_by(&evictd, &KEYS, "DELETE FROM users WHERE id = 1")
        .await;
    assert_eq!(deleted, ["post:10", "author:1:posts", "user:1:profile"]);
    stop(evictd).await;
}
