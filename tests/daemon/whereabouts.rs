//! Another server behind the address, while the one that is read lives on.

use super::leader::{leads, stand_by};
use super::shop::{Config, Shop, USERS, WITHIN, has_no_gap, stop};
use crate::support::{Cut, Evictd, Finished, Mysql, MysqlOptions, Relay, eventually, free_port};

const PROFILES: [&str; 3] = ["user:1:profile", "user:2:profile", "user:3:profile"];

fn options(gtid: bool) -> MysqlOptions {
    MysqlOptions {
        gtid,
        ..MysqlOptions::default()
    }
}

/// A shop whose evictd reaches its server through a relay, and a server with the same tables.
async fn with_successor(gtid: bool) -> (Shop, Mysql, Relay, Config) {
    let shop = Shop::own(options(gtid)).await;
    let successor = Mysql::start(options(gtid)).await;
    let tables: Vec<(String, String)> = shop.mysql().rows("SHOW CREATE TABLE shop.users").await;
    let marks: Vec<(String, String)> = shop.mysql().rows("SHOW CREATE TABLE shop.marks").await;
    successor
        .exec(format!(
            "SET sql_log_bin = 0; CREATE DATABASE shop; USE shop; {}; {}; SET sql_log_bin = 1",
            tables[0].1, marks[0].1
        ))
        .await;
    let relay = Relay::to(shop.mysql().port()).await;
    let mut config = shop.config();
    config.source_url = format!("mysql://evictd@127.0.0.1:{}", relay.port());
    (shop, successor, relay, config)
}

async fn uuid(mysql: &Mysql) -> String {
    let rows: Vec<String> = mysql.rows("SELECT @@server_uuid").await;
    rows[0].clone()
}

