//! A lane beside the batches: in one, what failed is tried again, and in another
//! keys are scanned for.
//!
//! Each has a connection of its own, so that nobody waits for what it does.

use std::future::Future;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::pass::Pass;
use super::remainder::{Attempted, Effort, Remainder};
use crate::cache::{Cache, CacheError, Refused};
use crate::model::KeySet;
use crate::model::cast::to_u64;
use crate::progress::board::{Component, Reports};
use crate::progress::outage::Outage;
use crate::telemetry::metric;

/// The two lanes, as seen by those who have jobs for them. What waits in them is
/// bounded by who sends it.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) retries: UnboundedSender<Job>,
    pub(super) scans: UnboundedSender<Job>,
    /// Jobs of which nothing remains.
    pub(super) done: UnboundedReceiver<Job>,
}

/// The lanes, and the work of each. It ends once the lanes are dropped.
pub(super) fn open<C: Cache>(
    reports: &Reports,
    retries: C,
    scans: C,
) -> (
    Lanes,
    impl Future<Output = ()> + Send + use<C>,
    impl Future<Output = ()> + Send + use<C>,
) {
    let outage = |what, part| Outage::new(what, metric::CACHE_RETRIES, &reports.board, part);
    let (to_retry, retried) = unbounded_channel();
    let (to_scan, scanned) = unbounded_channel();
    let (finished, done) = unbounded_channel();
    let retrying = outage("a part of the cache", Component::Retries);
    let scanning = outage("the cache for scans", Component::Scans);
    let retrying = work(retries, Effort::Brief, retrying, retried, finished.clone());
    let scanning = work(scans, Effort::Long, scanning, scanned, finished);
    let lanes = Lanes {
        retries: to_retry,
        scans: to_scan,
        done,
    };
    (lanes, retrying, scanning)
}

/// What remains of one deletion of a batch.
#[derive(Debug)]
pub(super) struct Job {
    /// The number of the batch.
    pub(super) number: u64,
    pub(super) rest: Remainder,
    /// Whether it remains of the first deletion, or the only one.
    pub(super) first: bool,
    /// When the second deletion follows, of the first.
    pub(super) again_at: Option<Instant>,
    /// Keys of members that it took out of their sets.
    pub(super) carried: KeySet,
    pub(super) refused: Vec<Refused>,
    /// Keys of the first deletion that were deleted.
    pub(super) deleted: u64,
}

impl Job {
    fn pass(&self) -> Pass {
        if !self.first {
            Pass::Again
        } else if self.again_at.is_some_and(|at| at > Instant::now()) {
            Pass::First
        } else {
            Pass::Once
        }
    }

    /// Keeps of the job what remains. `true` if nothing does.
    fn attempted(&mut self, attempted: Attempted, error: &mut Option<CacheError>) -> bool {
        let Attempted {
            refused,
            retries,
            scans,
            error: failure,
        } = attempted;
        self.refused.extend(refused);
        if self.first {
            let remain = retries.as_ref().map_or(0, |rest| rest.keys.len());
            self.deleted += to_u64(self.rest.keys.len().saturating_sub(remain));
            let left = std::mem::take(&mut self.rest.structures.carried);
            left.iter().for_each(|key| {
                self.carried.insert(key);
            });
        }
        *error = failure.or_else(|| error.take());
        let mut rests = [retries, scans].into_iter().flatten();
        match rests.next() {
            None => true,
            Some(mut rest) => {
                rests.for_each(|other| rest.add(*other));
                self.rest = *rest;
                false
            }
        }
    }

    /// Whether one attempt does for both: each scans for the same keys.
    fn scans_as(&self, other: &Job) -> bool {
        self.rest.only_scans() && other.rest.only_scans() && self.rest.wide == other.rest.wide
    }
}

/// Does jobs until there are no more to come, and returns each when nothing of it
/// remains.
///
/// Every round makes an attempt at each job in the order of their arrival. A scan
/// waits for tag sets before it ([`remainder`](super::remainder)).
async fn work(
    mut cache: impl Cache,
    effort: Effort,
    mut outage: Outage,
    mut jobs: UnboundedReceiver<Job>,
    done: UnboundedSender<Job>,
) {
    let mut pending: Vec<Job> = Vec::new();
    loop {
        if pending.is_empty() {
            match jobs.recv().await {
                Some(job) => pending.push(job),
                None => return,
            }
        }
        let mut error = None;
        let mut remaining: Vec<Job> = Vec::new();
        let mut round = std::mem::take(&mut pending).into_iter();
        while let Some(mut job) = round.next() {
            let blocked = remaining.iter().any(|job| job.rest.has_tag_sets());
            if blocked && !job.rest.wide.is_empty() {
                remaining.push(job);
                continue;
            }
            if done.is_closed() {
                return;
            }
            outage.started(effort == Effort::Long);
            let pass = job.pass();
            // Scans that were asked for by now are done with this one.
            while let Ok(job) = jobs.try_recv() {
                pending.push(job);
            }
            let (same, others): (Vec<Job>, Vec<Job>) = std::mem::take(&mut pending)
                .into_iter()
                .partition(|other| other.scans_as(&job));
            pending = others;
            match job.rest.attempt(&mut cache, pass, effort).await {
                Ok(attempted) => {
                    if job.attempted(attempted, &mut error) {
                        for job in std::iter::once(job).chain(same) {
                            if done.send(job).is_err() {
                                return;
                            }
                        }
                        continue;
                    }
                    remaining.push(job);
                    remaining.extend(same);
                }
                // Nothing can be done at the moment.
                Err(failure) => {
                    error = Some(failure);
                    remaining.push(job);
                    remaining.extend(same);
                    remaining.extend(round.by_ref());
                }
            }
        }
        remaining.append(&mut pending);
        pending = remaining;
        match error {
            Some(error) => outage.wait(error.code(), &error).await,
            None if pending.is_empty() => {
                outage.recovered();
                outage.idle();
            }
            None => outage.recovered(),
        }
    }
}
