//! One round of one distribution: its batches through the edge, and the
//! deletion of the messages they complete.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use metrics::{counter, histogram};
use tracing::{info, warn};

use super::DrainOptions;
use super::budget_metrics;
use super::dead_letters::DeadLetters;
use super::distribution::Standing;
use super::in_flight::InFlight;
use super::tenant_lookup;
use crate::buffer::Buffer;
use crate::edge::budget::{Budget, BudgetError};
use crate::edge::cover::request::{Gathering, NextRequest};
use crate::edge::invalidation_log::{History, Past};
use crate::edge::rate_limit::Pace;
use crate::edge::{Edge, EdgeError, EdgeErrorKind, Scope};
use crate::progress::backoff::Backoff;
use crate::progress::board::{Component, Reports};
use crate::telemetry::{metric, repeating};

const EDGE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
const DELETE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// After that a message is let go; it comes back, and its request is repeated
/// under the same name.
const DELETE_ATTEMPTS_MAX: u32 = 5;

/// How many invalid paths of a round are searched for by halving. Beyond that
/// a rule is wrong, not a row, and the search would only burn calls.
const ISOLATED_PATHS_MAX: u32 = 8;

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Whether it was accepted is not known: the same batch, until it is.
    Repeat,
    /// It was not looked at: the same batch, later.
    Slower,
    /// There is no room for it: what fits, when something has completed.
    Room,
    /// The batch is too large: its halves, at once.
    Halve,
    /// One of its paths is bad: halves, until it stands alone.
    Isolate,
    /// Its name is taken: the next name, later.
    Rename,
    /// It does not pass: the messages go back to the buffer, and become dead
    /// letters in the end.
    GiveUp,
}

fn verdict(error: &EdgeError) -> Verdict {
    match error.kind {
        EdgeErrorKind::Unavailable => Verdict::Repeat,
        EdgeErrorKind::Throttled => Verdict::Slower,
        EdgeErrorKind::TooManyInProgress => Verdict::Room,
        EdgeErrorKind::TooLarge { .. } => Verdict::Halve,
        EdgeErrorKind::InvalidPath { .. } => Verdict::Isolate,
        EdgeErrorKind::ReferenceTaken { .. } => Verdict::Rename,
        EdgeErrorKind::Denied { .. }
        | EdgeErrorKind::NoSuchDistribution
        | EdgeErrorKind::NoSuchTenant { .. }
        | EdgeErrorKind::Refused => Verdict::GiveUp,
    }
}

/// Whether the messages are at fault. Rights and ids are somebody's to mend,
/// and would take every message with them.
fn is_the_messages(error: &EdgeError) -> bool {
    match error.kind {
        EdgeErrorKind::InvalidPath { .. }
        | EdgeErrorKind::TooLarge { .. }
        | EdgeErrorKind::NoSuchTenant { .. }
        | EdgeErrorKind::Refused => true,
        EdgeErrorKind::TooManyInProgress
        | EdgeErrorKind::Throttled
        | EdgeErrorKind::Unavailable
        | EdgeErrorKind::ReferenceTaken { .. }
        | EdgeErrorKind::Denied { .. }
        | EdgeErrorKind::NoSuchDistribution => false,
    }
}

/// What all rounds of a drain share.
pub(crate) struct Means<B, E> {
    pub(crate) buffer: Arc<B>,
    pub(crate) edge: Arc<E>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) book: Arc<Budget>,
    pub(crate) history: History,
    pub(crate) condemned: DeadLetters,
}

/// Where a round goes.
pub(crate) struct Delivery<'a, B: Buffer, E> {
    pub(crate) means: &'a Means<B, E>,
    pub(crate) options: &'a DrainOptions,
    pub(crate) held: &'a InFlight<B::Receipt>,
    pub(crate) standing: Arc<Standing>,
    /// The distribution's name in the configuration.
    pub(crate) name: Arc<str>,
    /// Its id, and the tenant.
    pub(crate) scope: Scope,
    pub(crate) reports: &'a Reports,
}

