//! A sink that is away for a minute while there is a backlog.

use std::time::Duration;

use crate::daemon::{Daemon, single, users_rule};
use crate::drain::{PREFIXES, RESIDENT_MAX_MIB};
use crate::figure::{Figure, Table};
use crate::machine::resident_max;
use crate::workload::{ROWS, World, fill_keys, redis};

const AWAY: Duration = Duration::from_secs(60);

pub async fn measure(world: &mut World, table: &mut Table) {
    table.section("A Redis that answers nothing for a minute, with a backlog of a million changes");
    let many = world.many().await;
    // One of its own: a frozen server must not be asked by anybody else.
    let mut frozen = redis(&[]).await;
    let prefixes = &PREFIXES[..2];
    fill_keys(&frozen, prefixes, ROWS, &many.ends());
    let mut cache = frozen.conn().await;
    let start = format!("{}:{}", many.file, many.offset);
    let rules = users_rule(prefixes);
    let daemon = Daemon::start(world.mysql(), &single(&frozen), &start, &rules).await;
    let (first, _) = many.marks[0];
    daemon.reaches(&mut cache, first).await;
    frozen.signal("STOP");
    tokio::time::sleep(AWAY).await;
    let held = resident_max(daemon.pid()) as f64 / 1_048_576.0;
    let what = "peak resident set at its end";
    table.add(Figure::limited(what, held, RESIDENT_MAX_MIB, "MiB"));
    frozen.signal("CONT");
    let run = daemon.reaches(&mut cache, many.end).await;
    let mib = run.resident_max as f64 / 1_048_576.0;
    let what = "peak resident set once all keys are gone";
    table.add(Figure::limited(what, mib, RESIDENT_MAX_MIB, "MiB"));
}
