//! One run that measures, on the same binlog and the same machine: what a bare
//! stream delivers, what decoders make of it, what Redis deletes, and what
//! evictd does from binlog to acknowledged deletions. Ratios are what counts:
//! the figures move with the machine.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking and prints its results"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evictd::binlog::layout::TableLayout;
use evictd::binlog::row::RowDecoder;
use evictd::binlog::rows::RowsEvent;
use evictd::binlog::table_map::TableMap;
use futures_util::StreamExt;
use mysql_async::binlog::events::{Event, EventData};
use mysql_async::{BinlogStream, BinlogStreamRequest};
use support::{
    EVICTD_PASSWORD, Evictd, EvictdOptions, Mysql, MysqlOptions, Redis, RedisOptions, eventually,
    servers,
};

/// Rows updated in each workload; `BENCH_ROWS` overrides it.
const ROWS: u64 = 1_000_000;

/// How often each figure is taken; the best one counts, because everything
/// that disturbs a measurement makes it slower.
const ROUNDS: usize = 3;

const TABLE_MAP: u8 = 19;
const UPDATE_ROWS: u8 = 31;

/// A stretch of the binlog.
#[derive(Clone, Debug)]
struct Stretch {
    file: String,
    offset: u64,
    rows: u64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(run());
}

async fn run() {
    let rows = std::env::var("BENCH_ROWS").map_or(ROWS, |rows| rows.parse().expect("a number"));
    let mysql = Mysql::start(MysqlOptions {
        extra: [
            "--innodb-buffer-pool-size=1G",
            "--innodb-redo-log-capacity=2G",
            "--max-binlog-size=1G",
            "--binlog-transaction-dependency-history-size=1",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..MysqlOptions::default()
    })
    .await;
    println!("{}", machine());
    println!("preparing {rows} rows ...");
    fill(&mysql, rows).await;
    let many = update(&mysql, rows, 1_000).await;
    let single = update(&mysql, rows / 5, 1).await;
    let huge = update(&mysql, rows, rows).await;
    let redis = Redis::start(RedisOptions {
        extra: ["--enable-debug-command", "local"]
            .map(str::to_owned)
            .to_vec(),
        ..RedisOptions::default()
    })
    .await;

    println!(
        "\n{} row updates in transactions of 1,000 rows, 12 columns",
        many.rows
    );
    let floor = best(many.rows, async || bare_stream(&mysql, &many).await).await;
    let report = |name: &str, rate: f64, note: &str| {
        println!(
            "  {name:<44} {:>10.0} /s   {:>5.2}   {note}",
            rate,
            rate / floor
        );
    };
    println!("  {:<44} {:>13}   of the stream", "", "rows");
    report(
        "bare stream, rows not decoded",
        floor,
        "the floor any reader pays",
    );
    let decoder = best(many.rows, async || own_decoder(&mysql, &many).await).await;
    report(
        "evictd's decoder, a key rendered per image",
        decoder,
        "target 0.7",
    );
    let cdc = best_of(1, many.rows, async || mysql_cdc(&mysql, &many)).await;
    report("mysql_cdc, every column, from the file", cdc, "");
    let common = best_of(1, many.rows, async || mysql_common(&mysql, &many).await).await;
    report("mysql_common, every column", common, "");

    let unlink = best(rows, async || redis_unlink(&redis, rows)).await;
    println!("\ndeletions of existing keys");
    println!(
        "  {:<44} {unlink:>10.0} /s",
        "redis-benchmark -P 100, UNLINK of one key"
    );
    println!("\nevictd, from the binlog to acknowledged deletions of existing keys");
    for (name, stretch, floor) in [
        ("transactions of 1,000 rows", &many, floor),
        (
            "transactions of one row",
            &single,
            best(single.rows, async || bare_stream(&mysql, &single).await).await,
        ),
        ("one transaction of all rows", &huge, floor),
    ] {
        let mut peak = 0;
        let drain = best(stretch.rows, async || {
            let (time, resident) = evictd_drain(&mysql, &redis, stretch).await;
            peak = peak.max(resident);
            time
        })
        .await;
        let slower = floor.min(unlink);
        println!(
            "  {name:<44} {drain:>10.0} /s   {:.2} of the slower of stream ({floor:.0}) and UNLINK, target 0.5; peak resident {} MB",
            drain / slower,
            peak / 1024,
        );
    }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    format!(
        "{} x {}, servers on the same cores",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.unwrap_or("unknown processor"),
    )
}

/// The best rate of several rounds, in rows a second.
async fn best(rows: u64, work: impl AsyncFnMut() -> Duration) -> f64 {
    best_of(ROUNDS, rows, work).await
}

async fn best_of(rounds: usize, rows: u64, mut work: impl AsyncFnMut() -> Duration) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        best = best.min(work().await);
    }
    rows as f64 / best.as_secs_f64()
}

