//! What it costs: processor time for each change, and doing nothing.

use std::time::Duration;

use crate::callgrind::count;
use crate::daemon::{Daemon, drain, single, users_rule};
use crate::drain::PREFIXES;
use crate::figure::{Figure, Table, Wanted};
use crate::machine::{processor_time, resident};
use crate::workload::{ROWS, Stretch, World, fill_keys};
use crate::workloads::WORKLOADS;

const ROUNDS: usize = 3;

/// Six heartbeats, as often as they come by default.
const IDLE: Duration = Duration::from_secs(60);

const UNMATCHED_US_MAX: f64 = 0.5;
const MATCHED_US_MAX: f64 = 1.5;
const IDLE_PER_CENT_MAX: f64 = 0.2;
const IDLE_MIB_MAX: f64 = 32.0;

pub async fn measure(world: &mut World, table: &mut Table) {
    table.section("Cost: processor time of evictd, its threads and the kernel's work for them");
    let many = world.many().await;
    let one_key = users_rule(&PREFIXES[..1]);
    let unmatched = each_us(world, &many, &[], "").await;
    let what = "a change of a table without rules";
    table.add(Figure::limited(what, unmatched, UNMATCHED_US_MAX, "µs"));
    let matched = each_us(world, &many, &PREFIXES[..1], &one_key).await;
    let what = "a change with one key";
    table.add(Figure::limited(what, matched, MATCHED_US_MAX, "µs"));
    let condition = format!("{one_key}when = \"after.status != 'draft'\"\n");
    let judged = each_us(world, &many, &PREFIXES[..1], &condition).await;
    let what = "a change with one key and a condition";
    table.add(Figure::compared(
        what,
        judged,
        "µs",
        "without the condition",
        matched,
    ));
    idle(world, table).await;
    instructions(table);
}

async fn each_us(world: &World, many: &Stretch, prefixes: &[&str], rules: &str) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        fill_keys(world.redis(), prefixes, ROWS, &many.ends());
        let run = drain(world.mysql(), world.redis(), many, rules).await;
        least = least.min(run.each_us(ROWS));
    }
    least
}

/// From the bytes of a binlog to a batch of keys, by this program.
fn instructions(table: &mut Table) {
    let program = std::env::current_exe().expect("it is a program");
    let mut least = None;
    for workload in WORKLOADS {
        let counted = count(&program, &workload);
        let least = *least.get_or_insert(counted);
        let (what, unit) = (workload.name, "instructions");
        table.add(Figure::compared(
            what,
            counted,
            unit,
            "without rules",
            least,
        ));
    }
}

async fn idle(world: &World, table: &mut Table) {
    let rules = users_rule(&PREFIXES[..1]);
    let redis = single(world.redis());
    let daemon = Daemon::start(world.mysql(), &redis, "current", &rules).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = processor_time(daemon.pid());
    tokio::time::sleep(IDLE).await;
    let spent = processor_time(daemon.pid()) - before;
    let per_cent = 100.0 * spent.as_secs_f64() / IDLE.as_secs_f64();
    let what = "idle for a minute, of one core";
    table.add(Figure::limited(what, per_cent, IDLE_PER_CENT_MAX, "%"));
    let mib = resident(daemon.pid()) as f64 / 1_048_576.0;
    table.add(
        Figure::limited("resident set, idle", mib, IDLE_MIB_MAX, "MiB")
            .wanting(Wanted::AtMost(1.0)),
    );
}
