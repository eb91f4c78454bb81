//! A server that leaves changes out of its binlog.

use super::shop::{Shop, WITHIN, stop};
use crate::support::{Evictd, MysqlOptions};

const PROFILES: [&str; 3] = ["user:1:profile", "user:2:profile", "user:3:profile"];

async fn own(arguments: &[&str]) -> Shop {
    Shop::own(MysqlOptions {
        extra: arguments.iter().map(|text| (*text).to_owned()).collect(),
        ..MysqlOptions::default()
    })
    .await
}

/// Everything is invalidated for this reason, and nothing else goes.
async fn gapped(shop: &Shop, evictd: &mut Evictd, reason: &str) {
    shop.gone(&PROFILES, evictd).await;
    assert_eq!(shop.redis.keys().await, ["other"]);
    evictd.wait_for_line(reason, WITHIN).await;
}

async fn fill(shop: &Shop) {
    shop.fill(&PROFILES).await;
    shop.fill(&["other"]).await;
}

const BECOMES_REPLICA: &str = "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1'";

#[tokio::test]
async fn a_server_that_leaves_mapped_tables_out_is_refused_at_the_start_and_by_check() {
    for (arguments, statement, words) in [
        (&["--binlog-ignore-db=shop"][..], "DO 1", "binlog-ignore-db"),
        (&["--binlog-do-db=blog"], "DO 1", "binlog-do-db"),
        (
            &["--log-replica-updates=OFF", "--skip-replica-start"],
            BECOMES_REPLICA,
            "log_replica_updates = OFF",
        ),
    ] {
        let shop = own(arguments).await;
        shop.mysql().exec(statement).await;
        let ended = shop.config().finish().await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(shop.checkpoint(), None);
        let check = Evictd::finish(&shop.config().options().args(&["check"]), WITHIN).await;
        let line = check.stdout.lines().find(|line| line.contains(words));
        assert!(
            line.is_some_and(|line| line.starts_with("error")),
            "{check:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_leaves_other_databases_out_is_read_with_a_warning() {
    let shop = own(&["--binlog-ignore-db=blog", "--binlog-ignore-db=logs"]).await;
    let mut evictd = shop.config().start().await;
    assert!(
        evictd
            .wait_for_line("the session's default database", WITHIN)
            .await
            .contains("WARN")
    );
    shop.done(&evictd).await;
    stop(evictd).await;
}

/// Whoever restarts it with the option, or without it again, leaves no trace in the binlog.
#[tokio::test]
async fn a_server_that_begins_and_ends_to_leave_a_database_out_is_a_gap_each_time() {
    for (argument, reason) in [
        ("--binlog-ignore-db=shop", "out of the binlog"),
        ("--skip-log-bin", "log_bin is OFF"),
    ] {
        let mut shop = own(&[]).await;
        let mut evictd = shop.config().start().await;
        shop.done(&evictd).await;
        fill(&shop).await;
        shop.mysql_mut().stop().await;
        shop.mysql_mut().start_with(argument).await;
        evictd.wait_for_line(reason, WITHIN).await;
        if argument != "--skip-log-bin" {
            gapped(&shop, &mut evictd, "changes are lost").await;
        }
        fill(&shop).await;
        shop.sql("REPLACE INTO users (id) VALUES (1)").await;
        shop.mysql_mut().restart().await;
        gapped(&shop, &mut evictd, "until now, ").await;
        shop.done(&evictd).await;
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_whose_changes_are_not_in_its_binlog_is_a_gap() {
    let shop = own(&["--log-replica-updates=OFF", "--skip-replica-start"]).await;
    let mut evictd = shop.config().start().await;
    shop.done(&evictd).await;
    for (statement, reason) in [
        (BECOMES_REPLICA, "changes are lost"),
        ("RESET REPLICA ALL", "until now, "),
    ] {
        fill(&shop).await;
        shop.mysql().exec(statement).await;
        gapped(&shop, &mut evictd, reason).await;
        shop.done(&evictd).await;
    }
    stop(evictd).await;
}
