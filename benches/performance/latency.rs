//! From a commit to the deletion of its key at two thousand commits a second, evictd and the smallest client side
//! by side: every commit has a key for each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::aio::PubSub;
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::daemon::{Daemon, single};
use crate::figure::{Figure, Table, Wanted};
use crate::plot::{Plot, Series};
use crate::smallest::{self, CommitTimes};
use crate::support::{Mysql, MysqlOptions};
use crate::workload::{fill_keys, redis};

const A_SECOND: u64 = 2_000;
const COMMITS: u64 = 20 * A_SECOND;
/// The first ones warm connections and caches up.
const WARM_UP: u64 = 2 * A_SECOND;
const WRITERS: u64 = 4;

const PERCENTILES: [f64; 5] = [50.0, 90.0, 95.0, 99.0, 99.9];

const RULE: &str =
    "\n[[rule]]\nname = \"turns\"\ntables = [\"bench.turns\"]\nkeys = [\"evictd:{id}\"]\n";

/// The clients, as their keys begin.
const CLIENTS: [&str; 2] = ["evictd", "smallest"];

pub async fn measure(table: &mut Table) -> Plot {
    table.section("Latency: from a commit to its key's deletion, at 2,000 commits a second");
    let mysql = Mysql::start(MysqlOptions::default()).await;
    mysql
        .exec(
            "CREATE DATABASE bench; CREATE TABLE bench.ends (id BIGINT PRIMARY KEY); \
             CREATE TABLE bench.turns (id BIGINT PRIMARY KEY, n INT NOT NULL)",
        )
        .await;
    let cache = redis(&["--notify-keyspace-events", "Eg"]).await;
    fill_keys(&cache, &CLIENTS, COMMITS, &[]);
    let committed: CommitTimes = zeros();
    smallest::spawn(mysql.port(), cache.port(), Arc::clone(&committed)).await;
    let daemon = Daemon::start(&mysql, &single(&cache), "current", RULE).await;
    let deleted = [zeros(), zeros()];
    let mut listener = cache.client().get_async_pubsub().await.unwrap();
    listener.subscribe("__keyevent@0__:del").await.unwrap();
    let listener = tokio::spawn(listen(listener, deleted.clone()));
    let took = commit(&mysql).await;
    let waited = tokio::time::timeout(Duration::from_secs(60), listener).await;
    waited
        .expect("every key is deleted")
        .expect("Redis says so");
    drop(daemon);

    let mut series = CLIENTS.map(Series::new);
    let mut of = [Vec::new(), Vec::new()];
    for (client, deleted) in deleted.iter().enumerate() {
        let mut all: Vec<u64> = (WARM_UP as usize..COMMITS as usize)
            .map(|id| {
                let at = |times: &CommitTimes| times[id].load(Ordering::Relaxed);
                at(deleted).saturating_sub(at(&committed))
            })
            .collect();
        all.sort_unstable();
        for percentile in PERCENTILES {
            let index = (all.len() as f64 * percentile / 100.0) as usize;
            let ms = all[index.min(all.len() - 1)] as f64 / 1e3;
            of[client].push(ms);
            series[client].add(percentile, ms);
        }
    }
    println!(
        "  {COMMITS} commits in {:.1} s, {:.0} a second",
        took.as_secs_f64(),
        COMMITS as f64 / took.as_secs_f64()
    );
    for (index, percentile) in PERCENTILES.into_iter().enumerate() {
        let (evictd, smallest) = (of[0][index], of[1][index]);
        let what = format!("p{percentile}");
        let figure = Figure::compared(what, evictd, "ms", "the smallest possible client", smallest);
        table.add(match percentile {
            50.0 => figure.wanting(Wanted::AtMost(1.3)),
            99.0 => figure.wanting(Wanted::AtMost(2.0)),
            _ => figure,
        });
    }
    Plot {
        file: "latency.svg",
        title: "From a commit to the deletion of its key, at 2,000 commits a second",
        x: "percentile",
        y: "milliseconds",
        logarithmic: true,
        series: series.into(),
    }
}

fn zeros() -> CommitTimes {
    Arc::new((0..COMMITS).map(|_| AtomicU64::new(0)).collect())
}

/// Notes when each key went, until all are gone.
async fn listen(listener: PubSub, deleted: [CommitTimes; 2]) {
    let mut deletions = listener.into_on_message();
    let mut left = 2 * COMMITS;
    while left > 0 {
        let deletion = deletions.next().await.expect("Redis runs");
        let key: String = deletion.get_payload().unwrap();
        let (client, id) = key.split_once(':').unwrap();
        let client = CLIENTS.iter().position(|known| *known == client).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let id: usize = id.parse().unwrap();
        deleted[client][id].store(now.as_micros() as u64, Ordering::Relaxed);
        left -= 1;
    }
}

/// Commits at an even pace, and says how long it took.
async fn commit(mysql: &Mysql) -> Duration {
    let begun = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| async move {
            let mut conn = mysql.conn().await;
            let insert = conn
                .prep("INSERT INTO bench.turns VALUES (?, 1)")
                .await
                .unwrap();
            for id in (writer..COMMITS).step_by(WRITERS as usize) {
                let due = Duration::from_secs_f64(id as f64 / A_SECOND as f64);
                tokio::time::sleep_until(begun + due).await;
                conn.exec_drop(&insert, (id,)).await.unwrap();
            }
        })
        .collect();
    futures_util::future::join_all(writers).await;
    begun.elapsed()
}
