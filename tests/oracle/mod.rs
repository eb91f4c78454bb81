//! The machine that looks for the next fault.
//!
//! From a seed it draws a case: tables, rules about them, settings, and a list of steps, which are statements, readers
//! that fill (also late), and what becomes of evictd. It plays the case on real servers. Whenever evictd is done, each
//! entry is compared with what an application would build from the rows at that moment. That is rendered by the server,
//! and without evictd's code. Copies at CloudFront are compared too, and entries must be there still of which nothing was
//! changed. A case that fails is shrunk to the shortest one that still fails, and printed with its seed.
//!
//! - [`case`]: a case. [`schema`], [`columns`], [`rules`], [`settings`], [`steps`], [`dml`], [`ddl`]: its parts.
//!   [`draw`]: what is random.
//! - [`topology`]: what evictd works with in a case. [`fates`]: what becomes of all that.
//! - [`world`]: a case while it runs. [`evictd`], [`servers`], [`redis`], [`held`]: what becomes of evictd and of the servers. [`config`]: the
//!   configuration in force. [`lane`]: the servers. [`cache`], [`edge`]: what applications and viewers do.
//! - [`snapshot`]: what an application would build from the rows. [`verify`]: the comparison. [`failure`]: what it finds.
//! - [`shrink`]: the shortest case that fails. [`tally`]: what was drawn.
//!
//! docs/testing.md tells how to draw something new. Environment variables:
//!
//! - `ORACLE_SECONDS`: how long; otherwise a hundred cases, or as many as fit into a minute and a half.
//! - `ORACLE_SEED`: a seed that was printed before, this case alone; with `ORACLE_SECONDS` again and again.
//! - `ORACLE_WITH`: only cases that have all of these kinds, as the table of a run names them, with semicolons between.
//! - `ORACLE_SHRINK_SECONDS`: how long a case that fails is shrunk, 120.
//! - `ORACLE_BINARY`: another evictd than the one that was built with the harness.
//! - `ORACLE_LANES`: how many cases at a time. Each has a MySQL and a Redis of its own.

mod cache;
mod case;
mod columns;
mod config;
mod ddl;
mod dml;
mod draw;
mod edge;
mod evictd;
mod failure;
mod fates;
mod held;
mod lane;
mod redis;
mod rules;
mod schema;
mod servers;
mod settings;
mod shrink;
mod snapshot;
mod steps;
mod tally;
mod topology;
mod verify;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use case::Case;
use failure::Failure;
use lane::{Lane, Server};
use shrink::Shrunk;
use tally::Tally;
use world::{Done, play};

/// Of a run that is not told how long.
const CASES: u64 = 100;
const SECONDS: u64 = 90;

/// Most of a case is waiting.
const LANES: usize = 5;

/// Far more than any case takes: evictd is given up before.
const CASE_WITHIN: Duration = Duration::from_secs(300);

/// How long a failing case may be shrunk.
const SHRINK_SECONDS: u64 = 120;

/// Far more than it takes to draw one that fails, where keys do not settle.
const CASES_WITHOUT_SETTLING: u64 = 60;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn is_asked_for(case: &Case) -> bool {
    let asked = std::env::var("ORACLE_WITH").unwrap_or_default();
    let kinds = case.kinds();
    let mut asked = asked
        .split(';')
        .map(str::trim)
        .filter(|kind| !kind.is_empty());
    asked.all(|asked| kinds.iter().any(|(_, kind)| kind == asked))
}

/// The server of a lane: one that cases that are asked for fit.
fn server(lane: usize) -> Server {
    loop {
        let case = Case::draw(rand::random_range(0..u64::from(u32::MAX)));
        let server = Server::of(&case.settings);
        let is_in_turn = server == Server::KINDS[lane % Server::KINDS.len()];
        if is_asked_for(&case) && (is_in_turn || std::env::var("ORACLE_WITH").is_ok()) {
            return server;
        }
    }
}

/// Where lanes get their cases from, and leave what became of them.
struct Run {
    settles: bool,
    seed: Option<u64>,
    begun: Instant,
    until: Instant,
    cases: u64,
    drawn: AtomicU64,
    tally: Mutex<Tally>,
    failed: Mutex<Option<Found>>,
}

/// A case that fails.
struct Found {
    case: Case,
    failure: Failure,
    after: Duration,
    cases: u64,
}

