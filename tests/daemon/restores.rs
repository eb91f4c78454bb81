//! A server that has another past than the one that was read, and gives the same numbers to other transactions.

use std::time::Duration;

use super::shop::{Shop, WITHIN, stop};
use crate::support::{Evictd, MysqlOptions};

const PROFILES: [&str; 3] = ["user:1:profile", "user:2:profile", "user:3:profile"];

async fn own(gtid: bool) -> Shop {
    let options = MysqlOptions {
        gtid,
        ..MysqlOptions::default()
    };
    Shop::own(options).await
}

async fn insert(shop: &Shop, ids: std::ops::Range<u32>) {
    for id in ids {
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
    }
}

/// Everything is invalidated, and what comes then is read.
async fn gapped(shop: &Shop, mut evictd: Evictd, reason: &str) {
    shop.gone(&PROFILES, &evictd).await;
    let line = evictd.wait_for_line("changes are lost", WITHIN).await;
    assert!(line.contains(reason), "{line}");
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, ["other"]);
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

/// Lets evictd read `lost`, puts the data back to what they were before, and lets the application write more than was
/// lost: by number of files, transactions and bytes.
async fn put_back(shop: &mut Shop, evictd: &mut Evictd, lost: &str, pauses: bool) {
    insert(shop, 1..2).await;
    shop.mysql_mut().stop().await;
    shop.mysql().copy_data();
    shop.mysql_mut().start_again().await;
    shop.sql(lost).await;
    shop.done(evictd).await;
    shop.checkpoint_passes_the_end(evictd).await;
    if pauses {
        evictd.signal("STOP");
    } else {
        evictd.terminate();
        evictd.exit(WITHIN).await;
    }
    shop.mysql_mut().stop().await;
    shop.mysql().put_back();
    shop.mysql_mut().start_again().await;
    for _ in 0..3 {
        for _ in 0..20 {
            shop.sql("INSERT INTO unrelated (note) VALUES (REPEAT('x', 100))")
                .await;
        }
        shop.sql("FLUSH BINARY LOGS").await;
    }
    shop.fill(&PROFILES).await;
    shop.fill(&["other"]).await;
}

const LOST: [&str; 2] = [
    "INSERT INTO users (id) VALUES (2)",
    "INSERT INTO users (id) VALUES (2); FLUSH BINARY LOGS; INSERT INTO users (id) VALUES (3)",
];

#[tokio::test]
async fn data_that_were_put_back_and_written_on_while_evictd_was_away_are_a_gap() {
    for (gtid, lost) in [(true, LOST[0]), (true, LOST[1]), (false, LOST[1])] {
        let mut shop = own(gtid).await;
        let mut evictd = shop.config().start().await;
        put_back(&mut shop, &mut evictd, lost, false).await;
        let evictd = shop.config().start().await;
        gapped(&shop, evictd, "another file of the same name").await;
    }
}

#[tokio::test]
async fn data_that_were_put_back_and_written_on_before_evictd_was_connected_again_are_a_gap() {
    for gtid in [true, false] {
        let mut shop = own(gtid).await;
        let mut evictd = shop.config().start().await;
        put_back(&mut shop, &mut evictd, LOST[1], true).await;
        evictd.signal("CONT");
        gapped(&shop, evictd, "another file of the same name").await;
    }
}

/// The transactions before the position have the same numbers as those that were read.
#[tokio::test]
async fn a_binlog_that_was_reset_while_evictd_was_away_is_a_gap_though_the_file_is_gone() {
    for gtid in [true, false] {
        let shop = own(gtid).await;
        let evictd = shop.config().start().await;
        shop.sql("FLUSH BINARY LOGS; FLUSH BINARY LOGS").await;
        insert(&shop, 1..4).await;
        shop.done(&evictd).await;
        let stored = shop.checkpoint_at_end().await;
        assert_eq!(stored["file"], "mysql-bin.000003");
        stop(evictd).await;
        shop.mysql().exec("RESET BINARY LOGS AND GTIDS").await;
        for _ in 0..30 {
            shop.sql("INSERT INTO unrelated (note) VALUES ('x')").await;
        }
        shop.fill(&PROFILES).await;
        shop.fill(&["other"]).await;
        let evictd = shop.config().start().await;
        gapped(&shop, evictd, "no such file").await;
    }
}

/// Nothing was read that would say which file it is.
#[tokio::test]
async fn the_first_position_knows_its_file_from_another_of_the_same_name() {
    for gtid in [true, false] {
        let shop = own(gtid).await;
        let evictd = shop.config().start().await;
        let stored = shop.checkpoint_at_end().await;
        assert!(stored["file_begun_s"].is_u64(), "{stored}");
        stop(evictd).await;
        // Times are in seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        shop.mysql().exec("RESET BINARY LOGS AND GTIDS").await;
        let offset = stored["offset"].as_u64().unwrap();
        while shop.end().await.1 < offset {
            shop.sql("INSERT INTO unrelated (note) VALUES ('x')").await;
        }
        insert(&shop, 1..30).await;
        shop.fill(&PROFILES).await;
        shop.fill(&["other"]).await;
        let evictd = shop.config().start().await;
        gapped(&shop, evictd, "another file of the same name").await;
    }
}

/// A server that is asked by GTIDs leaves their files out; asked by file and offset, it says that it cannot send them.
#[tokio::test]
async fn anonymous_transactions_before_gtids_were_switched_on_again_are_a_gap() {
    let shop = own(true).await;
    let evictd = shop.config().start().await;
    shop.done(&evictd).await;
    shop.checkpoint_at_end().await;
    stop(evictd).await;
    for mode in ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"] {
        shop.sql(&format!("SET GLOBAL gtid_mode = {mode}")).await;
    }
    insert(&shop, 1..4).await;
    for mode in ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"] {
        shop.sql(&format!("SET GLOBAL gtid_mode = {mode}")).await;
    }
    insert(&shop, 4..5).await;
    shop.fill(&PROFILES).await;
    shop.fill(&["other"]).await;
    let evictd = shop.config().start().await;
    gapped(&shop, evictd, "anonymous transaction").await;
}
