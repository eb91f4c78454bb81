//! Cache-aside readers: they look into the cache, and where it has nothing they read the row and fill it.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clients::{Cache, Database, Failed};
use super::shapes::{Shape, now_us};
use super::traffic::{Traffic, What, count};

/// Fills within the deadline that Redis itself checks: what readers of entries without a guard promise. A slow
/// machine thus makes no reader break its promise.
pub const FILL_IN_TIME: &str = "
    local now = redis.call('TIME')
    if now[1] * 1000000 + now[2] > tonumber(ARGV[2]) then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
    return 1";

/// The script that evictd ships.
const GUARDED_FILL: &str = include_str!("../../lua/fill.lua");

/// How a reader goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Prompt,
    /// Up to as long as it may between reading and filling.
    Pausing,
}

/// Most entries outlive a run. Others expire soon, so that at any time there are some to fill.
pub const ENTRY_TTL: Duration = Duration::from_secs(3_600);
const ENTRY_TTL_SHORT: std::ops::Range<u64> = 50..1_000;
const GUARD_TTL: Duration = Duration::from_secs(86_400);

/// Guards allow fills that are as late as one likes: this many times as late as others.
const LATE: u32 = 4;

/// No fill comes later than this after its read began.
pub const LATEST_FILL: Duration = Duration::from_millis(2_400);

/// After a hit there is nothing to do for a while.
const AFTER_HIT: Duration = Duration::from_millis(1);

pub struct Reader {
    pub traffic: Arc<Traffic>,
    pub number: usize,
    pub shape: Shape,
    pub manner: Manner,
    pub database: Database,
    pub cache: Cache,
    /// How long after the beginning of a read its fill must be over.
    pub fill_within: Duration,
}

impl Reader {
    pub async fn run(mut self) {
        let traffic = Arc::clone(&self.traffic);
        let seed = traffic.seed ^ (0x5EAD_0000 + self.number as u64);
        let mut random = StdRng::seed_from_u64(seed);
        while let Some(_leave) = traffic.may_read().await {
            let id = traffic.hot(random.random());
            let pause = match self.manner {
                Manner::Prompt => Duration::ZERO,
                Manner::Pausing => self.longest_pause().mul_f64(random.random()),
            };
            let ttl = if random.random_ratio(1, 3) {
                Duration::from_millis(random.random_range(ENTRY_TTL_SHORT))
            } else {
                ENTRY_TTL
            };
            match self.read(id, pause, ttl).await {
                Ok(true) => {
                    count(&traffic.counts.hits);
                    tokio::time::sleep(AFTER_HIT).await;
                }
                Ok(false) => {}
                Err(Failed) => {
                    count(&traffic.counts.reader_errors);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn longest_pause(&self) -> Duration {
        match self.shape {
            Shape::Guarded => self.fill_within * LATE,
            Shape::Plain | Shape::Versioned => self.fill_within,
        }
    }

    /// Whether the cache had it.
    async fn read(&mut self, id: u64, pause: Duration, ttl: Duration) -> Result<bool, Failed> {
        let version = match self.shape {
            Shape::Versioned => match self.database.version(self.shape, id).await? {
                Some(version) => version,
                // Nothing to look for.
                None => return Ok(true),
            },
            Shape::Plain | Shape::Guarded => 0,
        };
        let mut get = redis::cmd("GET");
        get.arg(self.shape.key(id, version));
        if self.cache.run::<Option<String>>(&get).await?.is_some() {
            return Ok(true);
        }
        let read_us = now_us();
        let row = self.database.row(self.shape, id).await?;
        tokio::time::sleep(pause).await;
        let version = match (&row, self.shape) {
            (Some(row), _) => row.version,
            (None, Shape::Plain) => 0,
            (None, Shape::Versioned | Shape::Guarded) => return Ok(true),
        };
        let key = self.shape.key(id, version);
        let entry = Shape::entry(row.as_ref());
        let fill = match self.shape {
            Shape::Guarded => guarded_fill(id, version, &key, &entry, ttl),
            Shape::Plain | Shape::Versioned => {
                fill_in_time(&key, &entry, read_us, self.fill_within, ttl)
            }
        };
        let stored: Result<bool, Failed> = self.cache.run(&fill).await;
        let counts = &self.traffic.counts;
        count(match stored {
            Ok(true) => &counts.fills,
            Ok(false) | Err(Failed) => &counts.refused,
        });
        let filled = What::Filled {
            reader: self.number,
            row,
            filled_us: now_us(),
            stored: stored.unwrap_or(false),
        };
        self.traffic.remember(self.shape, id, read_us, filled);
        Ok(false)
    }
}

/// Stores an entry unless it is later than `within` after `read_us`.
pub fn fill_in_time(
    key: &str,
    entry: &str,
    read_us: u64,
    within: Duration,
    ttl: Duration,
) -> redis::Cmd {
    let mut fill = redis::cmd("EVAL");
    fill.arg(FILL_IN_TIME).arg(1).arg(key).arg(entry);
    fill.arg(read_us + u64::try_from(within.as_micros()).unwrap());
    fill.arg(ttl.as_millis() as u64);
    fill
}

fn guarded_fill(id: u64, version: u64, key: &str, entry: &str, ttl: Duration) -> redis::Cmd {
    let mut fill = redis::cmd("EVAL");
    fill.arg(GUARDED_FILL).arg(2);
    fill.arg(format!("{{guarded:{id}}}:guard")).arg(key);
    fill.arg(version).arg(entry);
    fill.arg(ttl.as_millis() as u64);
    fill.arg(GUARD_TTL.as_millis() as u64);
    fill
}
