//! The smallest client that could do evictd's work for one table: a stream, a barrier, one UNLINK. What evictd
//! takes from a commit to the deletion is measured against it, side by side, one commit after another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use mysql_async::binlog::events::EventData;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use redis::AsyncCommands;

use super::buffer::BufferKind;
use super::clients::{Database, Endpoint};
use super::shapes::now_us;
use super::spy::{first_columns, stream};
use super::store::Layout;
use super::world::{Protection, World};

const SERVER_ID: u32 = 779;

/// Commits for each of the two; a few more before them warm connections and caches up.
const COMMITS: u64 = 400;
const WARM_UP: u64 = 20;

/// Between two commits, for both to be idle.
const BETWEEN: Duration = Duration::from_millis(3);

/// How much slower evictd may be.
const FACTOR_MAX: f64 = 1.5;

/// When each row of either table was committed, as the binlog says.
type CommitTimes = Arc<Mutex<HashMap<(String, u64), u64>>>;

/// Deletes `smallest:ID` for every row of `soak.smallest`, once the row is visible.
async fn smallest(mysql: u16, redis: u16, times: CommitTimes) {
    let url = format!("mysql://root@127.0.0.1:{mysql}?prefer_socket=false");
    let mut barrier = Conn::new(Opts::from_url(&url).unwrap()).await.unwrap();
    let client = redis::Client::open(format!("redis://127.0.0.1:{redis}/0")).unwrap();
    let mut cache = client.get_multiplexed_async_connection().await.unwrap();
    let mut stream = stream(mysql, SERVER_ID).await.unwrap();
    let mut committed_us = 0;
    let mut gtid = String::new();
    let mut key = None;
    while let Some(event) = stream.next().await {
        match event.unwrap().read_data().unwrap() {
            Some(EventData::GtidEvent(event)) => {
                committed_us = event.immediate_commit_timestamp();
                let hex: String = event
                    .sid()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
                let uuid = parts.join("-");
                gtid = format!("{uuid}:{}", event.gno());
            }
            Some(EventData::RowsEvent(rows)) => {
                let Some(map) = stream.get_tme(rows.table_id()) else {
                    continue;
                };
                let table = map.table_name().into_owned();
                let [(id, _)] = first_columns(&rows, map)[..] else {
                    continue;
                };
                if table == "smallest" {
                    key = Some(format!("smallest:{id}"));
                }
                times.lock().unwrap().insert((table, id), committed_us);
            }
            Some(EventData::XidEvent(_)) => {
                let Some(key) = key.take() else { continue };
                let visible: Option<i64> = barrier
                    .exec_first("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 5)", (&gtid,))
                    .await
                    .unwrap();
                assert_eq!(visible, Some(0));
                let _: u64 = cache.unlink(key).await.unwrap();
            }
            _ => {}
        }
    }
}

/// Medians in µs.
#[derive(Clone, Copy, Debug)]
pub struct Medians {
    pub evictd: u64,
    pub smallest: u64,
}

impl Medians {
    pub fn factor(self) -> f64 {
        self.evictd as f64 / self.smallest as f64
    }

    pub fn good_enough(self) -> bool {
        self.factor() <= FACTOR_MAX
    }
}

impl std::fmt::Display for Medians {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "soak: commit to deletion side by side, median of {COMMITS} single commits: evictd {:.3} ms, the smallest client {:.3} ms, factor {:.2} (at most {FACTOR_MAX})",
            self.evictd as f64 / 1e3,
            self.smallest as f64 / 1e3,
            self.factor(),
        )
    }
}

/// The rule that gives evictd a table of its own.
pub const RULE: &str = r#"
[[rule]]
name   = "turns"
tables = ["soak.turns"]
keys   = ["turns:{id}"]
"#;

pub async fn side_by_side() -> Medians {
    let mut world = World::start(
        Protection::On,
        super::SETTLE_AFTER,
        Layout::Single,
        BufferKind::Sqs,
    )
    .await;
    world
        .mysql
        .exec(
            "SET GLOBAL binlog_group_commit_sync_delay = 0; USE soak; \
             CREATE TABLE turns LIKE probes; CREATE TABLE smallest LIKE probes",
        )
        .await;
    let (mysql, redis) = (world.mysql.port(), world.redis.port());
    let times = CommitTimes::default();
    let client = tokio::spawn(smallest(mysql, redis, Arc::clone(&times)));
    world.begin_alone(RULE).await;

    let listener = redis::Client::open(world.redis.single().url()).unwrap();
    let mut listener = listener.get_async_pubsub().await.unwrap();
    listener.subscribe("__keyevent@0__:del").await.unwrap();
    let mut deletions = listener.into_on_message();
    let mut database = Database::new(&Endpoint::new(mysql));
    let mut cache = world.redis.single().conn().await;
    let mut deleted: HashMap<(String, u64), u64> = HashMap::new();
    for id in 0..WARM_UP + COMMITS {
        for table in ["turns", "smallest"] {
            let key = format!("{table}:{id}");
            let _: () = cache.set(&key, "absent").await.unwrap();
            let insert = format!("INSERT INTO {table} VALUES ({id}, 1)");
            database.run(&insert).await.unwrap();
            let deletion = tokio::time::timeout(Duration::from_secs(30), deletions.next());
            let deletion = deletion.await.expect("the key goes").expect("Redis runs");
            let at = now_us();
            assert_eq!(deletion.get_payload::<String>().unwrap(), key);
            deleted.insert((table.to_owned(), id), at);
            tokio::time::sleep(BETWEEN).await;
        }
    }
    let times = times.lock().unwrap().clone();
    let median = |table: &str| {
        let mut all: Vec<u64> = (WARM_UP..WARM_UP + COMMITS)
            .map(|id| (table.to_owned(), id))
            .map(|turn| deleted[&turn].saturating_sub(times[&turn]))
            .collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let medians = Medians {
        evictd: median("turns"),
        smallest: median("smallest"),
    };
    client.abort();
    world.stop_evictd().await;
    medians
}
