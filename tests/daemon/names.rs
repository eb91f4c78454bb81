//! Keys with a version whose name is in use again after the change: a late fill there is not harmless.

use std::time::Duration;

use super::shop::{Shop, stop};

/// Makes the change to rows that are long there, and fills `keys` once more after they are deleted, as a reader does
/// that read the old row before the commit and was slow since. They have to go again.
async fn a_late_fill_goes(rows: &str, change: &str, keys: &[&str]) {
    let shop = Shop::open().await;
    shop.sql(rows).await;
    let config = shop.config().redis("settle_after = \"2s\"");
    let evictd = config.start().await;
    shop.fill(keys).await;
    shop.sql(change).await;
    shop.gone(keys, &evictd).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    shop.fill(keys).await;
    shop.gone(keys, &evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_late_fill_of_a_row_that_was_deleted_and_inserted_under_its_version_is_deleted() {
    a_late_fill_goes(
        "INSERT INTO users (id, name) VALUES (7, 'old')",
        "BEGIN; DELETE FROM users WHERE id = 7; INSERT INTO users (id, name) VALUES (7, 'new'); COMMIT",
        &["user:7:v1"],
    )
    .await;
}

/// REPLACE is logged as an update, unless a foreign key refers to the table.
#[tokio::test]
async fn a_late_fill_of_a_row_that_is_replaced_where_a_foreign_key_refers_to_it_is_deleted() {
    a_late_fill_goes(
        "CREATE TABLE notes (user_id BIGINT UNSIGNED, FOREIGN KEY (user_id) REFERENCES users (id)); \
         INSERT INTO users (id, name) VALUES (7, 'old')",
        "REPLACE INTO users (id, name) VALUES (7, 'new')",
        &["user:7:v1"],
    )
    .await;
}

#[tokio::test]
async fn a_row_that_takes_the_name_of_another_leaves_nothing_under_either_name() {
    a_late_fill_goes(
        "INSERT INTO users (id, name) VALUES (7, 'seven')",
        "UPDATE users SET id = 8, version = 2 WHERE id = 7",
        &["user:7:v1", "user:8:v2"],
    )
    .await;
}