/// Twelve columns, about 250 bytes a row image.
async fn fill(mysql: &Mysql, rows: u64) {
    mysql
        .exec(
            "CREATE DATABASE bench; USE bench; \
             CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY, tenant_id INT NOT NULL, \
               name VARCHAR(80) NOT NULL, email VARCHAR(120), slug VARCHAR(80) NOT NULL, \
               status ENUM('draft','active','gone') NOT NULL, balance DECIMAL(12,2) NOT NULL, \
               score DOUBLE, bio VARCHAR(255), created_at DATETIME(6) NOT NULL, \
               updated_at TIMESTAMP NULL, version INT UNSIGNED NOT NULL) CHARSET utf8mb4",
        )
        .await;
    let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL \
        SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let mut first = 0;
    while first < rows {
        let count = (rows - first).min(100_000);
        mysql
            .exec(format!(
                "INSERT INTO bench.users SELECT id, id % 100, CONCAT('User number ', id), \
                   CONCAT('user', id, '@example.com'), CONCAT('user-number-', id), 'active', \
                   id / 7, id * 1.5, REPEAT('x', 100), NOW(6), NOW(), 1 \
                 FROM (SELECT {first} + a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d AS id \
                   FROM {digits} a, {digits} b, {digits} c, {digits} d, {digits} e) ids \
                 WHERE id < {end}",
                end = first + count,
            ))
            .await;
        first += count;
    }
}

/// Updates `rows` rows, `chunk` of them in each transaction, in a binlog file
/// of its own.
async fn update(mysql: &Mysql, rows: u64, chunk: u64) -> Stretch {
    mysql.exec("FLUSH BINARY LOGS").await;
    let (file, offset): (String, u64) = mysql
        .rows::<mysql_async::Row>("SHOW BINARY LOG STATUS")
        .await
        .first()
        .map(|row| (row.get("File").unwrap(), row.get("Position").unwrap()))
        .expect("the server has a binlog");
    let clause = "UPDATE bench.users SET version = version + 1, name = CONCAT(name, '!'), balance = balance + 1";
    if chunk > 1 {
        let mut first = 0;
        while first < rows {
            let end = (first + chunk).min(rows);
            mysql
                .exec(format!("{clause} WHERE id >= {first} AND id < {end}"))
                .await;
            first = end;
        }
    } else {
        // A procedure saves the round trips.
        let mut conn = mysql.conn().await;
        use mysql_async::prelude::Queryable;
        conn.query_drop(format!(
            "CREATE PROCEDURE bench.single(n BIGINT) BEGIN DECLARE i BIGINT DEFAULT 0; \
             WHILE i < n DO {clause} WHERE id = i; SET i = i + 1; END WHILE; END"
        ))
        .await
        .expect("the procedure is created");
        conn.query_drop(format!("CALL bench.single({rows})"))
            .await
            .expect("rows are updated");
    }
    let begun = file.clone();
    mysql.exec("FLUSH BINARY LOGS").await;
    Stretch {
        file: begun,
        offset,
        rows,
    }
}

/// The server's binlog from the stretch's beginning, ending when there is no
/// more.
async fn stream(mysql: &Mysql, stretch: &Stretch) -> BinlogStream {
    let request = BinlogStreamRequest::new(777)
        .with_filename(stretch.file.as_bytes())
        .with_pos(stretch.offset)
        .with_non_blocking();
    mysql
        .conn()
        .await
        .get_binlog_stream(request)
        .await
        .expect("the stream opens")
}

/// Feeds each event until the stretch's rows were seen.
async fn each_event(mysql: &Mysql, stretch: &Stretch, mut handle: impl FnMut(&Event)) -> Duration {
    let mut stream = stream(mysql, stretch).await;
    let begun = Instant::now();
    while let Some(event) = stream.next().await {
        let event = event.expect("an event arrives");
        if event.header().event_type_raw() == 4 && event.header().log_pos() != 0 {
            break;
        }
        handle(&event);
    }
    let took = begun.elapsed();
    stream.close().await.ok();
    took
}

async fn bare_stream(mysql: &Mysql, stretch: &Stretch) -> Duration {
    let mut bytes = 0;
    let took = each_event(mysql, stretch, |event| bytes += event.data().len()).await;
    black_box(bytes);
    took
}

async fn own_decoder(mysql: &Mysql, stretch: &Stretch) -> Duration {
    let mut decoder: Option<(Vec<u8>, RowDecoder)> = None;
    let mut rows = 0;
    let mut key = Vec::new();
    let took = each_event(mysql, stretch, |event| {
        match event.header().event_type_raw() {
            TABLE_MAP => {
                let map = TableMap::parse(event.data()).unwrap();
                if decoder
                    .as_ref()
                    .is_none_or(|(bytes, _)| bytes != map.layout_bytes())
                {
                    let layout = Arc::new(TableLayout::new(&map, None).unwrap());
                    let projection = [layout.schema.column("id").unwrap()];
                    let bytes = map.layout_bytes().to_vec();
                    decoder = Some((bytes, RowDecoder::new(layout, &projection)));
                }
            }
            UPDATE_ROWS => {
                let (_, decoder) = decoder.as_ref().unwrap();
                let event = RowsEvent::parse(UPDATE_ROWS, event.data()).unwrap();
                let mut changes = decoder.rows(event).unwrap();
                while let Some(change) = changes.next_row().unwrap() {
                    for image in [change.before, change.after].into_iter().flatten() {
                        key.clear();
                        key.extend_from_slice(b"user:");
                        image[0].write_text(&mut key);
                        black_box(&key);
                    }
                    rows += 1;
                }
            }
            _ => {}
        }
    })
    .await;
    assert_eq!(rows, stretch.rows, "every row is decoded");
    took
}

