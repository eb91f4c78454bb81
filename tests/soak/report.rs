//! What a run did and found.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bill::Bill;
use super::faults::Fault;
use super::probes::Probes;
use super::refused;
use super::traffic::Traffic;
use super::verify::Findings;
use super::waits::{Period, Waits};
use super::world::World;

/// How much of each finding and of evictd's log is printed.
const PRINTED: usize = 5;
const COMPLAINTS_PRINTED: usize = 60;

/// What happened to a run.
#[derive(Debug, Default)]
pub struct Course {
    pub ran_for: Duration,
    /// From a fault to the end of the comparison after it, in µs since the epoch.
    pub disturbances: Vec<(u64, u64)>,
    /// Those of faults after which paths may be paid for twice.
    pub excuses: Vec<(u64, u64)>,
    /// Each fault, and when it was open.
    pub periods: Vec<Period>,
    /// The longest wait for the edge to hear of everything that was in the buffer.
    pub edge_took: Duration,
    /// Each fault with how often it came.
    pub survived: Vec<(Fault, u32)>,
    /// What could not be had on this machine.
    pub impossible: Vec<(Fault, &'static str)>,
}

pub struct Report {
    pub findings: Findings,
    pub fills: u64,
    pub deletions: u64,
    pub bill: Bill,
    pub waits: Waits,
    text: String,
}

impl Report {
    pub fn new(
        world: &World,
        traffic: &Traffic,
        probes: &Probes,
        course: Course,
        mut findings: Findings,
    ) -> Self {
        let Course {
            ran_for,
            disturbances,
            excuses,
            periods,
            edge_took,
            survived,
            impossible,
        } = course;
        // What the proxy saw accepted, CloudFront must have.
        let listed = world.cloudfront.paths();
        let accepted = probes.accepted();
        let unlisted = accepted.iter().filter(|path| !listed.contains_key(*path));
        findings.unsent.extend(unlisted.cloned());

        let bill = Bill::new(world, probes, &excuses);
        let waits = Waits::new(&probes.arrivals(world.settles()), &periods);
        let letters = refused::letters(&world.disk.path());
        let counts = &traffic.counts;
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let seconds = ran_for.as_secs_f64();
        let commits = number(&counts.commits);
        let deletions = probes.all_deletions();
        let survived: Vec<String> = survived
            .iter()
            .map(|(fault, times)| format!("{fault:?} {times}"))
            .collect();
        let mut text = format!(
            "soak: {seconds:.0} s, seed {seed}\n\
             \x20 commits                {commits} ({rate:.0} /s, pauses included), {rows} rows\n\
             \x20 deletions of entries   {deletions}\n\
             \x20 fills                  {fills}, refused as late {refused}, hits {hits}, failed reads {errors}\n\
             \x20 early events           {early} of {looked} looked at\n\
             \x20 commit to deletion     {calm}\n\
             \x20   faults included      {all}\n\
             {waits}\
             \x20 entries compared       {compared}\n\
             \x20 paths at the edge      {paths} distinct, the last at most {edge:.1} s after it was in the buffer\n\
             \x20 paid for twice         {twice} of {paid} paths, and {excused} after faults that excuse it\n\
             \x20 paths refused          {refusals} times, {letters} dead letters\n\
             \x20 buffer                 {buffer:?}: {again} messages delivered again, {gaps} losses found\n\
             \x20 faults survived        {faults}: {survived}\n\
             \x20 STALE ENTRIES          {stale}\n\
             \x20 changes not at edge    {unsent}\n\
             \x20 edge before cache      {early_paths}\n\
             \x20 given up, not refused  {buried}\n",
            seed = traffic.seed,
            rate = commits as f64 / seconds,
            rows = number(&counts.rows),
            fills = number(&counts.fills),
            refused = number(&counts.refused),
            hits = number(&counts.hits),
            errors = number(&counts.reader_errors),
            early = number(&counts.early_events),
            looked = number(&counts.events_looked_at),
            calm = quantiles(&probes.latencies(&disturbances)),
            all = quantiles(&probes.latencies(&[])),
            compared = number(&counts.compared),
            paths = accepted.len(),
            edge = edge_took.as_secs_f64(),
            twice = bill.twice.len(),
            paid = bill.paid,
            excused = bill.excused,
            refusals = world.cloudfront.counts().refused,
            letters = letters.refused,
            buffer = world.buffer,
            again = world.hosts.again(),
            gaps = world.buffer_gaps(),
            faults = survived.len(),
            survived = survived.join(", "),
            stale = findings.stale.len(),
            unsent = findings.unsent.len(),
            early_paths = findings.too_early.len(),
            buried = findings.buried.len(),
        );
        for (fault, reason) in impossible {
            text.push_str(&format!("  NOT INJECTED: {fault:?}: {reason}\n"));
        }
        for stale in findings.stale.iter().take(PRINTED) {
            text.push_str(&format!("{stale}\n"));
        }
        for (what, paths) in [
            ("not at the edge after its change", &findings.unsent),
            ("at the edge before its key was gone", &findings.too_early),
            ("given up though nobody refused it", &findings.buried),
            ("paid for twice", &bill.twice),
        ] {
            for path in paths.iter().take(PRINTED) {
                text.push_str(&format!("PATH {path}: {what}\n"));
            }
        }
        if !findings.none() {
            let complaints = world.complaints();
            let (_, last) =
                complaints.split_at(complaints.len().saturating_sub(COMPLAINTS_PRINTED));
            text.push_str(&format!("evictd's last warnings:\n{}\n", last.join("\n")));
        }
        Self {
            fills: number(&counts.fills),
            deletions,
            bill,
            waits,
            text,
            findings,
        }
    }
}

pub fn quantiles(sorted_us: &[u64]) -> String {
    let quantile = |q: f64| {
        let index = ((sorted_us.len() as f64) * q) as usize;
        let us = sorted_us.get(index.min(sorted_us.len().saturating_sub(1)));
        us.map_or(f64::NAN, |us| *us as f64 / 1e3)
    };
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.0} ms, of {} probes",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0),
        sorted_us.len(),
    )
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