/// As by DNS or a virtual IP: what is connected stays connected.
#[tokio::test]
async fn a_switch_over_that_leaves_the_old_server_alive_is_a_gap_without_gtids() {
    let (shop, successor, relay, config) = with_successor(false).await;
    let mut evictd = config.start().await;
    shop.done(&evictd).await;
    shop.fill(&PROFILES).await;
    shop.fill(&["other"]).await;
    shop.mysql().exec("SET GLOBAL super_read_only = ON").await;
    relay.lead_to(successor.port());
    successor
        .exec("INSERT INTO shop.users (id) VALUES (1)")
        .await;
    shop.gone(&PROFILES, &evictd).await;
    let line = evictd.wait_for_line("another server by now", WITHIN).await;
    assert!(line.contains(&uuid(&successor).await), "{line}");
    shop.fill(&PROFILES[..2]).await;
    successor
        .exec("INSERT INTO shop.users (id) VALUES (2)")
        .await;
    shop.gone(&PROFILES[1..2], &evictd).await;
    assert_eq!(shop.redis.keys().await, ["other", PROFILES[0]]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_switch_over_that_leaves_the_old_server_alive_is_followed_by_gtid() {
    let (shop, successor, relay, config) = with_successor(true).await;
    let mut evictd = config.start().await;
    shop.done(&evictd).await;
    let executed = shop.checkpoint_at_end().await["gtid_set"].clone();
    successor
        .exec(format!("SET GLOBAL gtid_purged = {executed}"))
        .await;
    shop.fill(&PROFILES).await;
    shop.fill(&["other"]).await;
    shop.mysql().exec("SET GLOBAL super_read_only = ON").await;
    relay.lead_to(successor.port());
    successor.exec("CREATE DATABASE unmapped").await;
    let found = uuid(&successor).await;
    eventually("the successor is read", WITHIN, async || {
        let stored = shop.checkpoint()?;
        (stored["server_uuid"] == found.as_str()).then_some(())
    })
    .await;
    // The successor may lack what the old server showed.
    evictd.wait_for_line("another server is read", WITHIN).await;
    shop.gone(&PROFILES, &evictd).await;
    assert_eq!(shop.redis.keys().await, ["other"]);
    has_no_gap(&evictd);
    stop(evictd).await;
}

/// Neither the leader's lock nor the place in its queue stays behind at the old server.
#[tokio::test]
async fn after_a_switch_over_that_leaves_the_old_server_alive_one_leads_and_others_stand_by() {
    for read_only in [true, false] {
        let (shop, successor, relay, config) = with_successor(true).await;
        let leader = config.start().await;
        shop.done(&leader).await;
        let standby = stand_by(&config).await;
        let executed = shop.checkpoint_at_end().await["gtid_set"].clone();
        successor
            .exec(format!("SET GLOBAL gtid_purged = {executed}"))
            .await;
        if read_only {
            shop.mysql().exec("SET GLOBAL super_read_only = ON").await;
        }
        relay.lead_to(successor.port());
        let lock = format!(
            "SELECT IS_USED_LOCK('evictd:{}') IS NOT NULL, \
             (SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock')",
            shop.database
        );
        // Two looks, ten seconds apart, each once the wait before it is over.
        eventually(
            "the lock and the queue for it are there",
            2 * WITHIN,
            async || {
                let there: Vec<(bool, u64)> = successor.rows(lock.clone()).await;
                (there == [(true, 1)]).then_some(())
            },
        )
        .await;
        // Whoever has the lock by now reads the successor, and the other one has stepped back.
        successor.exec("CREATE DATABASE unmapped").await;
        let found = uuid(&successor).await;
        eventually("the successor is read", WITHIN, async || {
            let stored = shop.checkpoint()?;
            (stored["server_uuid"] == found.as_str()).then_some(())
        })
        .await;
        let third = stand_by(&config).await;
        // Whoever led, one of the two goes on, and the other one is there when it ends.
        assert_eq!(leads(&third), 0, "read-only: {read_only}");
        for evictd in [third, standby, leader] {
            stop(evictd).await;
        }
    }
}

/// Each connection is the server's that the address led to when it was made.
#[tokio::test]
async fn a_binlog_of_another_server_than_the_one_that_was_asked_is_not_read() {
    let (shop, other, relay, config) = with_successor(true).await;
    let mut evictd = config.start().await;
    shop.done(&evictd).await;
    shop.fill(&PROFILES).await;
    // First the server is asked whether it has the position, then it is to send its binlog.
    relay.lead_in_turn(&[shop.mysql().port(), other.port()]);
    relay.cut(Cut::Dumps);
    let line = evictd.wait_for_line("sends its binlog", WITHIN).await;
    for server in [shop.mysql(), &other] {
        assert!(line.contains(&uuid(server).await), "{line}");
    }
    relay.lead_to(shop.mysql().port());
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.gone(&PROFILES[..1], &evictd).await;
    assert_eq!(shop.redis.keys().await, PROFILES[1..]);
    has_no_gap(&evictd);
    stop(evictd).await;
}

async fn command(config: &Config, args: &[&str]) -> Finished {
    Evictd::finish(&config.options().args(args), WITHIN).await
}

#[tokio::test]
async fn a_server_that_nobody_can_write_to_any_more_is_trouble() {
    let shop = Shop::own(options(true)).await;
    let listen = format!("[metrics]\nlisten = \"127.0.0.1:{}\"\n{USERS}", free_port());
    let config = shop.config().rest(&listen);
    let mut evictd = config.start().await;
    shop.mysql().exec("SET GLOBAL super_read_only = ON").await;
    evictd
        .wait_for_line("read-only and not a replica", WITHIN)
        .await;
    let status = command(&config, &["status"]).await;
    for words in ["TROUBLE", "address", "read-only and not a replica"] {
        assert!(status.stdout.contains(words), "{words}: {status:?}");
    }
    let check = command(&config, &["check"]).await;
    assert!(
        check.stdout.contains("read-only and not a replica"),
        "{check:?}"
    );
    shop.mysql()
        .exec("SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF")
        .await;
    evictd.wait_for_line("as it should be again", WITHIN).await;
    let status = command(&config, &["status"]).await;
    assert!(!status.stdout.contains("TROUBLE"), "{status:?}");
    shop.done(&evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_replica_as_the_source_is_only_named() {
    let shop = Shop::own(options(true)).await;
    shop.mysql()
        .exec("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1'; SET GLOBAL super_read_only = ON")
        .await;
    let check = command(&shop.config(), &["check"]).await;
    let line = check.stdout.lines().find(|line| line.contains("read-only"));
    assert!(
        line.is_some_and(|line| line.starts_with("note")),
        "{check:?}"
    );
}