async fn mysql_common(mysql: &Mysql, stretch: &Stretch) -> Duration {
    let mut map = None;
    let mut rows = 0;
    let took = each_event(mysql, stretch, |event| match event.read_data().unwrap() {
        Some(EventData::TableMapEvent(table)) => map = Some(table.into_owned()),
        Some(EventData::RowsEvent(event)) => {
            for row in event.rows(map.as_ref().unwrap()) {
                black_box(row.unwrap());
                rows += 1;
            }
        }
        _ => {}
    })
    .await;
    assert_eq!(rows, stretch.rows, "every row is decoded");
    took
}

/// From the file on disk: its own transport has neither TLS nor large packets.
fn mysql_cdc(mysql: &Mysql, stretch: &Stretch) -> Duration {
    use mysql_cdc::events::binlog_event::BinlogEvent;
    let file = File::open(mysql.data_dir().join(&stretch.file)).expect("the file is there");
    let begun = Instant::now();
    let reader = mysql_cdc::binlog_reader::BinlogReader::new(file).expect("it is a binlog");
    let mut rows = 0;
    for event in reader.read_events() {
        let (_, event) = event.expect("an event is decoded");
        if let BinlogEvent::UpdateRowsEvent(event) = &event {
            rows += event.rows.len() as u64;
        }
        black_box(&event);
    }
    assert_eq!(rows, stretch.rows, "every row is decoded");
    begun.elapsed()
}

/// Sets keys `user:0` and on, as many as the workload deletes.
fn fill_keys(redis: &Redis, rows: u64) {
    let cli = |arguments: &[&str]| {
        let status = Command::new(&servers().redis_cli)
            .args(["-p", &redis.port().to_string()])
            .args(arguments)
            .stdout(std::process::Stdio::null())
            .status()
            .expect("redis-cli runs");
        assert!(status.success(), "redis-cli succeeds");
    };
    cli(&["FLUSHALL"]);
    cli(&["DEBUG", "POPULATE", &rows.to_string(), "user", "100"]);
}

/// `redis-benchmark` deletes random ones of the keys that it set; about two in
/// three deletions meet an existing key.
fn redis_unlink(redis: &Redis, rows: u64) -> Duration {
    let run = |arguments: &[&str]| {
        let status = Command::new(&servers().redis_benchmark)
            .args(["-p", &redis.port().to_string(), "-P", "100", "-q"])
            .args(["-n", &rows.to_string(), "-r", &rows.to_string()])
            .args(arguments)
            .stdout(std::process::Stdio::null())
            .status()
            .expect("redis-benchmark runs");
        assert!(status.success(), "redis-benchmark succeeds");
    };
    fill_keys(redis, 0);
    for _ in 0..3 {
        run(&["SET", "key:__rand_int__", "x"]);
    }
    let begun = Instant::now();
    run(&["UNLINK", "key:__rand_int__"]);
    begun.elapsed()
}

/// The daemon itself: from the first event to the moment that no key is left.
/// Returns its peak resident memory too, in KiB.
async fn evictd_drain(mysql: &Mysql, redis: &Redis, stretch: &Stretch) -> (Duration, u64) {
    fill_keys(redis, stretch.rows);
    let directory = support::scratch("bench");
    let config = format!(
        r#"
name = "bench"
[source]
url = "{mysql}"
password = {{ env = "EVICTD_SOURCE_PASSWORD" }}
start = "{file}:{offset}"
[checkpoint]
path = "{checkpoint}"
[redis]
url = "{redis}"
[[rule]]
name = "users"
tables = ["bench.users"]
keys = ["user:{{id}}"]
"#,
        mysql = mysql.url(),
        file = stretch.file,
        offset = stretch.offset,
        checkpoint = directory.path().join("checkpoint.json").display(),
        redis = redis.url(),
    );
    let options = EvictdOptions::run(env!("CARGO_BIN_EXE_evictd"), config)
        .env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD);
    let mut conn = redis.conn().await;
    let mut evictd = Evictd::start(&options);
    evictd
        .wait_for_line("reading the binlog", Duration::from_secs(20))
        .await;
    let begun = Instant::now();
    eventually("every key is gone", Duration::from_secs(120), async || {
        let left: u64 = redis::cmd("DBSIZE").query_async(&mut conn).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    let took = begun.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", evictd.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    evictd.terminate();
    evictd.exit(Duration::from_secs(30)).await;
    (took, peak)
}
