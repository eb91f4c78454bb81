//! The task that keeps asking the edge about one distribution.
//!
//! CloudFront has a quota of paths in progress that everybody who invalidates
//! shares, tells nobody when an invalidation completes, and throttles the calls
//! that ask. So one task for each distribution looks at its list of
//! invalidations, within the rate limit, and rounds wait for its looks instead of
//! asking themselves. An idle distribution is not looked at.
//!
//! A look finds out
//!
//! - what is in progress, and thus how much room the quota leaves;
//! - what has completed since the last look, to measure how long it took, and
//!   what takes too long, to report it;
//! - what was made lately, when messages were received again (a *recall*):
//!   another drain, or this one before a crash, may have sent their paths and not
//!   lived to delete them;
//! - whether requests were made that a crash left open in the month's count (its
//!   *orphans*).
//!
//! A look can fail. Then the drain goes by what the edge accepts and refuses, and
//! a recall is repeated a few times before paths are sent again: they may be paid
//! for twice, but no change waits for ever. A look is also bounded, in pages and
//! in reads: what others have in progress is read a few at a time, and rounds do
//! not wait for it. The edge's list may be late, and know of an invalidation that
//! cannot be read yet. So an orphan is looked for, every few seconds, until the list
//! must have it; rounds repeat their recalls likewise (`ask`). The list does not show invalidations of tenants: those in progress
//! are read one by one here, and earlier ones in `tenant_lookup`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics::{counter, histogram};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::distribution::{
    Distribution, DistributionState, PAGES_MAX, READING_MAX, publish, started_at,
};
use crate::edge::budget::Budget;
use crate::edge::rate_limit::RateLimit;
use crate::edge::{Edge, EdgeError, EdgeErrorKind, Listed, Made, Scope};
use crate::progress::backoff::Backoff;
use crate::telemetry::metric;

/// While something is in progress, looks are as far apart as so many calls take
/// at the rate limit.
const CALLS_PER_LOOK: u32 = 5;
/// The same while a round waits for something to complete.
const CALLS_PER_URGENT_LOOK: u32 = 2;

/// Every tenant's invalidation is a call of its own: made after the time in which
/// most complete,
const TENANTS_AFTER: Duration = Duration::from_secs(25);
/// and for a few of them at a look.
const TENANTS_MAX: usize = 10;

/// What others have in progress is read for so long in one look.
const OTHERS_READING_MAX: Duration = Duration::from_secs(5);

/// Pause before the next look for what the edge's list may not show yet.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(3);

const LOOK_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Messages that were received again wait for so many looks at what was made
/// meanwhile. To send a change matters more than not to pay for it twice.
const LOOKS_FOR_RECALL: u32 = 5;

/// Keeps a [`Distribution`] up to date.
pub(super) struct Poller<E> {
    pub(super) edge: Arc<E>,
    pub(super) rate_limit: Arc<RateLimit>,
    pub(super) budget: Arc<Budget>,
    pub(super) distribution: Arc<Distribution>,
    /// The distribution's name in the configuration.
    pub(super) name: Arc<str>,
    /// Its id at the edge.
    pub(super) id: Arc<str>,
    /// Time for which an invalidation may be in progress before it is reported.
    pub(super) overdue_after: Duration,
}

