//! The search for one stale entry.
//!
//! Writers change rows, readers cache them, evictd runs between the two, and things break: processes die, freeze
//! and start again, connections stall, break and slow down, AWS answers errors, disks fill up, clocks jump. After
//! each fault the writers pause, and when evictd is done every entry in Redis is compared with its row, and every
//! changed row with what reached CloudFront. Nothing may be stale, nothing missing, no path may have reached
//! CloudFront while its key was still there, and none may be given up but what CloudFront refuses. In the end at most
//! one path in a hundred may have been paid for twice, and no path may have waited long for anything but a fault.
//!
//! - [`traffic`]: what all tasks share. [`writers`], [`readers`], [`probes`]: the applications.
//! - [`shapes`]: how rows are cached, and when an entry is stale. [`clients`]: their connections.
//! - [`refused`]: rows whose paths CloudFront refuses.
//! - [`world`], [`options`], [`store`]: the servers and evictd. [`proxy`]: what can break besides processes. [`hosts`]:
//!   what SQS does that its emulator does not.
//! - [`faults`]: what breaks, [`injection`]: how. [`database`], [`buffer`]: what becomes of the database and of a local
//!   buffer's file. [`spy`]: what the binlog says.
//! - [`verify`]: the comparison. [`bill`]: what was paid for twice. [`waits`]: what changes waited for.
//!   [`report`]: the figures.
//! - [`smallest`]: the smallest client that could do evictd's work, to measure evictd against.
//!
//! `make test` runs it for a minute; `make soak` for ten with SQS, and for a while in a cluster with a local buffer,
//! with all faults. Environment variables:
//!
//! - `EVICTD_SOAK_SECONDS`: how long; set, it also means all faults and as much load as the machine gives.
//! - `EVICTD_SOAK_FAULTS`: only these, as [`faults::Fault`] names them, with commas between.
//! - `EVICTD_SOAK_REDIS=cluster`: a Redis Cluster of six with failovers, instead of a single server.
//! - `EVICTD_SOAK_BUFFER`: `sqs` or `local`; otherwise the seed chooses.
//! - `EVICTD_SOAK_BINARY`: another evictd than the one that was built with the harness.
//! - `EVICTD_SOAK_SEED`: a seed that was printed before. It fixes what is chosen, not how threads are scheduled.

mod bill;
mod buffer;
mod clients;
mod database;
mod faults;
pub mod hosts;
mod injection;
mod options;
mod probes;
pub mod proxy;
mod readers;
mod refused;
mod report;
mod shapes;
mod smallest;
mod spy;
mod store;
mod traffic;
mod verify;
mod waits;
mod world;
mod writers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use buffer::BufferKind;
use clients::{Cache, Database, Endpoint};
use faults::Fault;
use probes::Probes;
use readers::{Manner, Reader};
use report::{Course, Report};
use shapes::{Shape, now_us};
use store::Layout;
use traffic::Traffic;
use verify::{Findings, verify};
use waits::Period;
use world::{Protection, World};
use writers::{WRITERS, Writer};

/// `redis.settle_after`.
const SETTLE_AFTER: Duration = Duration::from_millis(600);

/// What readers of entries without a guard promise: a bit less.
const FILL_WITHIN: Duration = Duration::from_millis(550);

/// How long writers and readers go on undisturbed before a fault and after it.
const CALM: Duration = Duration::from_millis(800);

/// Without protection this long is more than enough to find something.
const CONTROL: Duration = Duration::from_secs(6);

const PROBERS: usize = 2;

/// In a run beside other tests each writer waits this long between transactions.
const GENTLE: Duration = Duration::from_millis(8);

struct Scenario {
    protection: Protection,
    seconds: u64,
    faults: Vec<Fault>,
    pace: Duration,
    seed: u64,
    layout: Layout,
    buffer: BufferKind,
}

/// Of a run that is more than a test among others.
fn seconds_asked_for() -> Option<u64> {
    let seconds = std::env::var("EVICTD_SOAK_SECONDS").ok()?;
    Some(seconds.parse().expect("EVICTD_SOAK_SECONDS is a number"))
}

