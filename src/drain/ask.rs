//! One request of a round, until the edge has answered it, and the messages that
//! it completes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use metrics::{counter, histogram};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::distribution::{Distribution, LISTED_WITHIN, Recalled};
use super::parts::DrainParts;
use super::poller::AGAIN_AFTER;
use super::tenant_lookup;
use super::verdict::{Verdict, verdict};
use crate::buffer::Buffer;
use crate::edge::cover::request::{Gathering, NextRequest};
use crate::edge::{AcceptedInvalidation, Edge, EdgeError, Scope};
use crate::model::{CommitTime, Sent};
use crate::progress::backoff::Backoff;
use crate::telemetry::{metric, repeating};

const DELETE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// After so many attempts a message is let go. It comes back, and its request is
/// repeated under the same name.
const DELETE_ATTEMPTS_MAX: u32 = 5;

/// Time after which a wait for room is trouble. Most invalidations complete within
/// 25 s.
const ROOM_WITHIN: Duration = Duration::from_secs(60);

/// Time for an answer. After that the edge is asked again beside the call, which may
/// hang until its timeout.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// So many calls for one request at a time.
const CALLS_MAX: usize = 4;

/// A round's way to the edge.
pub(super) struct Delivery<'a, B: Buffer, E> {
    pub(super) parts: &'a DrainParts<B, E>,
    pub(super) distribution: &'a Distribution,
    /// The distribution's name in the configuration.
    pub(super) name: Arc<str>,
    /// Its id, and the tenant.
    pub(super) scope: Scope,
    /// Whether it asks for what was refused before. If so, an acceptance ends the
    /// suspension.
    pub(super) retries: bool,
}

/// When the wait for room began; `None` if nothing has waited for it.
pub(super) type RoomWait = Option<(Instant, Timestamp)>;

/// The basis of a request that waits for its turn: what was left to send when it was put
/// together. An acceptance may leave less.
#[derive(Debug, Default)]
pub(super) struct Basis {
    /// The number of acceptances by then. `None`: later ones make no difference.
    acceptances: Option<u64>,
    /// Whether a turn was granted that no request has used yet.
    has_turn: bool,
}

impl Basis {
    /// The next request is put together after so many acceptances.
    pub(super) fn after(&mut self, acceptances: Option<u64>) {
        self.acceptances = acceptances;
    }
}