/// Trouble with the edge, and what came of it so far.
struct Course {
    backoff: Backoff,
    trouble: Option<&'static str>,
    refusal: Option<&'static str>,
    isolated: u32,
    waiting: bool,
}

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Works until every path was accepted or given up. Afterwards no message
    /// of the round is held. Cancelling is safe: messages that were not
    /// deleted come back.
    pub(crate) async fn run(self, mut round: Gathering) -> Arc<str> {
        let messages = round.messages();
        self.delete(&round.empty()).await;
        self.standing.looked().await;
        if round.oldest_redelivered_us().is_some() {
            self.standing.hear().await;
            self.leave_out(&mut round).await;
        }
        if let Some(since) = round.oldest_redelivered_us() {
            match self.scope.tenant {
                None => self.standing.recall(since).await,
                Some(_) => {
                    let Means { edge, pace, .. } = self.means;
                    tenant_lookup::recall(&**edge, pace, &self.standing, &self.scope, since).await;
                }
            }
        }
        let mut halves: VecDeque<NextRequest> = VecDeque::new();
        let mut course = Course {
            backoff: Backoff::new(EDGE_BACKOFF.0, EDGE_BACKOFF.1),
            trouble: None,
            refusal: None,
            isolated: 0,
            waiting: false,
        };
        loop {
            let batch = match halves.pop_front() {
                Some(batch) => batch,
                None => {
                    self.leave_out(&mut round).await;
                    if round.distinct_paths() == 0 {
                        break;
                    }
                    match self.next_batch(&mut round) {
                        Some(batch) => batch,
                        None => {
                            self.wait(&round, &mut course).await;
                            continue;
                        }
                    }
                }
            };
            course.waiting = false;
            self.deliver(batch, &mut round, &mut halves, &mut course)
                .await;
        }

        let left = self.held.release(&messages);
        if let Some(reason) = course.refusal {
            counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => reason)
                .increment(u64::try_from(left).unwrap_or(u64::MAX));
            repeating!(warn, &self.name, { distribution = %self.name, messages = left },
                "messages that the edge refuses go back to the buffer; after max_receives they become dead letters");
        } else {
            // What was in trouble may have been covered by others meanwhile.
            self.reports.board.recovered(&self.part());
        }
        self.name
    }

    /// What earlier invalidations cover is done.
    async fn leave_out(&self, round: &mut Gathering) {
        let (paths, complete) = self.standing.leave_out(&self.scope, round);
        if paths > 0 {
            counter!(metric::EDGE_PATHS_COVERED, "distribution" => self.name.to_string())
                .increment(u64::try_from(paths).unwrap_or(u64::MAX));
            info!(distribution = %self.name, paths, messages = complete.len(), "paths are covered by invalidations made after their changes");
        }
        self.delete(&complete).await;
    }

    fn next_batch(&self, round: &mut Gathering) -> Option<NextRequest> {
        let thrift = self.means.book.status(&self.name).thrift();
        let room = self.standing.room();
        let always = self.options.always.get();
        let always = |path: &str| always.contains(path);
        let batch = round.next_batch(&self.scope, room, thrift, always)?;
        let coalesced = batch.coalesced();
        if coalesced > 0 {
            counter!(metric::EDGE_PATHS_COALESCED, "distribution" => self.name.to_string())
                .increment(u64::try_from(coalesced).unwrap_or(u64::MAX));
            info!(distribution = %self.name, paths = coalesced, sent = batch.invalidation.paths.len(), ?thrift, "paths go under wildcards: they are more than the edge takes, or than the budget allows");
        }
        Some(batch)
    }

    async fn wait(&self, round: &Gathering, course: &mut Course) {
        if !std::mem::replace(&mut course.waiting, true) {
            counter!(metric::EDGE_QUOTA_WAITS, "distribution" => self.name.to_string())
                .increment(1);
            info!(distribution = %self.name, paths = round.distinct_paths(), "paths wait until others in progress complete");
        }
        self.standing.wait_for_room().await;
    }

    /// Counts the batch and hands it over, until it is accepted, or taken back
    /// into the round, or given up.
    async fn deliver(
        &self,
        mut batch: NextRequest,
        round: &mut Gathering,
        halves: &mut VecDeque<NextRequest>,
        course: &mut Course,
    ) {
        // An attempt whose answer was lost may have been accepted: from then
        // on it is this batch or nothing, or it could be paid for twice.
        let mut in_doubt = false;
        loop {
            self.count_open(&batch).await;
            self.means.pace.turn().await;
            self.held.asking(&batch.messages);
            let error = match self.means.edge.invalidate(&batch.invalidation).await {
                Ok(accepted) => {
                    self.held.answered(&batch.messages);
                    self.standing.accepted(&self.name, &batch, &accepted.id);
                    self.record(&batch, &accepted.id).await;
                    self.report_accepted(&batch, &accepted.id);
                    self.reports.board.recovered(&self.part());
                    if course.trouble.take().is_some() {
                        info!(distribution = %self.name, attempts = course.backoff.attempts(), "the edge accepts invalidations again");
                    }
                    course.backoff.reset();
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = round.accept(batch);
                    self.delete(&complete).await;
                    self.count(self.means.book.made(&self.name, &reference).await);
                    return;
                }
                Err(error) => error,
            };
            let verdict = match verdict(&error) {
                Verdict::Isolate if course.isolated >= ISOLATED_PATHS_MAX => Verdict::GiveUp,
                verdict => verdict,
            };
            in_doubt |= verdict == Verdict::Repeat;
            if !in_doubt {
                self.held.answered(&batch.messages);
            }
            match verdict {
                Verdict::Repeat | Verdict::Slower => self.pause(&error, &batch, course).await,
                Verdict::Room => {
                    self.pause(&error, &batch, course).await;
                    self.standing.look_again().await;
                    if !in_doubt && halves.is_empty() {
                        self.count_not_made(&batch).await;
                        round.put_back(batch);
                        return;
                    }
                }
                Verdict::Rename => {
                    self.count_not_made(&batch).await;
                    self.pause(&error, &batch, course).await;
                    batch = round.renamed(batch);
                    in_doubt = false;
                }
                Verdict::Halve | Verdict::Isolate => {
                    self.count_not_made(&batch).await;
                    match round.halve(batch) {
                        Ok((first, second)) => {
                            self.count_retry(&error);
                            halves.push_front(second);
                            halves.push_front(first);
                        }
                        Err(single) => {
                            course.isolated += 1;
                            course.refusal = Some(error.name());
                            self.give_up(&single, round, &error);
                        }
                    }
                    return;
                }
                Verdict::GiveUp => {
                    self.count_not_made(&batch).await;
                    course.refusal = Some(error.name());
                    // A tenant that is gone is no trouble of the others'.
                    if !matches!(error.kind, EdgeErrorKind::NoSuchTenant { .. }) {
                        self.reports.board.failed(&self.part(), error.to_string());
                    }
                    self.give_up(&batch, round, &error);
                    return;
                }
            }
        }
    }

    async fn pause(&self, error: &EdgeError, batch: &NextRequest, course: &mut Course) {
        self.count_retry(error);
        self.reports.board.failed(&self.part(), error.to_string());
        let delay = course.backoff.next_delay();
        if course.trouble != Some(error.name()) {
            course.trouble = Some(error.name());
            warn!(distribution = %self.name, error = %error, retry_in = ?delay, paths = batch.invalidation.paths.len(), "the edge did not accept an invalidation; trying again until it does");
        }
        tokio::time::sleep(delay).await;
    }

    /// Nothing is paid for unseen: the count stands on disk before the call.
    async fn count_open(&self, batch: &NextRequest) {
        let reference = &batch.invalidation.caller_reference;
        let paths = batch.invalidation.paths.len();
        self.count(self.means.book.open(&self.name, reference, paths).await);
    }

    /// For a successor, should this process be killed before the messages are
    /// deleted.
    async fn record(&self, batch: &NextRequest, id: &str) {
        let made = Past {
            distribution: self.name.to_string(),
            id: id.to_owned(),
            caller_reference: batch.invalidation.caller_reference.clone(),
            at: Timestamp::now(),
            tenant: self.scope.tenant.as_deref().map(str::to_owned),
            paths: batch.invalidation.paths.clone(),
        };
        if let Err(error) = self.means.history.made(made).await {
            counter!(metric::EDGE_HISTORY_ERRORS, "operation" => "write").increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "an invalidation is not on record; CloudFront's own list has it");
        }
    }

    async fn count_not_made(&self, batch: &NextRequest) {
        let reference = &batch.invalidation.caller_reference;
        self.count(self.means.book.not_made(&self.name, reference).await);
    }

    /// An invalidation is worth more than its count.
    fn count(&self, counted: Result<(), BudgetError>) {
        if let Err(error) = counted {
            counter!(metric::BUDGET_ERRORS).increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "the month's paths are counted in memory only");
        }
        budget_metrics::publish(&self.means.book, &self.name);
    }

    fn report_accepted(&self, batch: &NextRequest, invalidation: &str) {
        let paths = batch.invalidation.paths.len();
        let name = || self.name.to_string();
        counter!(metric::EDGE_INVALIDATIONS, "distribution" => name()).increment(1);
        counter!(metric::EDGE_PATHS, "distribution" => name())
            .increment(u64::try_from(paths).unwrap_or(u64::MAX));
        info!(distribution = %self.name, tenant = self.scope.tenant.as_deref(), invalidation, paths, messages = batch.messages.len(), "the edge accepted an invalidation");
    }

    fn part(&self) -> Component {
        Component::Edge(Arc::clone(&self.name))
    }

    fn count_retry(&self, error: &EdgeError) {
        counter!(metric::EDGE_RETRIES, "error" => error.name()).increment(1);
    }

    /// Nothing lost: the batch's messages stay in the buffer, because they never
    /// complete. Those that came too often are dead letters when they come back.
    fn give_up(&self, batch: &NextRequest, round: &Gathering, error: &EdgeError) {
        let alone = match batch.invalidation.paths.as_slice() {
            [path] => Some(path),
            _ => None,
        };
        for id in &batch.messages {
            if is_the_messages(error) && round.deliveries(id) >= self.options.max_receives {
                self.means.condemned.add(id, error, alone);
            }
        }
        let paths = batch.invalidation.paths.len();
        counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name())
            .increment(u64::try_from(paths).unwrap_or(u64::MAX));
        let first_path = batch.invalidation.paths.first().map_or("", String::as_str);
        let subject = format!("{} {}", self.name, error.name());
        repeating!(error, &subject, { distribution = %self.name, tenant = self.scope.tenant.as_deref(), error = %error, paths, first_path, messages = batch.messages.len() },
            "the edge refused an invalidation for good");
    }

    async fn delete(&self, complete: &[Arc<str>]) {
        if complete.is_empty() {
            return;
        }
        let now = SystemTime::now();
        let mut receipts = Vec::with_capacity(complete.len());
        for leaving in self.held.leaving(complete) {
            let committed_at = UNIX_EPOCH + Duration::from_micros(leaving.committed_at_us);
            // A commit in the future is a clock that is off, not a latency.
            let elapsed = now.duration_since(committed_at).unwrap_or_default();
            histogram!(metric::COMMIT_TO_EDGE_ACCEPTED, "distribution" => self.name.to_string())
                .record(elapsed);
            receipts.push(leaving.receipt);
        }
        let mut deleted = receipts.len();
        let mut backoff = Backoff::new(DELETE_BACKOFF.0, DELETE_BACKOFF.1);
        while let Err(error) = self.means.buffer.delete(&receipts).await {
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
        self.held.release(complete);
    }
}
