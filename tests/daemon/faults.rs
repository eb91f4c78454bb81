//! Outages: nothing is lost, and what comes back is used again.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::shop::{Shop, USERS, WITHIN, stop};
use crate::support::{Aws, Mysql, MysqlOptions, eventually};

/// The keys of `users`, cached, so that their leaving proves that every row was read.
async fn cached(shop: &Shop, users: std::ops::Range<u32>) {
    let keys: Vec<String> = users.map(|id| format!("user:{id}:profile")).collect();
    shop.fill(&keys).await;
}

/// Commits one transaction a user, at most `per_second` of them, in its own task. Waits out a server that is away.
pub(super) fn load(
    mysql: &Mysql,
    users: std::ops::Range<u32>,
    per_second: u32,
) -> tokio::task::JoinHandle<()> {
    let url = format!(
        "mysql://root@127.0.0.1:{}?prefer_socket=false",
        mysql.port()
    );
    tokio::spawn(async move {
        let opts = mysql_async::Opts::from_url(&url).unwrap();
        let mut conn = mysql_async::Conn::new(opts.clone()).await.unwrap();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
        for id in users {
            ticks.tick().await;
            let insert = format!("INSERT IGNORE INTO shop.users (id) VALUES ({id})");
            while conn.query_drop(&insert).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if let Ok(again) = mysql_async::Conn::new(opts.clone()).await {
                    conn = again;
                }
            }
        }
        conn.disconnect().await.unwrap();
    })
}

async fn own() -> Shop {
    Shop::own(MysqlOptions::default()).await
}

#[tokio::test]
async fn a_killed_daemon_loses_none_of_ten_thousand_transactions() {
    let shop = own().await;
    cached(&shop, 0..10_000).await;
    let mut evictd = shop.config().start().await;
    let load = load(shop.mysql(), 0..10_000, 4_000);
    for kill in 1..=4_u32 {
        // At points that differ from one another within the checkpoint's interval.
        tokio::time::sleep(Duration::from_millis(330 + 70 * u64::from(kill))).await;
        assert!(
            !load.is_finished(),
            "kill {kill} comes in the midst of them"
        );
        evictd.kill();
        evictd = shop.config().start().await;
    }
    load.await.unwrap();
    shop.empty(&evictd).await;
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

#[tokio::test]
async fn sigterm_finishes_what_was_read_and_the_next_start_repeats_none_of_it() {
    let shop = own().await;
    let evictd = shop.config().start().await;
    cached(&shop, 0..500).await;
    load(shop.mysql(), 0..500, 4_000).await.unwrap();
    shop.done(&evictd).await;
    stop(evictd).await;
    let stored = shop.checkpoint().unwrap();
    assert_eq!(
        stored["gtid_set"],
        shop.end().await.2.as_str(),
        "stored at its end"
    );
    cached(&shop, 0..500).await;
    let evictd = shop.config().start().await;
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await.len(), 500);
}

#[tokio::test]
async fn sigterm_ends_a_start_that_waits_for_mysql() {
    let mut shop = own().await;
    let config = shop.config();
    shop.mysql_mut().signal("STOP");
    let mut evictd = crate::support::Evictd::start(&config.options());
    tokio::time::sleep(Duration::from_millis(300)).await;
    evictd.terminate();
    let status = evictd.exit(Duration::from_secs(2)).await;
    assert!(status.success(), "{status}");
}

