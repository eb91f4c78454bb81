//! From the binlog to acknowledged deletions of existing keys.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{self, Run, users_rule};
use crate::figure::{Figure, Table, Wanted};
use crate::plot::{Plot, Series};
use crate::stream;
use crate::support::{Redis, servers};
use crate::workload::{HUGE_ROWS, ROWS, SINGLE_ROWS, Stretch, World, fill_keys};

/// How often each figure is taken; the best one counts.
const ROUNDS: usize = 3;

pub const PREFIXES: [&str; 5] = ["user", "profile", "page", "card", "feed"];

pub const RESIDENT_MAX_MIB: f64 = 64.0;

pub async fn measure(world: &mut World, table: &mut Table) -> Plot {
    table.section("Drain: row changes a second, from binlog to acknowledged deletion");
    let many = world.many().await;
    let bare = stream::bare(world.mysql(), &many, ROUNDS).await;
    let unlink = unlink(world.redis());
    table.add(Figure::rate(
        "the bare stream, rows not decoded",
        bare,
        "redis-benchmark -P 100 UNLINK",
        unlink,
    ));
    let mut drained = Series::new("evictd");
    let mut limits = Series::new("the slower of stream and UNLINK");
    let mut resident_max: u64 = 0;
    for templates in [1, 2, 5] {
        let run = best(world, &many, &PREFIXES[..templates], ROWS).await;
        resident_max = resident_max.max(run.resident_max);
        let limit = bare.min(unlink / templates as f64);
        let rate = run.rate(ROWS);
        let what = format!("transactions of 1,000 rows, keys a row: {templates}");
        let of = "the slower of stream and UNLINK";
        table.add(Figure::rate(what, rate, of, limit).wanting(Wanted::AtLeast(0.8)));
        drained.add(templates as f64, rate);
        limits.add(templates as f64, limit);
    }
    let single = world.single().await;
    let bare = stream::bare(world.mysql(), &single, ROUNDS).await;
    let run = best(world, &single, &PREFIXES[..1], SINGLE_ROWS).await;
    resident_max = resident_max.max(run.resident_max);
    table.add(
        Figure::rate(
            "transactions of one row",
            run.rate(SINGLE_ROWS),
            "the bare stream of the same binlog",
            bare,
        )
        .wanting(Wanted::AtLeast(0.6)),
    );
    let huge = world.huge().await;
    let bare = stream::bare(world.mysql(), &huge, 1).await;
    let run = huge_transaction(world, &huge).await;
    let what = "one transaction of 5,000,000 rows";
    let limit = bare.min(unlink);
    let of = "the slower of stream and UNLINK";
    table.add(Figure::rate(what, run.rate(HUGE_ROWS), of, limit));
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    table.add(Figure::limited(
        "peak resident set, that transaction",
        mib(run.resident_max),
        RESIDENT_MAX_MIB,
        "MiB",
    ));
    table.add(Figure::limited(
        "peak resident set, the others",
        mib(resident_max),
        RESIDENT_MAX_MIB,
        "MiB",
    ));
    Plot {
        file: "drain.svg",
        title: "Row changes a second, by keys a row",
        x: "keys a row",
        y: "row changes a second",
        logarithmic: false,
        series: vec![drained, limits],
    }
}

async fn best(world: &World, stretch: &Stretch, prefixes: &[&str], keys: u64) -> Run {
    let rules = users_rule(prefixes);
    let mut best: Option<Run> = None;
    for _ in 0..ROUNDS {
        fill_keys(world.redis(), prefixes, keys, &stretch.ends());
        let run = daemon::drain(world.mysql(), world.redis(), stretch, &rules).await;
        best = Some(best.map_or(run, |before| before.better(run)));
    }
    best.expect("there was a round")
}

/// Its keys exist for the first million rows: what counts is the memory.
async fn huge_transaction(world: &World, huge: &Stretch) -> Run {
    let rules =
        "\n[[rule]]\nname = \"events\"\ntables = [\"bench.events\"]\nkeys = [\"event:{id}\"]\n";
    fill_keys(world.redis(), &["event"], ROWS, &huge.ends());
    daemon::drain(world.mysql(), world.redis(), huge, rules).await
}

/// Keys a second that `redis-benchmark` deletes. It takes random ones of the keys that it set; about two in three
/// deletions meet one that exists.
fn unlink(redis: &Redis) -> f64 {
    let run = |arguments: &[&str]| {
        let status = Command::new(&servers().redis_benchmark)
            .args(["-p", &redis.port().to_string(), "-P", "100", "-q"])
            .args(["-n", &ROWS.to_string(), "-r", &ROWS.to_string()])
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .expect("redis-benchmark runs");
        assert!(status.success(), "redis-benchmark succeeds");
    };
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        fill_keys(redis, &[], 0, &[]);
        for _ in 0..3 {
            run(&["SET", "key:__rand_int__", "x"]);
        }
        let begun = Instant::now();
        run(&["UNLINK", "key:__rand_int__"]);
        best = best.min(begun.elapsed());
    }
    ROWS as f64 / best.as_secs_f64()
}