impl Run {
    fn new(settles: bool, seconds: u64, cases: u64) -> Self {
        Self {
            settles,
            seed: None,
            begun: Instant::now(),
            until: Instant::now() + Duration::from_secs(seconds),
            cases,
            drawn: AtomicU64::new(0),
            tally: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until || self.failed.lock().expect("no lane panics").is_some()
    }

    /// The next case that fits the lane's server.
    fn next(&self, server: Server) -> Option<Case> {
        if self.is_over() || self.drawn.fetch_add(1, Ordering::Relaxed) >= self.cases {
            return None;
        }
        if let Some(seed) = self.seed {
            return Some(Case::draw(seed));
        }
        while !self.is_over() {
            let case = Case::draw(rand::random_range(0..u64::from(u32::MAX)));
            if Server::of(&case.settings) == server && is_asked_for(&case) {
                return Some(case);
            }
        }
        None
    }

    /// Plays cases until one fails or the run is over.
    async fn lane(&self, server: Server) {
        let mut lane = Lane::start(server, self.settles).await;
        while let Some(case) = self.next(server) {
            let playing = tokio::time::timeout(CASE_WITHIN, play(&mut lane, &case));
            let Ok(played) = playing.await else {
                panic!("the harness does not get on, which says nothing of evictd:\n{case}");
            };
            let cases = self.count(&case, played.as_ref().cloned().unwrap_or_default());
            let Err(failure) = played else { continue };
            let found = Found {
                case,
                failure,
                after: self.begun.elapsed(),
                cases,
            };
            if self.is_first(found) && self.settles {
                self.shrink(&mut lane).await;
            }
            return;
        }
    }

    fn count(&self, case: &Case, done: Done) -> u64 {
        let mut tally = self.tally.lock().expect("no lane panics");
        tally.add(case, done);
        tally.cases
    }

    /// Only the first one is shrunk.
    fn is_first(&self, found: Found) -> bool {
        println!("oracle: seed {}: {}", found.case.seed, found.failure);
        let mut failed = self.failed.lock().expect("no lane panics");
        let first = failed.is_none();
        if first {
            *failed = Some(found);
        }
        first
    }

    async fn shrink(&self, lane: &mut Lane) {
        let (case, failure) = {
            let failed = self.failed.lock().expect("no lane panics");
            let found = failed.as_ref().expect("it was put there");
            println!(
                "oracle: after {:.0} s and {} cases: {}\noracle: the case as it was drawn:\n{}",
                found.after.as_secs_f64(),
                found.cases,
                found.failure,
                found.case
            );
            (found.case.clone(), found.failure.clone())
        };
        let seconds = number("ORACLE_SHRINK_SECONDS").unwrap_or(SHRINK_SECONDS);
        let until = Instant::now() + Duration::from_secs(seconds);
        let shrunk = Shrunk::of(lane, case, failure, until).await;
        println!(
            "{}\noracle: the shortest that fails, after {} tries: {}\n{}\noracle: repeat it with ORACLE_SEED={}",
            shrunk.failure.log, shrunk.tried, shrunk.failure, shrunk.case, shrunk.case.seed
        );
    }

    /// With so many lanes, on servers of different kinds.
    async fn play(self, lanes: usize) -> Self {
        let run = &self;
        let lanes = (0..lanes).map(|number| {
            let server = match run.seed {
                Some(seed) => Server::of(&Case::draw(seed).settings),
                None => server(number),
            };
            run.lane(server)
        });
        join_all(lanes).await;
        println!("{}", run.tally.lock().expect("no lane panics"));
        println!("oracle: {:.0} s", run.begun.elapsed().as_secs_f64());
        self
    }

    fn found(&self) -> bool {
        self.failed.lock().expect("no lane panics").is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes the machine for a minute and a half, or for as long as it is asked to: make test runs it by itself, and make oracle"]
async fn entries_say_what_their_rows_say_whatever_is_drawn() {
    let seconds = number("ORACLE_SECONDS");
    let seed = number("ORACLE_SEED");
    let cases = match (seconds, seed) {
        (Some(_), _) => u64::MAX,
        (None, Some(_)) => 1,
        (None, None) => CASES,
    };
    let mut run = Run::new(true, seconds.unwrap_or(SECONDS), cases);
    run.seed = seed;
    let lanes = if seed.is_some() { 1 } else { LANES };
    let lanes = number("ORACLE_LANES").map_or(lanes, |lanes| usize::try_from(lanes).unwrap());
    let run = run.play(lanes).await;
    assert!(!run.found(), "see above");
}

/// The test above can fail.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "draws until it finds a case: make test runs it by itself, and make oracle"]
async fn without_settling_a_stale_entry_is_drawn() {
    let run = Run::new(false, u64::from(u32::MAX), CASES_WITHOUT_SETTLING);
    let run = run.play(1).await;
    let failed = run.failed.lock().expect("no lane panics");
    let kind = failed.as_ref().map(|found| found.failure.kind);
    assert_eq!(kind, Some(failure::Kind::Stale));
}
