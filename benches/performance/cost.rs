//! What it costs: processor time for each change, and doing nothing.

use std::time::Duration;

use crate::daemon::{Daemon, drain, single, users_rule};
use crate::drain::PREFIXES;
use crate::figure::{Figure, Table, Wanted};
use crate::machine::{processor_time, resident};
use crate::workload::{ROWS, World, fill_keys};

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
    for (what, prefixes, limit) in [
        (
            "a change of a table without rules",
            &PREFIXES[..0],
            UNMATCHED_US_MAX,
        ),
        ("a change with one key", &PREFIXES[..1], MATCHED_US_MAX),
    ] {
        let rules = match prefixes {
            [] => String::new(),
            prefixes => users_rule(prefixes),
        };
        let mut least = f64::MAX;
        for _ in 0..ROUNDS {
            fill_keys(world.redis(), prefixes, ROWS, &many.ends());
            let run = drain(world.mysql(), world.redis(), &many, &rules).await;
            least = least.min(run.each_us(ROWS));
        }
        table.add(Figure::limited(what, least, limit, "µs"));
    }
    idle(world, table).await;
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