fn seed() -> u64 {
    match std::env::var("EVICTD_SOAK_SEED") {
        Ok(seed) => seed.parse().expect("EVICTD_SOAK_SEED is a number"),
        Err(_) => rand::random(),
    }
}

fn layout() -> Layout {
    match std::env::var("EVICTD_SOAK_REDIS").as_deref() {
        Ok("cluster") => Layout::Cluster,
        Ok(other) => panic!("EVICTD_SOAK_REDIS is \"cluster\" or not set, and not {other:?}"),
        Err(_) => Layout::Single,
    }
}

fn buffer(seed: u64) -> BufferKind {
    match std::env::var("EVICTD_SOAK_BUFFER").as_deref() {
        Ok("sqs") => BufferKind::Sqs,
        Ok("local") => BufferKind::Local,
        Ok(other) => panic!("EVICTD_SOAK_BUFFER is \"sqs\" or \"local\", and not {other:?}"),
        Err(_) if seed.is_multiple_of(2) => BufferKind::Sqs,
        Err(_) => BufferKind::Local,
    }
}

fn faults(full: bool) -> Vec<Fault> {
    let Ok(names) = std::env::var("EVICTD_SOAK_FAULTS") else {
        return if full {
            Fault::ALL.to_vec()
        } else {
            Fault::SOME.to_vec()
        };
    };
    let named = |name: &str| {
        Fault::ALL
            .into_iter()
            .find(|fault| format!("{fault:?}") == name)
    };
    let faults = names.split(',').map(|name| {
        named(name).unwrap_or_else(|| panic!("EVICTD_SOAK_FAULTS: there is no fault {name:?}"))
    });
    faults.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_entry_stays_stale_whatever_breaks() {
    let full = seconds_asked_for();
    let seed = seed();
    let scenario = Scenario {
        protection: Protection::On,
        seconds: full.unwrap_or(45),
        faults: faults(full.is_some()),
        pace: if full.is_some() {
            Duration::ZERO
        } else {
            GENTLE
        },
        seed,
        layout: layout(),
        buffer: buffer(seed),
    };
    let report = run(scenario).await;
    println!("{report}");
    assert!(report.findings.none(), "see above");
    assert!(report.bill.good_enough(), "{:?}", report.bill);
    assert!(report.waits.good_enough(), "{}", report.waits);
    assert!(report.fills > 0 && report.deletions > 0, "it did something");
}

/// The test above can fail.
#[tokio::test(flavor = "multi_thread")]
async fn without_barrier_and_settling_stale_entries_are_found() {
    let report = run(Scenario {
        protection: Protection::Off,
        seconds: CONTROL.as_secs(),
        faults: Vec::new(),
        pace: if seconds_asked_for().is_some() {
            Duration::ZERO
        } else {
            GENTLE
        },
        seed: seed(),
        layout: Layout::Single,
        buffer: BufferKind::Sqs,
    })
    .await;
    println!("{report}");
    assert!(!report.findings.stale.is_empty());
}

/// Asserted only where the machine is idle, and evictd built with optimisation: with `make soak`.
#[tokio::test(flavor = "multi_thread")]
async fn evictd_is_nearly_as_quick_as_the_smallest_client() {
    let medians = smallest::side_by_side().await;
    println!("{medians}");
    assert!(seconds_asked_for().is_none() || medians.good_enough());
}

async fn run(scenario: Scenario) -> Report {
    let Scenario {
        protection,
        seconds,
        faults,
        pace,
        seed,
        layout,
        buffer,
    } = scenario;
    println!(
        "soak: seed {seed}, {seconds} s, protection {protection:?}, Redis {layout:?}, buffer {buffer:?}"
    );
    let mut world = World::start(protection, SETTLE_AFTER, layout, buffer).await;
    let traffic = Traffic::new(seed, pace);
    let probes = Probes::new(&traffic, world.redis.address(), FILL_WITHIN);
    world.begin(&probes).await;
    let mut tasks = start(&world, &traffic, &probes);

    let begun = Instant::now();
    let over = begun + Duration::from_secs(seconds);
    let mut random = StdRng::seed_from_u64(seed);
    let mut findings = Findings::default();
    let mut course = Course::default();
    let mut next = Vec::new();
    if faults.is_empty() {
        tokio::time::sleep_until(over.into()).await;
    }
    while Instant::now() < over && findings.none() {
        if next.is_empty() {
            next.clone_from(&faults);
            // At first in the order in which they are listed.
            if course.survived.is_empty() {
                next.reverse();
            } else {
                next.shuffle(&mut random);
            }
        }
        let Some(fault) = next.pop() else { break };
        if !fault.fits(layout, buffer) {
            continue;
        }
        if let Some(reason) = fault.impossible(&world) {
            course.impossible.push((fault, reason));
            continue;
        }
        tokio::time::sleep(CALM.mul_f64(random.random())).await;
        let injected = Instant::now();
        let injected_us = now_us();
        fault.inject(&mut world, &probes).await;
        tokio::time::sleep(fault.lasts(&mut random)).await;
        // What was changed last stays until the comparison: changes during the fault, or after it.
        let paused = if fault.writers_may_pause_during() && random.random() {
            Some(traffic.writing.write().await)
        } else {
            None
        };
        fault.heal(&mut world, &probes).await;
        let (healed, healed_us) = (injected.elapsed(), now_us());
        let paused = match paused {
            Some(paused) => paused,
            None => {
                tokio::time::sleep(CALM.mul_f64(random.random())).await;
                traffic.writing.write().await
            }
        };
        let asked = Instant::now();
        findings = verify(&mut world, &traffic, &probes, paused).await;
        course.disturbances.push((injected_us, now_us()));
        course.periods.push(Period {
            fault,
            injected_us,
            healed_us,
            buffered_us: findings.buffered_us,
        });
        if fault.pays_twice() {
            course.excuses.push((injected_us, now_us()));
        }
        course.edge_took = course.edge_took.max(findings.edge_took);
        println!(
            "soak: {:>4} s: {fault:?} for {:.1} s, quiet after {:.1} s, {} stale, {} unsent, {} too early, {} given up",
            begun.elapsed().as_secs(),
            healed.as_secs_f64(),
            asked.elapsed().as_secs_f64(),
            findings.stale.len(),
            findings.unsent.len(),
            findings.too_early.len(),
            findings.buried.len(),
        );
        match course.survived.iter_mut().find(|(of, _)| *of == fault) {
            Some((_, times)) => *times += 1,
            None => course.survived.push((fault, 1)),
        }
    }
    course.ran_for = begun.elapsed();
    if findings.none() {
        let paused = traffic.writing.write().await;
        findings = verify(&mut world, &traffic, &probes, paused).await;
    }
    traffic.over.cancel();
    let report = Report::new(&world, &traffic, &probes, course, findings);
    tasks.abort_all();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            assert!(
                error.is_cancelled(),
                "a task of the harness panicked: {error}"
            );
        }
    }
    world.stop_evictd().await;
    report
}

