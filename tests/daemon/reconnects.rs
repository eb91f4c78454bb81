//! Connections that break again and again.

use std::time::Duration;

use evictd::binlog::connection::connector::{Connector, MysqlTarget};
use evictd::binlog::decode::layout::TableLayout;
use evictd::binlog::reader::Interest;
use evictd::binlog::server::Server;
use evictd::binlog::stream::{Source, StreamSettings};
use evictd::credentials::Password;
use evictd::model::TableName;
use evictd::model::position::Start;

use super::register::IN_REDIS;
use super::shop::{Shop, WITHIN, stop};
use crate::support::{Cut, EVICTD_PASSWORD, Evictd, MysqlOptions, Relay, eventually, free_port};

/// `EVICTD_TEST_FULL` asks for 10,000 reconnects. Each test alone then: the second looks at the memory of
/// the tests' own process.
fn is_full() -> bool {
    std::env::var_os("EVICTD_TEST_FULL").is_some()
}

/// Long enough for a connection to be made, used and missed.
const BETWEEN: Duration = Duration::from_millis(15);

/// One that the binlog comes over, and that breaks sooner than after ten seconds, is made again later and later.
const BETWEEN_DUMPS: Duration = Duration::from_secs(12);

/// What allocators keep for themselves differs from moment to moment.
const GROWTH_KIB_MAX: u64 = 4 << 10;

/// What a process has: resident memory in KiB, and open files.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_kib: u64,
    files: usize,
}

fn held(pid: u32) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS:"));
    let resident = resident.unwrap().split_whitespace().nth(1).unwrap();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
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
    async fn cut_until(&mut self, made: u64) {
        let mut dumped = std::time::Instant::now();
        let mut conn = self.shop.mysql().conn().await;
        while self.made() < made {
            self.rows += 1;
            let insert = format!("INSERT INTO shop.users (id) VALUES ({})", self.rows);
            mysql_async::prelude::Queryable::query_drop(&mut conn, insert)
                .await
                .unwrap();
            tokio::time::sleep(BETWEEN).await;
            self.cache.cut(Cut::Used);
            let cut = if dumped.elapsed() > BETWEEN_DUMPS {
                dumped = std::time::Instant::now();
                Cut::Dumps
            } else {
                Cut::Used
            };
            self.source.cut(cut);
        }
        conn.disconnect().await.unwrap();
    }

    /// What evictd holds once it has done everything, and no connection breaks.
    async fn held_at_rest(&self, evictd: &Evictd) -> Held {
        self.shop.done(evictd).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        held(evictd.pid())
    }
}

#[tokio::test]
async fn connections_that_break_again_and_again_cost_no_memory_no_files_and_no_deletion() {
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
    let wanted = if is_full() { 10_000 } else { 600 };
    broken.cut_until(wanted / 5).await;
    let before = broken.held_at_rest(&evictd).await;
    broken.cut_until(wanted + wanted / 5).await;
    let after = broken.held_at_rest(&evictd).await;
    println!(
        "{} connections to MySQL ({} of them the binlog's own) and {} to Redis in {:.0} s, {} rows: {before:?}, then {after:?}",
        broken.source.made(),
        broken.source.dumps(),
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

struct Nothing;

impl Interest for Nothing {
    type Table = ();

    fn wants(&self, _: &TableName) -> bool {
        false
    }

    fn bind(&self, _: TableLayout) -> Result<(), String> {
        Ok(())
    }
}

/// The daemon waits for seconds between two of these. Here nobody does.
#[tokio::test]
async fn the_binlogs_own_connection_is_made_again_and_again_and_leaves_nothing_open() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let relay = Relay::to(shop.mysql().port()).await;
    let connector = Connector::new(MysqlTarget {
        host: "127.0.0.1".to_owned(),
        port: relay.port(),
        user: "evictd".to_owned(),
        password: Some(Password::fixed(EVICTD_PASSWORD)),
        tls: None,
    });
    let mut server = Server::connect(&connector).await.unwrap();
    let uuid = server.facts().server_uuid.clone();
    let position = server.locate(&Start::Current).await.unwrap();
    drop(server);
    let settings = StreamSettings {
        server_id: 77,
        heartbeat: Duration::from_secs(30),
    };
    let mut source = Source::new(connector, settings, Nothing, position);
    let wanted = if is_full() { 10_000 } else { 150 };
    let mut before = held(std::process::id());
    let begun = std::time::Instant::now();
    for number in 0..wanted {
        if number == wanted / 10 {
            before = held(std::process::id());
        }
        let mut attempts = 1;
        while let Err(error) = source.reconnect(Some(&uuid)).await {
            // A busy machine may take longer than evictd waits for an answer.
            attempts += 1;
            assert!(attempts < 10, "{error}");
        }
        relay.cut(Cut::All);
        while source.next().await.is_ok() {}
        // One for questions and the binlog's own, the last ones maybe still closing.
        assert!(
            relay.open() <= 4,
            "{} are open after {number}",
            relay.open()
        );
    }
    drop(source);
    let after = held(std::process::id());
    println!(
        "{} connections in {:.0} s: {before:?}, then {after:?}",
        relay.made(),
        begun.elapsed().as_secs_f64()
    );
    assert!(relay.made() > 2 * wanted);
    eventually("all connections are closed", WITHIN, async || {
        (relay.open() == 0).then_some(())
    })
    .await;
    if is_full() {
        assert!(
            after.resident_kib <= before.resident_kib + GROWTH_KIB_MAX,
            "{before:?}, then {after:?}"
        );
        assert!(
            after.files <= before.files + 4,
            "{before:?}, then {after:?}"
        );
    }
}

/// A position that is lost is a gap, which stays one until the server's end is known: whichever connection of the start
/// fails.
#[tokio::test]
async fn a_gap_at_the_start_is_not_forgotten_because_a_connection_fails() {
    let mut gaps = 0;
    for works in 2..12 {
        let shop = Shop::own(MysqlOptions::default()).await;
        let relay = Relay::to(shop.mysql().port()).await;
        let mut config = shop.config().checkpoint(IN_REDIS);
        config.source_url = format!("mysql://evictd@127.0.0.1:{}", relay.port());
        shop.fill(&["user:1:profile"]).await;
        let mut ports = vec![shop.mysql().port(); works];
        ports.push(free_port());
        ports.extend(vec![shop.mysql().port(); 100]);
        relay.lead_in_turn(&ports);
        let mut evictd = Evictd::start(&config.options());
        let left = eventually("it reads, or has ended", WITHIN, async || {
            let reads = evictd
                .lines()
                .iter()
                .any(|line| line.contains("reading the binlog"));
            (reads || evictd.exited().is_some()).then(|| evictd.exited().is_some())
        })
        .await;
        // A first start may end where a server does not answer.
        if left {
            continue;
        }
        gaps += 1;
        shop.gone(&["user:1:profile"], &evictd).await;
        stop(evictd).await;
    }
    assert!(gaps > 2, "{gaps}");
}