/// Nobody knows for how long MySQL is away: what was read must not stay cached until it is back.
#[tokio::test]
async fn what_was_read_before_mysql_went_away_is_deleted_without_it() {
    let mut shop = own().await;
    let evictd = shop.config().start().await;
    shop.sql("INSERT INTO users (id) VALUES (1), (2), (3)")
        .await;
    shop.done(&evictd).await;
    let keys = ["user:1:profile", "user:2:profile", "user:3:profile"];
    shop.fill(&keys).await;
    shop.redis.signal("STOP");
    // One batch is being deleted, one waits behind it, and one gathers.
    for id in 1..=3 {
        shop.sql(&format!("UPDATE users SET version = 2 WHERE id = {id}"))
            .await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    shop.mysql_mut().kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    shop.redis.signal("CONT");
    // The server cannot be asked any more whether the rows are visible.
    shop.gone(&keys, &evictd).await;
    shop.mysql_mut().start_again().await;
    shop.done(&evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn redis_may_be_away_for_ten_seconds_under_load() {
    let mut shop = own().await;
    let mut evictd = shop.config().source("heartbeat = \"1s\"").start().await;
    cached(&shop, 0..5_000).await;
    let load = load(shop.mysql(), 0..5_000, 500);
    tokio::time::sleep(Duration::from_millis(500)).await;
    shop.redis.kill();
    let file = shop.checkpoint_file();
    // What was under way when Redis died may still be stored.
    let mut stored = std::fs::read(&file).unwrap();
    eventually("nothing is under way any more", WITHIN, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = std::mem::replace(&mut stored, std::fs::read(&file).unwrap());
        (before == stored).then_some(())
    })
    .await;
    load.await.unwrap();
    assert_eq!(
        std::fs::read(&file).unwrap(),
        stored,
        "the checkpoint waits for the deletions"
    );
    shop.redis.start_again().await;
    shop.empty(&evictd).await;
    shop.checkpoint_at_end().await;
    evictd
        .wait_for_line("the cache answers again", WITHIN)
        .await;
    stop(evictd).await;
}

#[tokio::test]
async fn mysql_may_restart_and_even_be_killed_under_load() {
    let mut shop = own().await;
    let evictd = shop.config().start().await;
    cached(&shop, 0..3_000).await;
    let load = load(shop.mysql(), 0..3_000, 1_000);
    tokio::time::sleep(Duration::from_millis(500)).await;
    shop.mysql_mut().restart().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    shop.mysql_mut().kill();
    shop.mysql_mut().start_again().await;
    load.await.unwrap();
    shop.empty(&evictd).await;
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_redis_that_is_demoted_and_promoted_again_is_used_again() {
    let shop = own().await;
    let mut evictd = shop.config().start().await;
    let replicate = async |of: &[&str]| {
        let mut conn = shop.redis.conn().await;
        let _: () = redis::cmd("REPLICAOF")
            .arg(of)
            .query_async(&mut conn)
            .await
            .unwrap();
    };
    cached(&shop, 1..2).await;
    // Nobody listens there, so that it keeps its keys and answers READONLY.
    replicate(&["127.0.0.1", "1"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    evictd.wait_for_line("(read-only)", WITHIN).await;
    assert_eq!(shop.redis.keys().await, ["user:1:profile"]);
    replicate(&["NO", "ONE"]).await;
    shop.empty(&evictd).await;
    evictd
        .wait_for_line("the cache answers again", WITHIN)
        .await;
    shop.done(&evictd).await;
}

#[tokio::test]
async fn a_connection_that_goes_silent_is_noticed_after_three_heartbeats_and_replaced() {
    let mut shop = own().await;
    let mut evictd = shop.config().source("heartbeat = \"200ms\"").start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        !evictd
            .lines()
            .iter()
            .any(|line| line.contains("stream broke")),
        "an idle server is no dead one\n{}",
        evictd.tail()
    );
    shop.mysql_mut().signal("STOP");
    let line = evictd
        .wait_for_line("stream broke", Duration::from_secs(3))
        .await;
    assert!(line.contains("0.6 s, three heartbeats"), "{line}");
    shop.mysql_mut().signal("CONT");
    shop.done(&evictd).await;
    stop(evictd).await;
}

/// Keys go on being deleted while the buffer is away only as far as memory allows; the paths arrive later.
#[tokio::test]
async fn an_edge_and_queue_that_freeze_and_restart_get_every_path_afterwards() {
    let shop = own().await;
    let mut aws = Aws::start().await;
    let distribution = aws.create_distribution("shop").await;
    let queue = aws.create_queue("shop").await;
    let rest = format!(
        "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n[cloudfront]\nwindow = \"100ms\"\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"{distribution}\"\n{USERS}\npaths = [\"/users/{{id}}\"]"
    );
    let config = shop.config().rest(&rest);
    let options = config.options().envs(aws.env());
    let evictd = super::shop::start(&options).await;
    let load = load(shop.mysql(), 0..600, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    aws.signal("STOP");
    tokio::time::sleep(Duration::from_millis(700)).await;
    aws.signal("CONT");
    tokio::time::sleep(Duration::from_millis(300)).await;
    aws.stop().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let not_yet = shop.checkpoint().unwrap()["gtid_set"].to_string();
    aws.start_again().await;
    load.await.unwrap();
    shop.checkpoint_at_end().await;
    assert!(
        !not_yet.contains(&shop.end().await.2),
        "the checkpoint waits for the buffer"
    );
    let mut missing: Vec<String> = (0..600).map(|id| format!("/users/{id}")).collect();
    crate::support::eventually("every path is invalidated", WITHIN, async || {
        let sent: std::collections::HashSet<String> = aws
            .invalidated_paths(&distribution)
            .await
            .into_iter()
            .collect();
        missing.retain(|path| !sent.contains(path));
        missing.is_empty().then_some(())
    })
    .await;
    stop(evictd).await;
}

/// The server hands a damaged event on as it is; only the checksum tells.
#[tokio::test]
async fn a_damaged_event_invalidates_everything_that_rules_cover() {
    let shop = own().await;
    let evictd = shop.config().start().await;
    shop.done(&evictd).await;
    stop(evictd).await;

    let (file, ..) = shop.end().await;
    shop.sql("INSERT INTO users (id, name) VALUES (1, 'needle'); FLUSH BINARY LOGS")
        .await;
    let path = shop.mysql().data_dir().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = bytes.windows(6).position(|bytes| bytes == b"needle");
    bytes[needle.expect("the row is in the file")] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    shop.fill(&["user:1:profile", "user:9:profile", "elsewhere"])
        .await;
    let mut evictd = shop.config().start().await;
    shop.gone(&["user:1:profile", "user:9:profile"], &evictd)
        .await;
    evictd
        .wait_for_line("checksum does not match", WITHIN)
        .await;
    // What comes after it is read.
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, ["elsewhere"]);
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}