impl<E: Edge> Poller<E> {
    /// Looks for ever: at once, while something is in progress, and when asked.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(LOOK_BACKOFF.0, LOOK_BACKOFF.1);
        let mut failing = false;
        let mut in_doubt_since = self.look_for_orphans().await;
        loop {
            let began = Instant::now();
            self.distribution.read_log().await;
            let recall = {
                let mut state = self.distribution.lock();
                state.now = false;
                state.recall.take()
            };
            let pause = match self.look(recall).await {
                Ok(complete) => {
                    if std::mem::take(&mut failing) {
                        info!(distribution = %self.name, "the edge says again what is in progress");
                    }
                    backoff.reset();
                    self.distribution.lock().unanswered = 0;
                    // Only a look that reached back to the orphans can tell.
                    if in_doubt_since.is_some_and(|since| recall.is_some_and(|from| from <= since))
                    {
                        self.settle_orphans(began, complete).await;
                    }
                    None
                }
                Err(error) => {
                    counter!(metric::EDGE_LOOKS_FAILED, "error" => error.name()).increment(1);
                    if !std::mem::replace(&mut failing, true) {
                        warn!(distribution = %self.name, error = %error, "cannot ask what is in progress; going by what the edge accepts and refuses");
                    }
                    if !self.go_on_without_answer(&error, recall) {
                        self.settle_orphans(began, false).await;
                    }
                    Some(backoff.next_delay())
                }
            };
            in_doubt_since = in_doubt_since.filter(|since| {
                let mut state = self.distribution.lock();
                let in_doubt = !state.in_doubt.is_empty();
                if in_doubt {
                    state.recall_since(*since);
                }
                in_doubt
            });
            self.report_overdue();
            {
                let mut state = self.distribution.lock();
                state.ended += u64::from(!state.now);
            }
            self.distribution.looks.send_modify(|looks| *looks += 1);
            self.rest(began, pause).await;
        }
    }

    /// A look failed. A recall is not forgotten because of that: what was made
    /// and is not seen is paid for twice. Returns whether it is repeated.
    fn go_on_without_answer(&self, error: &EdgeError, recall: Option<SystemTime>) -> bool {
        let mut state = self.distribution.lock();
        state.in_progress.forget_old(Instant::now());
        state.unanswered = state.unanswered.saturating_add(1);
        let Some(since) = recall else {
            return true;
        };
        if error.is_transient() && state.unanswered < LOOKS_FOR_RECALL {
            state.recall_since(since);
            state.now = true;
            true
        } else {
            warn!(distribution = %self.name, "it is not known what was made lately; paths of messages that are received again may be paid for twice");
            false
        }
    }

    /// Waits until it is time for the next look.
    async fn rest(&self, began: Instant, pause: Option<Duration>) {
        loop {
            let wish = self.distribution.wish.notified();
            let Some(after) = self.next_after(pause) else {
                wish.await;
                continue;
            };
            let due = began + after;
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = wish => {}
            }
        }
    }

    /// Time from one look to the next, after a failure with a `pause` of its own;
    /// `None`: none is needed.
    fn next_after(&self, pause: Option<Duration>) -> Option<Duration> {
        let state = self.distribution.lock();
        let idle = state.in_progress.is_empty() && !state.unread;
        let calls = match (state.now, state.waiting, idle) {
            (true, ..) => Some(0),
            (false, 1.., _) => Some(CALLS_PER_URGENT_LOOK),
            (false, 0, false) => Some(CALLS_PER_LOOK),
            (false, 0, true) => None,
        };
        let after = calls.map(|calls| pause.unwrap_or_else(|| self.rate_limit.time_of(calls)));
        if state.in_doubt.is_empty() {
            return after;
        }
        let again = pause.unwrap_or(AGAIN_AFTER);
        Some(after.map_or(again, |after| after.min(again)))
    }

    /// Asks what is in progress, and what was made since `recall`. Returns
    /// whether everything was read that is recalled, but for what cannot be read yet.
    async fn look(&self, recall: Option<SystemTime>) -> Result<bool, EdgeError> {
        let known: Vec<String> = {
            let state = self.distribution.lock();
            state.in_progress.ids().map(str::to_owned).collect()
        };
        let scope = Scope::of(&self.id);
        let mut to_recall = Vec::new();
        let mut running = Vec::new();
        let mut listed = HashSet::new();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            self.rate_limit.turn().await;
            let page = self.edge.list(&scope, from).await?;
            let mut more = false;
            for Listed {
                id,
                made_at,
                completed,
            } in page.invalidations
            {
                let recalled = recall.is_some_and(|since| made_at >= since);
                more |= recalled || !completed;
                let mut state = self.distribution.lock();
                let paths = state.read.peek(&id).copied();
                match (completed, paths) {
                    (true, _) => self.completed(&mut state, &id),
                    (false, Some(paths)) => {
                        state
                            .in_progress
                            .start(&id, paths, started_at(made_at), None);
                    }
                    (false, None) => {}
                }
                if paths.is_none() && recalled {
                    to_recall.push((id.clone(), made_at));
                } else if paths.is_none() && !completed {
                    running.push((id.clone(), made_at));
                }
                listed.insert(id);
            }
            from = page.next;
            if !more || from.is_none() {
                break;
            }
        }
        // What has slipped off the pages.
        let slipped = known.into_iter().filter(|id| !listed.contains(id));
        running.extend(slipped.map(|id| (id, SystemTime::now())));
        let complete = to_recall.len() <= self.calls_within(READING_MAX);
        if !complete {
            warn!(distribution = %self.name, invalidations = to_recall.len(), "too many invalidations to read them all; some paths may be paid for twice");
            to_recall.truncate(self.calls_within(READING_MAX));
        }
        // The oldest first: the newest are to be remembered longest.
        let mut missing = false;
        for (id, made_at) in to_recall.into_iter().rev() {
            missing |= !self.read(&scope, &id, made_at).await?;
        }
        let unread = running.len() > self.calls_within(OTHERS_READING_MAX);
        running.truncate(self.calls_within(OTHERS_READING_MAX));
        for (id, made_at) in running.into_iter().rev() {
            self.read(&scope, &id, made_at).await?;
        }
        {
            let mut state = self.distribution.lock();
            (state.missing, state.unread) = (missing, unread);
        }
        self.look_at_tenants().await?;
        publish(&self.name, self.distribution.lock().in_progress.used());
        Ok(complete)
    }

    /// Reads an invalidation. Returns whether that can be done: one that was made just
    /// now may be listed and not be there yet.
    async fn read(&self, scope: &Scope, id: &str, made_at: SystemTime) -> Result<bool, EdgeError> {
        self.rate_limit.turn().await;
        match self.edge.read(scope, id).await {
            Ok(made) => {
                self.learn(scope, id, made_at, &made);
                Ok(true)
            }
            Err(error) if error.kind == EdgeErrorKind::NoSuchInvalidation => {
                counter!(metric::EDGE_LOOKS_FAILED, "error" => error.name()).increment(1);
                let mut state = self.distribution.lock();
                state.in_progress.forget_if_old(id, Instant::now());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Number of calls that the rate limit allows in this time.
    fn calls_within(&self, time: Duration) -> usize {
        let calls = time.as_nanos() / self.rate_limit.time_of(1).as_nanos().max(1);
        usize::try_from(calls).unwrap_or(usize::MAX).max(1)
    }

    fn learn(&self, scope: &Scope, id: &str, made_at: SystemTime, made: &Made) {
        let mut state = self.distribution.lock();
        if made.completed {
            self.completed(&mut state, id);
        }
        state.learn(scope, id, made_at, made);
    }

    /// Asks whether the oldest of what is in progress for tenants has completed.
    async fn look_at_tenants(&self) -> Result<(), EdgeError> {
        let in_progress = {
            let state = self.distribution.lock();
            state.in_progress.of_tenants(Instant::now(), TENANTS_AFTER)
        };
        for (id, tenant) in in_progress.into_iter().take(TENANTS_MAX) {
            let scope = Scope {
                tenant: Some(tenant),
                ..Scope::of(&self.id)
            };
            self.rate_limit.turn().await;
            let completed = match self.edge.read(&scope, &id).await {
                Ok(made) => made.completed,
                Err(error) if error.kind == EdgeErrorKind::NoSuchInvalidation => false,
                // It is gone, with all that was in progress for it.
                Err(error) if matches!(error.kind, EdgeErrorKind::NoSuchTenant { .. }) => true,
                Err(error) => return Err(error),
            };
            if completed {
                self.completed(&mut self.distribution.lock(), &id);
            }
        }
        Ok(())
    }

    fn completed(&self, state: &mut DistributionState, id: &str) {
        if let Some(committed_at) = state.in_progress.complete(id) {
            histogram!(metric::COMMIT_TO_EDGE_COMPLETED, "distribution" => self.name.to_string())
                .record(committed_at.age());
        }
    }

    fn report_overdue(&self) {
        let overdue = self
            .distribution
            .lock()
            .in_progress
            .newly_overdue(Instant::now(), self.overdue_after);
        for invalidation in overdue {
            counter!(metric::EDGE_OVERDUE, "distribution" => self.name.to_string()).increment(1);
            error!(distribution = %self.name, invalidation, after = ?self.overdue_after, "an invalidation does not complete; see AWS's status page and the distribution in the console");
        }
    }
}
