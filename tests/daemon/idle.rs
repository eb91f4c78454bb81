//! While nothing changes, evictd does nothing.

use std::time::Duration;

use super::shop::{Shop, USERS, stop};
use crate::support::MysqlOptions;

/// Heartbeats come every ten seconds, and nothing of the pipeline has a timer once everything is done. One that
/// ticks twenty times a second wakes its thread a hundred times.
const WATCHED: Duration = Duration::from_secs(5);
const WOKEN_MAX: u64 = 40;

/// How often the process's threads have gone to sleep so far.
fn sleeps(pid: u32) -> u64 {
    let mut sleeps = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status =
            std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps += line.map_or(0, |count| count.trim().parse::<u64>().unwrap());
    }
    sleeps
}

#[tokio::test]
async fn an_idle_daemon_is_not_woken() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = shop.config().rest(USERS).start().await;
    shop.done(&evictd).await;
    // Keys are deleted again, and the last position is stored.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = sleeps(evictd.pid());
    tokio::time::sleep(WATCHED).await;
    let woken = sleeps(evictd.pid()) - before;
    assert!(woken < WOKEN_MAX, "woken {woken} times");
    stop(evictd).await;
}
