//! evictd itself, from the first event of a stretch to the deletion of its last key.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::machine::{processor_time, resident_max};
use crate::support::{EVICTD_PASSWORD, Evictd, EvictdOptions, Mysql, Redis, scratch};
use crate::workload::Stretch;

const WITHIN: Duration = Duration::from_secs(180);

/// Much shorter than anything that is measured.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// The rule that lets the end of a stretch be seen.
const ENDS: &str = r#"
[[rule]]
name   = "ends"
tables = ["bench.ends"]
keys   = ["end:{id}"]
"#;

/// A rule about the table of most stretches with these keys' prefixes.
pub fn users_rule(prefixes: &[&str]) -> String {
    let keys: Vec<String> = prefixes
        .iter()
        .map(|prefix| format!("\"{prefix}:{{id}}\""))
        .collect();
    format!(
        "\n[[rule]]\nname = \"users\"\ntables = [\"bench.users\"]\nkeys = [{}]\n",
        keys.join(", ")
    )
}

/// A running evictd that reads a stretch.
pub struct Daemon {
    evictd: Evictd,
    _directory: TempDir,
    begun: Instant,
    spent: Duration,
}

/// What it took until some moment.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub took: Duration,
    pub processor: Duration,
    pub resident_max: u64,
}

impl Run {
    pub fn rate(&self, rows: u64) -> f64 {
        rows as f64 / self.took.as_secs_f64()
    }

    /// Processor time for each change, in µs.
    pub fn each_us(&self, rows: u64) -> f64 {
        self.processor.as_secs_f64() * 1e6 / rows as f64
    }

    /// The less disturbed of two.
    pub fn better(self, other: Self) -> Self {
        Self {
            took: self.took.min(other.took),
            processor: self.processor.min(other.processor),
            resident_max: self.resident_max.max(other.resident_max),
        }
    }
}

impl Daemon {
    /// Starts at `start` and waits until the binlog comes.
    pub async fn start(mysql: &Mysql, redis: &str, start: &str, rules: &str) -> Self {
        let directory = scratch("bench");
        let config = format!(
            "name = \"bench\"\n[source]\nurl = \"{}\"\npassword = {{ env = \"EVICTD_SOURCE_PASSWORD\" }}\n\
             start = \"{start}\"\n[checkpoint]\npath = \"{}\"\n[redis]\n{redis}\n{ENDS}{rules}",
            mysql.url(),
            directory.path().join("checkpoint.json").display(),
        );
        let built = env!("CARGO_BIN_EXE_evictd").to_owned();
        let binary = std::env::var("BENCH_EVICTD").unwrap_or(built);
        let options =
            EvictdOptions::run(binary, config).env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD);
        let mut evictd = Evictd::start(&options);
        let began = Instant::now();
        loop {
            if evictd.stdout().contains("reading the binlog")
                || evictd.stderr().contains("reading the binlog")
            {
                break;
            }
            let ended = evictd.exited().is_some() || began.elapsed() > WITHIN;
            assert!(!ended, "evictd does not read\n{}", evictd.tail());
            tokio::time::sleep(POLL_EVERY).await;
        }
        let begun = Instant::now();
        let spent = processor_time(evictd.pid());
        Self {
            evictd,
            _directory: directory,
            begun,
            spent,
        }
    }

    pub fn pid(&self) -> u32 {
        self.evictd.pid()
    }

    /// What it took so far, without its start.
    pub fn so_far(&self) -> Run {
        let took = self.begun.elapsed();
        let pid = self.evictd.pid();
        Run {
            took,
            processor: processor_time(pid) - self.spent,
            resident_max: resident_max(pid),
        }
    }

    /// Waits until the key of an end is gone.
    pub async fn reaches(&self, cache: &mut MultiplexedConnection, end: u64) -> Run {
        let key = format!("end:{end}");
        loop {
            let found: bool = redis::cmd("EXISTS")
                .arg(&key)
                .query_async(cache)
                .await
                .expect("Redis answers");
            if !found {
                return self.so_far();
            }
            assert!(
                self.begun.elapsed() < WITHIN,
                "{key} is not deleted\n{}",
                self.evictd.tail()
            );
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// The configuration of a single server.
pub fn single(redis: &Redis) -> String {
    format!("url = \"{}\"", redis.url())
}

/// Reads a stretch whose keys are filled, and proves that they are all gone.
pub async fn drain(mysql: &Mysql, redis: &Redis, stretch: &Stretch, rules: &str) -> Run {
    let mut cache = redis.conn().await;
    let start = format!("{}:{}", stretch.file, stretch.offset);
    let daemon = Daemon::start(mysql, &single(redis), &start, rules).await;
    let run = daemon.reaches(&mut cache, stretch.end).await;
    let left: u64 = redis::cmd("DBSIZE")
        .query_async(&mut cache)
        .await
        .expect("Redis answers");
    assert_eq!(left, 0, "every key is gone before the last one");
    run
}
