//! Connections that break again and again.

use std::time::Duration;

use super::shop::{Shop, stop};
use crate::support::{Cut, Evictd, MysqlOptions, Relay};

/// `EVICTD_TEST_FULL` asks for ten times as many.
fn reconnects() -> u64 {
    match std::env::var_os("EVICTD_TEST_FULL") {
        Some(_) => 10_000,
        None => 1_000,
    }
}

/// Long enough for a connection to be made, used and missed.
const BETWEEN: Duration = Duration::from_millis(15);

/// The connection that the binlog comes over is made again after seconds, unless it has lasted for ten.
const BETWEEN_DUMPS: Duration = Duration::from_secs(12);

/// What allocators keep for themselves differs from moment to moment.
const GROWTH_KIB_MAX: u64 = 12 << 10;

/// What a process has: resident memory in KiB, and open files.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_kib: u64,
    files: usize,
}

fn held(evictd: &Evictd) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{}/status", evictd.pid())).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS:"));
    let resident = resident.unwrap().split_whitespace().nth(1).unwrap();
    let files = std::fs::read_dir(format!("/proc/{}/fd", evictd.pid())).unwrap();
    Held {
        resident_kib: resident.parse().unwrap(),
        files: files.count(),
    }
}

struct Broken {
    shop: Shop,
    source: Relay,
    cache: Relay,
    rows: u32,
}

impl Broken {
    fn made(&self) -> u64 {
        self.source.made() + self.cache.made()
    }

    /// Cuts until so many connections were made, while rows change all the time.
    async fn cut_until(&mut self, made: u64) -> u64 {
        let mut dumps = 0;
        let mut dumped = std::time::Instant::now();
        let mut conn = self.shop.mysql().conn().await;
        while self.made() < made {
            self.rows += 1;
            let insert = format!("INSERT INTO shop.users (id) VALUES ({})", self.rows);
            mysql_async::prelude::Queryable::query_drop(&mut conn, insert)
                .await
                .unwrap();
            tokio::time::sleep(BETWEEN).await;
            self.cache.cut(Cut::All);
            let cut = match dumped.elapsed() > BETWEEN_DUMPS {
                true => {
                    dumped = std::time::Instant::now();
                    dumps += 1;
                    Cut::All
                }
                false => Cut::Questions,
            };
            self.source.cut(cut);
        }
        conn.disconnect().await.unwrap();
        dumps
    }

    /// What evictd holds once it has done everything, and no connection breaks.
    async fn held_at_rest(&self, evictd: &Evictd) -> Held {
        self.shop.done(evictd).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        held(evictd)
    }
}

#[tokio::test]
async fn thousands_of_reconnects_take_no_memory_no_files_and_no_deletion() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let mut broken = Broken {
        source: Relay::to(shop.mysql().port()).await,
        cache: Relay::to(shop.redis.port()).await,
        shop,
        rows: 0,
    };
    let mut config = broken.shop.config().redis("settle_after = \"50ms\"");
    config.source_url = format!("mysql://evictd@127.0.0.1:{}", broken.source.port());
    config.redis_url = format!("redis://127.0.0.1:{}/0", broken.cache.port());
    let evictd = config.start().await;
    let keys: Vec<String> = (1..=60_000)
        .map(|id| format!("user:{id}:profile"))
        .collect();
    broken.shop.fill(&keys).await;

    let begun = std::time::Instant::now();
    let wanted = reconnects();
    broken.cut_until(wanted / 5).await;
    let before = broken.held_at_rest(&evictd).await;
    let dumps = broken.cut_until(wanted + wanted / 5).await;
    let after = broken.held_at_rest(&evictd).await;
    println!(
        "{} connections to MySQL ({dumps} times the binlog's own) and {} to Redis in {:.0} s, {} rows: {before:?}, then {after:?}",
        broken.source.made(),
        broken.cache.made(),
        begun.elapsed().as_secs_f64(),
        broken.rows,
    );
    assert!(broken.source.made() > wanted / 10 && broken.cache.made() > wanted / 10);
    assert!(
        after.resident_kib <= before.resident_kib + GROWTH_KIB_MAX,
        "{before:?}, then {after:?}"
    );
    assert!(
        after.files <= before.files + 2,
        "{before:?}, then {after:?}"
    );
    let mut conn = broken.shop.redis.conn().await;
    let left: usize = redis::cmd("DBSIZE").query_async(&mut conn).await.unwrap();
    let rows = usize::try_from(broken.rows).unwrap();
    assert_eq!(left, keys.len() - rows, "each row's key went, and no other");
    stop(evictd).await;
}