/// Everything that is not evictd.
fn start(world: &World, traffic: &Arc<Traffic>, probes: &Arc<Probes>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..WRITERS {
        tasks.spawn(Writer::new(traffic, number, &world.database).run());
    }
    let mut number = 0;
    for shape in Shape::ALL {
        for (manner, lagging, readers) in [
            (Manner::Prompt, false, 2),
            (Manner::Prompt, true, 2),
            (Manner::Pausing, false, 12),
        ] {
            for _ in 0..readers {
                let (database, cache) = if lagging {
                    let database = Endpoint::new(world.lagging_database.port());
                    (database, world.lagging_cache())
                } else {
                    (world.database.clone(), world.redis.address())
                };
                number += 1;
                let reader = Reader {
                    traffic: Arc::clone(traffic),
                    number,
                    shape,
                    manner,
                    database: Database::new(&database),
                    cache: Cache::new(&cache),
                    fill_within: FILL_WITHIN,
                };
                tasks.spawn(reader.run());
            }
        }
    }
    for _ in 0..PROBERS {
        tasks.spawn(Arc::clone(probes).probe(world.database.clone()));
    }
    tasks.spawn(Arc::clone(probes).watch());
    tasks.spawn(refused::write(Arc::clone(traffic), world.database.clone()));
    let times = Arc::clone(&probes.committed);
    let database = world.database.clone();
    tasks.spawn(spy::spy(Arc::clone(traffic), database, times));
    tasks
}
