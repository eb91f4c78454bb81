//! One round of one distribution or tenant: its batches go to the edge, and the
//! messages that they complete are deleted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, histogram};
use tracing::{info, warn};

use super::budget_metrics;
use super::distribution::Distribution;
use super::parts::DrainParts;
use super::tenant_lookup;
use super::verdict::{Verdict, is_the_messages, verdict};
use crate::buffer::Buffer;
use crate::edge::budget::BudgetError;
use crate::edge::cover::request::{Gathering, NextRequest};
use crate::edge::invalidation_log::Past;
use crate::edge::{Edge, EdgeError, EdgeErrorKind, Scope};
use crate::progress::backoff::Backoff;
use crate::progress::board::Component;
use crate::telemetry::{metric, repeating};

const EDGE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
const DELETE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// After so many attempts a message is let go. It comes back, and its request is
/// repeated under the same name.
const DELETE_ATTEMPTS_MAX: u32 = 5;

/// How many invalid paths of a round are searched for by halving. Beyond that
/// a rule is wrong, not a row, and the search would only burn calls.
const ISOLATED_PATHS_MAX: u32 = 8;

/// A round's way to the edge.
pub(super) struct Delivery<'a, B: Buffer, E> {
    pub(super) parts: &'a DrainParts<B, E>,
    pub(super) distribution: &'a Distribution,
    /// The distribution's name in the configuration.
    pub(super) name: Arc<str>,
    /// Its id, and the tenant.
    pub(super) scope: Scope,
}

