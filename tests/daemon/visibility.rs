//! When keys are deleted: not before their rows can be read, and once more after a slow fill.

use std::time::Duration;

use redis::AsyncCommands;

use super::shop::{Shop, WITHIN, stop};
use crate::support::{Evictd, MysqlOptions, eventually};

/// How long a commit is held after it is in the binlog.
const HELD: Duration = Duration::from_secs(3);

/// Longer than a server may leave it open whether rows are visible.
const HELD_LONG: Duration = Duration::from_secs(14);

/// The source waits for a semi-synchronous replica that does not exist: commits are in the binlog, and every
/// asynchronous replica has them, but no session sees their rows until the wait is over.
async fn hold_commits(shop: &Shop, held: Duration) {
    let millis = held.as_millis();
    shop.mysql()
        .exec(format!(
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'; \
             SET GLOBAL rpl_semi_sync_source_timeout = {millis}; \
             SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'; \
             SET GLOBAL rpl_semi_sync_source_enabled = ON"
        ))
        .await;
}

/// Whether the change was visible when the key went.
async fn seen_when_gone(shop: &Shop, evictd: &Evictd, held: Duration) -> bool {
    shop.sql("INSERT INTO users (id, name) VALUES (7, 'old')")
        .await;
    shop.done(evictd).await;
    // What settles is deleted again before.
    shop.checkpoint_at_end().await;
    seen_while_held(shop, evictd, held).await
}

/// The same for a change of a user that is there.
async fn seen_while_held(shop: &Shop, evictd: &Evictd, held: Duration) -> bool {
    hold_commits(shop, held).await;
    shop.fill(&["user:7:profile"]).await;
    let change = shop.sql("UPDATE users SET name = 'new', version = 2 WHERE id = 7");
    let watch = async {
        shop.gone(&["user:7:profile"], evictd).await;
        let names: Vec<String> = shop
            .mysql()
            .rows(format!(
                "SELECT name FROM {}.users WHERE id = 7",
                shop.database
            ))
            .await;
        names == ["new"]
    };
    let ((), seen) = tokio::join!(change, watch);
    seen
}

#[tokio::test]
async fn a_key_goes_only_once_its_row_is_visible() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = shop.config().start().await;
    assert!(
        seen_when_gone(&shop, &evictd, HELD).await,
        "{}",
        evictd.tail()
    );
    stop(evictd).await;
}

/// Whoever reads meanwhile gets the old row and caches it.
#[tokio::test]
async fn a_row_that_becomes_visible_late_leaves_nothing_that_was_cached_meanwhile() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = settling(&shop, "5s").start().await;
    assert!(
        seen_when_gone(&shop, &evictd, HELD_LONG).await,
        "{}",
        evictd.tail()
    );
    // A slow reader of the old row: the commit itself is long past.
    shop.fill(&["user:7:profile"]).await;
    shop.gone(&["user:7:profile"], &evictd).await;
    stop(evictd).await;
}

/// Asking about the first batch of its keys tells about the others too, and the commit is long past by then.
#[tokio::test]
async fn a_huge_transaction_that_becomes_visible_late_settles_whole() {
    let shop = Shop::own(MysqlOptions::default()).await;
    shop.sql(
        "SET cte_max_recursion_depth = 20000; INSERT INTO users (id) \
         WITH RECURSIVE ids AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM ids WHERE id < 20000) SELECT id FROM ids",
    )
    .await;
    let evictd = settling(&shop, "2s").start().await;
    hold_commits(&shop, Duration::from_secs(10)).await;
    let keys = ["user:1:profile", "user:10000:profile", "user:20000:profile"];
    shop.fill(&keys).await;
    let change = shop.sql("UPDATE users SET name = 'new', version = 2");
    tokio::join!(change, shop.gone(&keys, &evictd));
    // Slow readers of the old rows.
    shop.fill(&keys).await;
    shop.gone(&keys, &evictd).await;
    stop(evictd).await;
}

/// The same without GTIDs, where nothing tells when a row is visible: the test above can fail.
#[tokio::test]
async fn without_gtids_a_key_can_go_before_its_row_is_visible() {
    let options = MysqlOptions {
        gtid: false,
        ..MysqlOptions::default()
    };
    let shop = Shop::own(options).await;
    let evictd = shop.config().start().await;
    assert!(
        !seen_when_gone(&shop, &evictd, HELD).await,
        "{}",
        evictd.tail()
    );
    stop(evictd).await;
}

fn settling(shop: &Shop, after: &str) -> super::shop::Config {
    shop.config().redis(&format!("settle_after = \"{after}\""))
}

async fn exists(shop: &Shop, key: &str) -> bool {
    shop.redis.conn().await.exists(key).await.unwrap()
}

#[tokio::test]
async fn a_late_fill_of_a_key_without_a_version_is_deleted_and_of_one_with_it_stays() {
    let shop = Shop::open().await;
    let evictd = settling(&shop, "2s").start().await;
    let keys = ["user:7:v1", "user:7:profile"];
    shop.sql("INSERT INTO users (id) VALUES (7)").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    shop.fill(&keys).await;
    shop.sql("UPDATE users SET name = 'new', version = 2 WHERE id = 7")
        .await;
    shop.gone(&keys, &evictd).await;
    // A reader that was slow since before the commit.
    shop.fill(&keys).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(exists(&shop, "user:7:profile").await, "it is not due yet");
    shop.gone(&["user:7:profile"], &evictd).await;
    assert!(
        exists(&shop, "user:7:v1").await,
        "nobody reads the old version"
    );
    stop(evictd).await;
}

#[tokio::test]
async fn the_position_waits_until_everything_before_it_is_settled() {
    let shop = Shop::open().await;
    let mut evictd = settling(&shop, "5s").start().await;
    shop.fill(&["user:7:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (7)").await;
    shop.gone(&["user:7:profile"], &evictd).await;
    let (_, end, _) = shop.end().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stored = shop.checkpoint().unwrap();
    assert!(stored["offset"].as_u64().unwrap() < end, "{stored}");
    // A crash repeats what was not settled, a late fill included.
    evictd.kill();
    shop.fill(&["user:7:profile"]).await;
    let evictd = settling(&shop, "5s").start().await;
    shop.gone(&["user:7:profile"], &evictd).await;
    eventually("the position goes on", WITHIN, async || {
        let stored = shop.checkpoint()?;
        (stored["offset"].as_u64()? >= end).then_some(())
    })
    .await;
    stop(evictd).await;
}

/// What the server executed before the start is visible; what is read from there on has a GTID to wait for.
#[tokio::test]
async fn a_start_in_the_midst_of_a_file_waits_for_rows_to_be_visible_too() {
    let shop = Shop::own(MysqlOptions::default()).await;
    shop.sql("INSERT INTO unrelated (note) VALUES ('before')")
        .await;
    let (file, offset, _) = shop.end().await;
    let config = shop
        .config()
        .source(&format!("start = \"{file}:{offset}\""));
    let evictd = config.start().await;
    shop.sql("INSERT INTO users (id, name) VALUES (7, 'old')")
        .await;
    shop.done(&evictd).await;
    assert!(
        seen_while_held(&shop, &evictd, HELD).await,
        "{}",
        evictd.tail()
    );
    let stored = shop.checkpoint_file();
    let stored = std::fs::read_to_string(stored).unwrap();
    assert!(
        stored.contains("\"gtid_set\": null"),
        "the set before is not known: {stored}"
    );
    stop(evictd).await;
}
