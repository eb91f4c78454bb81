//! Once writers pause and evictd is done: every entry against its row, every path against the edge.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::sync::RwLockWriteGuard;

use super::clients::Cache;
use super::probes::{Due, Probes};
use super::refused;
use super::shapes::{Row, Shape, now_us};
use super::traffic::{Happened, Traffic, What, count};
use super::world::World;

/// For evictd to come to the server's end. No measure of evictd: a machine that does much else at the same time is
/// slow.
const QUIET_WITHIN: Duration = Duration::from_secs(180);

/// For the edge to have heard of it all after that. After a kill it takes longest: messages come back after six
/// seconds, and a list that may be late is looked at for eleven, once for a round and once for what may be refused.
/// What CloudFront refuses may delay nothing else.
const EDGE_WITHIN: Duration = Duration::from_secs(90);

const POLL_EVERY: Duration = Duration::from_millis(20);

/// What must not be.
#[derive(Debug, Default)]
pub struct Findings {
    pub stale: Vec<Stale>,
    /// Paths whose content changed, and of which the edge did not hear afterwards.
    pub unsent: Vec<String>,
    /// Paths of which the edge heard while their keys were still there.
    pub too_early: Vec<String>,
    /// What evictd gave up though nobody refused it.
    pub buried: Vec<String>,
    /// When everything that had changed was in the buffer, in µs since the epoch.
    pub buffered_us: u64,
    /// How long the edge took to hear of everything that was in the buffer.
    pub edge_took: Duration,
}

impl Findings {
    pub fn none(&self) -> bool {
        let paths = [&self.unsent, &self.too_early, &self.buried];
        self.stale.is_empty() && paths.into_iter().all(Vec::is_empty)
    }
}

/// An entry that says something else than its row.
#[derive(Debug)]
pub struct Stale {
    pub key: String,
    pub entry: String,
    pub row: Option<Row>,
    pub history: Vec<Happened>,
}

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |row: &Option<Row>| Shape::entry(row.as_ref());
        let row = text(&self.row);
        writeln!(
            f,
            "STALE {}: {:?}, but the row is {row:?}",
            self.key, self.entry
        )?;
        let first = self.history.first().map_or(0, |happened| happened.at_us);
        for Happened { at_us, what } in &self.history {
            let at = |us: &u64| us.saturating_sub(first) as f64 / 1e3;
            let begun = at(at_us);
            match what {
                What::Committed { row, returned_us } => writeln!(
                    f,
                    "  {begun:>10.3} ms to {:>10.3}: committed {:?}",
                    at(returned_us),
                    text(row)
                )?,
                What::Filled {
                    reader,
                    row,
                    filled_us,
                    stored,
                } => writeln!(
                    f,
                    "  {begun:>10.3} ms to {:>10.3}: reader {reader} read and {} {:?}",
                    at(filled_us),
                    if *stored { "stored" } else { "was refused" },
                    text(row)
                )?,
            }
        }
        write!(f, "  (0 is {first} µs since the epoch)")
    }
}

/// Waits until evictd is done while the writers pause, compares, and lets them go on.
pub async fn verify(
    world: &mut World,
    traffic: &Traffic,
    probes: &Probes,
    _writers_pause: RwLockWriteGuard<'_, ()>,
) -> Findings {
    at_end(world).await;
    let _readers_pause = traffic.reading.write().await;
    let (asked, buffered_us) = (Instant::now(), now_us());
    let unsent = unsent(world, traffic, probes).await;
    Findings {
        unsent,
        buffered_us,
        edge_took: asked.elapsed(),
        stale: compare(world, traffic).await,
        too_early: probes.too_early(),
        buried: refused::letters(&world.disk.path()).good,
    }
}

/// Waits until the checkpoint is at the server's end: everything is deleted, settled and accepted by the queue.
async fn at_end(world: &mut World) {
    let rows: Vec<(String, u64, String, String, String)> =
        world.mysql.rows("SHOW BINARY LOG STATUS").await;
    let (file, offset, _, _, gtids) = rows.into_iter().next().expect("one row");
    let gtids = gtids.replace('\n', "");
    let deadline = Instant::now() + QUIET_WITHIN;
    loop {
        let stored = world.stored();
        if stored["file"] == file.as_str()
            && stored["offset"] == offset
            && stored["gtid_set"].as_str().unwrap_or_default() == gtids
        {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "evictd is at {stored} and not at {file}:{offset} {gtids} after {QUIET_WITHIN:?}\n{}",
            world.evictd().tail()
        );
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Waits until the edge has heard of every change after it had settled, and returns what it has not heard of.
async fn unsent(world: &World, traffic: &Traffic, probes: &Probes) -> Vec<String> {
    let settle_us = u64::try_from(world.settles().as_micros()).unwrap();
    let plain = traffic.last_commits(Shape::Plain).into_iter();
    let plain = plain.map(|(id, committed_us)| Due {
        path: format!("/plain/{id}"),
        since: committed_us + settle_us,
        in_wildcard_since: committed_us + settle_us,
    });
    let mut due: Vec<Due> = plain.chain(probes.due(settle_us)).collect();
    let deadline = Instant::now() + EDGE_WITHIN;
    loop {
        probes.retain_unsent(&mut due);
        if due.is_empty() || Instant::now() > deadline {
            return due.into_iter().map(|due| due.path).collect();
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

async fn compare(world: &World, traffic: &Traffic) -> Vec<Stale> {
    let mut rows: HashMap<(Shape, u64), Row> = HashMap::new();
    let mut conn = world.mysql.conn().await;
    for shape in Shape::ALL {
        let sql = format!("SELECT id, version, content FROM soak.{}", shape.table());
        let all: Vec<(u64, u64, String)> = conn.query(sql).await.unwrap();
        rows.extend(
            all.into_iter()
                .map(|(id, version, content)| ((shape, id), Row { version, content })),
        );
    }
    conn.disconnect().await.unwrap();

    let mut cache = Cache::new(&world.redis.address());
    let mut keys: Vec<String> = Vec::new();
    for pattern in ["plain:*", "versioned:*", "{guarded:*", "probe:*"] {
        let found: Vec<String> = cache.insist(redis::cmd("KEYS").arg(pattern)).await;
        keys.extend(found);
    }
    let mut stale = Vec::new();
    for chunk in keys.chunks(1_000) {
        let entries: Vec<Option<String>> = cache.insist(redis::cmd("MGET").arg(chunk)).await;
        for (key, entry) in chunk.iter().zip(entries) {
            let Some(entry) = entry else { continue };
            let Some((shape, id)) = Shape::of_key(key) else {
                // Every probe's row is there, and its entry says that it is not.
                if key.starts_with("probe:") {
                    stale.push(Stale {
                        key: key.clone(),
                        entry,
                        row: Some(Row {
                            version: 1,
                            content: "of a probe".to_owned(),
                        }),
                        history: Vec::new(),
                    });
                }
                continue;
            };
            count(&traffic.counts.compared);
            let row = rows.get(&(shape, id));
            if shape.is_stale(key, &entry, row) {
                stale.push(Stale {
                    key: key.clone(),
                    entry,
                    row: row.cloned(),
                    history: traffic.history(shape, id),
                });
            }
        }
    }
    stale
}