/// Failures of a round so far.
struct Failures {
    backoff: Backoff,
    /// The name of the failure that lasts, if one does.
    outage: Option<&'static str>,
    /// The name of the last refusal for good.
    refusal: Option<&'static str>,
    /// Number of invalid paths found by halving.
    isolated: u32,
    /// Whether it is logged that the round waits for room.
    waiting: bool,
}

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Works until every path was accepted or given up. Afterwards no message
    /// of the round is in flight. Cancelling is safe: messages that were not
    /// deleted come back.
    pub(super) async fn run(self, mut round: Gathering) -> Arc<str> {
        let messages = round.messages();
        self.delete(&round.empty()).await;
        self.distribution.looked().await;
        if round.oldest_redelivered().is_some() {
            self.distribution.read_log().await;
            self.leave_out(&mut round).await;
        }
        if let Some(since) = round.oldest_redelivered() {
            match self.scope.tenant {
                None => self.distribution.recall(since).await,
                Some(_) => {
                    let DrainParts {
                        edge, rate_limit, ..
                    } = self.parts;
                    tenant_lookup::recall(
                        &**edge,
                        rate_limit,
                        self.distribution,
                        &self.scope,
                        since,
                    )
                    .await;
                }
            }
        }
        let mut halves: VecDeque<NextRequest> = VecDeque::new();
        let mut failures = Failures {
            backoff: Backoff::new(EDGE_BACKOFF.0, EDGE_BACKOFF.1),
            outage: None,
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
                            self.wait(&round, &mut failures).await;
                            continue;
                        }
                    }
                }
            };
            failures.waiting = false;
            self.deliver(batch, &mut round, &mut halves, &mut failures)
                .await;
        }

        let left = self.parts.in_flight.release(&messages);
        if let Some(reason) = failures.refusal {
            counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => reason)
                .increment(u64::try_from(left).unwrap_or(u64::MAX));
            repeating!(warn, &self.name, { distribution = %self.name, messages = left },
                "messages that the edge refuses go back to the buffer; after max_receives they become dead letters");
        } else {
            // Others may have sent the paths while the edge did not accept them here.
            self.parts.reports.board.recovered(&self.component());
        }
        self.name
    }

    /// Leaves out the paths that earlier invalidations cover: they are done.
    async fn leave_out(&self, round: &mut Gathering) {
        let (paths, complete) = self.distribution.leave_out(&self.scope, round);
        if paths > 0 {
            counter!(metric::EDGE_PATHS_COVERED, "distribution" => self.name.to_string())
                .increment(u64::try_from(paths).unwrap_or(u64::MAX));
            info!(distribution = %self.name, paths, messages = complete.len(), "paths are covered by invalidations made after their changes");
        }
        self.delete(&complete).await;
    }

    fn next_batch(&self, round: &mut Gathering) -> Option<NextRequest> {
        let budget_mode = self.parts.budget.status(&self.name).mode();
        let room = self.distribution.room();
        let budget_exempt = &self.parts.options.budget_exempt;
        let budget_exempt = |path: &str| budget_exempt.contains(path);
        let batch = round.next_batch(&self.scope, room, budget_mode, budget_exempt)?;
        let coalesced = batch.coalesced();
        if coalesced > 0 {
            counter!(metric::EDGE_PATHS_COALESCED, "distribution" => self.name.to_string())
                .increment(u64::try_from(coalesced).unwrap_or(u64::MAX));
            info!(distribution = %self.name, paths = coalesced, sent = batch.invalidation.paths.len(), ?budget_mode, "paths go under wildcards: they are more than the edge takes, or than the budget allows");
        }
        Some(batch)
    }

    async fn wait(&self, round: &Gathering, failures: &mut Failures) {
        if !std::mem::replace(&mut failures.waiting, true) {
            counter!(metric::EDGE_QUOTA_WAITS, "distribution" => self.name.to_string())
                .increment(1);
            info!(distribution = %self.name, paths = round.distinct_paths(), "paths wait until others in progress complete");
        }
        self.distribution.wait_for_room().await;
    }

    /// Counts the batch and sends it, until it is accepted, taken back into the
    /// round, or given up.
    async fn deliver(
        &self,
        mut batch: NextRequest,
        round: &mut Gathering,
        halves: &mut VecDeque<NextRequest>,
        failures: &mut Failures,
    ) {
        // An attempt whose answer was lost may have been accepted: from then
        // on it is this batch or nothing, or it could be paid for twice.
        let mut in_doubt = false;
        self.record(&batch, None).await;
        loop {
            self.count_open(&batch).await;
            self.parts.rate_limit.turn().await;
            self.parts.in_flight.asking(&batch.messages);
            let error = match self.parts.edge.invalidate(&batch.invalidation).await {
                Ok(accepted) => {
                    self.parts.in_flight.answered(&batch.messages);
                    self.distribution.accepted(&self.name, &batch, &accepted.id);
                    self.record(&batch, Some(&accepted.id)).await;
                    self.report_accepted(&batch, &accepted.id);
                    self.parts.reports.board.recovered(&self.component());
                    if failures.outage.take().is_some() {
                        info!(distribution = %self.name, attempts = failures.backoff.attempts(), "the edge accepts invalidations again");
                    }
                    failures.backoff.reset();
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = round.accept(batch);
                    self.delete(&complete).await;
                    self.count(self.parts.budget.made(&self.name, &reference).await);
                    return;
                }
                Err(error) => error,
            };
            let verdict = match verdict(&error) {
                Verdict::Isolate if failures.isolated >= ISOLATED_PATHS_MAX => Verdict::GiveUp,
                verdict => verdict,
            };
            in_doubt |= verdict == Verdict::Repeat;
            if !in_doubt {
                self.parts.in_flight.answered(&batch.messages);
            }
            match verdict {
                Verdict::Repeat | Verdict::Slower => self.pause(&error, &batch, failures).await,
                Verdict::Room => {
                    self.pause(&error, &batch, failures).await;
                    self.distribution.look_again().await;
                    if !in_doubt && halves.is_empty() {
                        self.count_not_made(&batch).await;
                        round.put_back(batch);
                        return;
                    }
                }
                Verdict::Rename => {
                    self.count_not_made(&batch).await;
                    self.pause(&error, &batch, failures).await;
                    batch = round.renamed(batch);
                    self.record(&batch, None).await;
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
                            failures.isolated += 1;
                            failures.refusal = Some(error.name());
                            self.give_up(&single, round, &error);
                        }
                    }
                    return;
                }
                Verdict::GiveUp => {
                    self.count_not_made(&batch).await;
                    failures.refusal = Some(error.name());
                    // A tenant that is gone says nothing about the others.
                    if !matches!(error.kind, EdgeErrorKind::NoSuchTenant { .. }) {
                        self.parts
                            .reports
                            .board
                            .failed(&self.component(), error.to_string());
                    }
                    self.give_up(&batch, round, &error);
                    return;
                }
            }
        }
    }

    async fn pause(&self, error: &EdgeError, batch: &NextRequest, failures: &mut Failures) {
        self.count_retry(error);
        self.parts
            .reports
            .board
            .failed(&self.component(), error.to_string());
        let delay = failures.backoff.next_delay();
        if failures.outage != Some(error.name()) {
            failures.outage = Some(error.name());
            warn!(distribution = %self.name, error = %error, retry_in = ?delay, paths = batch.invalidation.paths.len(), "the edge did not accept an invalidation; trying again until it does");
        }
        tokio::time::sleep(delay).await;
    }

    /// Counts the batch on disk before the call, so that nothing is paid for
    /// unseen.
    async fn count_open(&self, batch: &NextRequest) {
        let reference = &batch.invalidation.caller_reference;
        let paths = batch.invalidation.paths.len();
        self.count(self.parts.budget.open(&self.name, reference, paths).await);
    }

    /// Writes to disk that a request is about to be made, or the id under which it
    /// was made, for a successor, should this process be killed before the messages
    /// are deleted.
    async fn record(&self, batch: &NextRequest, id: Option<&str>) {
        let mut past = Past {
            distribution_id: self.scope.distribution.to_string(),
            tenant: self.scope.tenant.as_deref().map(str::to_owned),
            caller_reference: batch.invalidation.caller_reference.clone(),
            at: Timestamp::now(),
            id: id.map(str::to_owned),
            paths: Vec::new(),
            messages: Vec::new(),
        };
        if id.is_none() {
            past.paths.clone_from(&batch.invalidation.paths);
            past.messages = batch.messages.iter().map(ToString::to_string).collect();
        }
        if let Err(error) = self.parts.invalidation_log.put(past).await {
            counter!(metric::EDGE_HISTORY_ERRORS, "operation" => "write").increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "an invalidation is not on record; CloudFront's own list has it");
        }
    }

    async fn count_not_made(&self, batch: &NextRequest) {
        let reference = &batch.invalidation.caller_reference;
        self.count(self.parts.budget.not_made(&self.name, reference).await);
    }

    /// Reports a count that was not written. It holds up nothing: an invalidation
    /// is worth more than its count.
    fn count(&self, counted: Result<(), BudgetError>) {
        if let Err(error) = counted {
            counter!(metric::BUDGET_ERRORS).increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "the month's paths are counted in memory only");
        }
        budget_metrics::publish(&self.parts.budget, &self.name);
    }

    fn report_accepted(&self, batch: &NextRequest, invalidation: &str) {
        let paths = batch.invalidation.paths.len();
        let name = || self.name.to_string();
        counter!(metric::EDGE_INVALIDATIONS, "distribution" => name()).increment(1);
        counter!(metric::EDGE_PATHS, "distribution" => name())
            .increment(u64::try_from(paths).unwrap_or(u64::MAX));
        info!(distribution = %self.name, tenant = self.scope.tenant.as_deref(), invalidation, paths, messages = batch.messages.len(), "the edge accepted an invalidation");
    }

    fn component(&self) -> Component {
        Component::Edge(Arc::clone(&self.name))
    }

    fn count_retry(&self, error: &EdgeError) {
        counter!(metric::EDGE_RETRIES, "error" => error.name()).increment(1);
    }

    /// Gives the batch up. Nothing lost: its messages never complete, and so they
    /// stay in the buffer. Those that came too often become dead letters when they
    /// come back.
    fn give_up(&self, batch: &NextRequest, round: &Gathering, error: &EdgeError) {
        let alone = match batch.invalidation.paths.as_slice() {
            [path] => Some(path),
            _ => None,
        };
        for id in &batch.messages {
            if is_the_messages(error) && round.deliveries(id) >= self.parts.options.max_receives {
                self.parts.refusals.add(id, error, alone);
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