/// The edge's answer to a request.
pub(super) enum Answer {
    /// It is made.
    Accepted,
    /// There is no room for it, and it is certainly not made.
    NoRoom,
    /// Its name is taken, and it is not made.
    NameTaken,
    /// The drain stops, and it is certainly not made.
    Stopping,
    /// It was not asked for: others were accepted since it was put together, and may cover it.
    Outdated,
    /// It is not made, for this reason.
    Refused(Verdict, EdgeError),
}

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Finds out which of these paths somebody has sent, and leaves them out.
    /// Returns the messages that this completes.
    ///
    /// The edge's list is late by seconds. Whoever sent the paths of a message that
    /// comes back has not extended its visibility timeout lately: with one of half a
    /// minute the list has caught up by then, and with a shorter one the recall is
    /// repeated until it must have. So it is where a process that is gone had a
    /// request under way just before. Bounded: a few calls every three seconds, for
    /// a quarter of a minute.
    pub(super) async fn recall(&self, paths: &mut Gathering) -> Vec<Arc<str>> {
        self.distribution.read_log().await;
        let mut complete = self.covered(paths);
        let began = Instant::now();
        // Its sender lived for a third of a visibility timeout after it extended it.
        let since_sent = self.parts.buffer.visibility() * 2 / 3;
        let received_again = LISTED_WITHIN.saturating_sub(since_sent);
        while let Some(since) = paths.oldest() {
            let mut until = began;
            for (_, arrival) in paths.arrivals() {
                if arrival.deliveries > 1 {
                    until = until.max(began + received_again);
                }
                until = until.max(
                    self.distribution
                        .doubted_until(arrival.sent)
                        .unwrap_or(until),
                );
            }
            let looked_at = Instant::now();
            let recall = async {
                if self.scope.tenant.is_none() {
                    return self.distribution.recall(since).await;
                }
                let (edge, rate_limit) = (&*self.parts.edge, &*self.parts.rate_limit);
                let distribution = self.distribution;
                tenant_lookup::recall(edge, rate_limit, distribution, &self.scope, since).await
            };
            let Some(recalled) = self.goes_on(false, recall).await else {
                break;
            };
            complete.extend(self.covered(paths));
            if recalled == Recalled::InPart {
                until = until.max(began + LISTED_WITHIN);
            }
            if recalled == Recalled::Nothing || looked_at >= until {
                break;
            }
            let again_at = until.min(Instant::now() + AGAIN_AFTER);
            self.goes_on(false, sleep_until(again_at)).await;
        }
        complete
    }

    /// Leaves out the paths that earlier invalidations cover: they are done.
    pub(super) async fn leave_out(&self, round: &mut Gathering) {
        let complete = self.covered(round);
        self.delete(&complete).await;
    }

    /// Leaves out the same, and returns the messages that it completes.
    pub(super) fn covered(&self, round: &mut Gathering) -> Vec<Arc<str>> {
        let (paths, complete) = self.distribution.leave_out(&self.scope, round);
        if paths > 0 {
            counter!(metric::EDGE_PATHS_COVERED, "distribution" => self.name.to_string())
                .increment(u64::try_from(paths).unwrap_or(u64::MAX));
            info!(distribution = %self.name, paths, messages = complete.len(), "paths are covered by invalidations made after their changes");
        }
        complete
    }

    /// Waits before a request is made, or is made again; `None` if the drain stops. A
    /// request that is in doubt is repeated all the same.
    pub(super) async fn goes_on<T>(
        &self,
        in_doubt: bool,
        wait: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            () = self.parts.stopping.cancelled(), if !in_doubt => None,
            waited = wait => Some(waited),
        }
    }

    /// Waits until something may have completed.
    pub(super) async fn wait(&self, paths: usize, waits: &mut RoomWait) {
        let (begun, since) = *waits.get_or_insert_with(|| {
            counter!(metric::EDGE_QUOTA_WAITS, "distribution" => self.name.to_string())
                .increment(1);
            info!(distribution = %self.name, paths, "paths wait until others in progress complete");
            (Instant::now(), Timestamp::now())
        });
        self.goes_on(false, self.distribution.wait_for_room()).await;
        if begun.elapsed() >= ROOM_WITHIN {
            let trouble = format!(
                "{paths} paths wait for room: CloudFront has as many invalidations of the \
                 distribution in progress as it takes; find out what else invalidates there, \
                 and see AWS's status page if none completes"
            );
            self.lacks_room(since, trouble);
        }
    }

    /// Counts the batch and sends it, until it is accepted or certainly not made. While
    /// it waits to be made again, nothing says that it may have been, unless it may.
    pub(super) async fn ask(&self, batch: &mut NextRequest, basis: &mut Basis) -> Answer {
        // An attempt whose answer was lost may have been accepted: from then
        // on it is this batch or nothing, or it could be paid for twice.
        let mut in_doubt = false;
        let mut has_failed = self.retries || self.scope.tenant.is_none();
        loop {
            if !basis.has_turn {
                let turn = self.parts.rate_limit.turn();
                if self.goes_on(in_doubt, turn).await.is_none() {
                    return Answer::Stopping;
                }
            }
            basis.has_turn = true;
            let now = self.distribution.acceptances();
            if !in_doubt && basis.acceptances.is_some_and(|known| known != now) {
                return Answer::Outdated;
            }
            basis.has_turn = false;
            if !in_doubt {
                let horizon = self.distribution.horizon(batch.horizon(), self.last_sent());
                batch.reach(horizon);
            }
            self.count_open(batch).await;
            self.parts.in_flight.asking(&batch.messages);
            let (answer, others_hang) = self.call(batch).await;
            in_doubt |= others_hang;
            let error = match answer {
                Ok(accepted) => {
                    self.parts.in_flight.answered(&batch.messages);
                    self.accepted(batch, &accepted.id, has_failed).await;
                    return Answer::Accepted;
                }
                Err(error) => error,
            };
            let verdict = verdict(&error);
            in_doubt |= verdict == Verdict::Repeat;
            has_failed = true;
            // Of these three the last answer says nothing of an earlier one.
            let may_pass = matches!(verdict, Verdict::Repeat | Verdict::Slower | Verdict::Room);
            if !(in_doubt && may_pass) {
                self.parts.in_flight.answered(&batch.messages);
                self.count_not_made(batch).await;
            }
            match verdict {
                Verdict::Repeat | Verdict::Slower => {
                    self.goes_on(in_doubt, self.pause(&error, batch)).await;
                }
                Verdict::Room => {
                    let room = async {
                        self.pause(&error, batch).await;
                        self.distribution.look_again().await;
                    };
                    let waited = self.goes_on(in_doubt, room).await;
                    if !in_doubt {
                        self.distribution.had_no_room(batch);
                        return waited.map_or(Answer::Stopping, |()| Answer::NoRoom);
                    }
                }
                Verdict::Rename => {
                    let waited = self.goes_on(false, self.pause(&error, batch)).await;
                    return waited.map_or(Answer::Stopping, |()| Answer::NameTaken);
                }
                Verdict::Halve
                | Verdict::Isolate
                | Verdict::NoTenant
                | Verdict::Outage
                | Verdict::Unclear => return Answer::Refused(verdict, error),
            }
        }
    }

    /// Asks, and once more every few seconds without an answer: all calls have one name,
    /// so that they are one request. Returns the first answer, and whether another call
    /// has none.
    async fn call(&self, batch: &NextRequest) -> (Result<AcceptedInvalidation, EdgeError>, bool) {
        let within = ANSWER_WITHIN.max(self.parts.rate_limit.time_of(2));
        let mut calls = FuturesUnordered::new();
        calls.push(self.parts.edge.invalidate(&batch.invalidation));
        let mut again_at = Instant::now() + within;
        loop {
            tokio::select! {
                biased;
                Some(answer) = calls.next() => match &answer {
                    // The others ask for the same, so that there is no need to pause.
                    Err(error) if verdict(error) == Verdict::Repeat && !calls.is_empty() => {
                        self.count_retry(error);
                        continue;
                    }
                    _ => return (answer, !calls.is_empty()),
                },
                () = sleep_until(again_at), if calls.len() < CALLS_MAX => {}
            }
            let trouble = format!(
                "distribution {}: CloudFront has not answered for {within:?}; see AWS's status page, and the network",
                self.scope.distribution
            );
            repeating!(warn, &self.name, { distribution = %self.name, paths = batch.invalidation.paths.len() },
                "CloudFront does not answer; asking once more under the same name");
            self.in_trouble(Timestamp::now(), trouble);
            self.parts.rate_limit.turn().await;
            calls.push(self.parts.edge.invalidate(&batch.invalidation));
            again_at = Instant::now() + within;
        }
    }

    /// The newest message that this process has made, if it makes them.
    fn last_sent(&self) -> Option<Sent> {
        *self.parts.options.last_sent.as_ref()?.borrow()
    }

    async fn accepted(&self, batch: &NextRequest, id: &str, has_failed: bool) {
        self.distribution.accepted(&self.name, batch, id);
        self.record(batch, id).await;
        self.report_accepted(batch, id);
        self.recovered();
        // That a tenant's paths are accepted says nothing of those that another's are
        // denied for.
        let suspension = self.distribution.suspension(&self.scope.tenant);
        if let Some(attempts) = has_failed.then(|| suspension.is_over()).flatten() {
            info!(distribution = %self.name, attempts, "the edge accepts invalidations again");
        }
    }

    async fn pause(&self, error: &EdgeError, batch: &NextRequest) {
        self.count_retry(error);
        let paths = batch.invalidation.paths.len();
        let delay = self.refused_for_now(error, paths);
        let committed_at = batch.committed_at.and_then(CommitTime::timestamp);
        let oldest = committed_at.map(|at| format!(", the oldest of a change at {at:.0}"));
        let oldest = oldest.unwrap_or_default();
        let trouble = format!("{error}; paths of the request: {paths}{oldest}");
        self.in_trouble(Timestamp::now(), trouble);
        tokio::time::sleep(delay).await;
    }

    /// The edge does not take paths now, for a reason that is not about them, or may not
    /// be. Returns the pause before it is asked again.
    pub(super) fn refused_for_now(&self, error: &EdgeError, paths: usize) -> Duration {
        self.in_trouble(Timestamp::now(), error.to_string());
        let suspension = self.distribution.suspension(&self.scope.tenant);
        let (delay, is_news) = suspension.failed(error);
        if is_news {
            warn!(distribution = %self.name, tenant = self.scope.tenant.as_deref(), error = %error, retry_in = ?delay, paths, "the edge did not accept an invalidation; trying again until it does");
        }
        delay
    }

    pub(super) async fn delete(&self, complete: &[Arc<str>]) {
        if complete.is_empty() {
            return;
        }
        let mut receipts = Vec::with_capacity(complete.len());
        for message in self.parts.in_flight.leaving(complete) {
            if let Some(committed_at) = message.committed_at {
                histogram!(metric::COMMIT_TO_EDGE_ACCEPTED, "distribution" => self.name.to_string())
                    .record(committed_at.age());
            }
            receipts.push(message.receipt);
        }
        let mut deleted = receipts.len();
        let mut backoff = Backoff::new(DELETE_BACKOFF.0, DELETE_BACKOFF.1);
        while let Err(error) = self.parts.buffer.delete(&receipts).await {
            counter!(metric::BUFFER_ERRORS, "operation" => "delete").increment(1);
            receipts = error.failed;
            if backoff.attempts() + 1 >= DELETE_ATTEMPTS_MAX {
                deleted -= receipts.len().min(deleted);
                repeating!(warn, &self.name, { distribution = %self.name, messages = receipts.len(), error = %error.cause },
                    "could not delete messages the edge accepted; they come back and are sent again");
                break;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
        counter!(metric::BUFFER_MESSAGES_DELETED)
            .increment(u64::try_from(deleted).unwrap_or(u64::MAX));
        self.parts.in_flight.release(complete);
    }
}
