//! One round of one distribution or tenant: its batches go to the edge, and the
//! messages that they complete are deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use metrics::counter;
use tracing::info;

use super::ask::{Answer, Delivery, Failures};
use super::dead_letters::EdgeRefusal;
use super::verdict::{Verdict, is_about_every_message};
use crate::buffer::Buffer;
use crate::edge::cover::request::{Gathering, NextRequest};
use crate::edge::{Edge, EdgeError, EdgeErrorKind};
use crate::telemetry::{metric, repeating};

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Works until every path was accepted, given up, or is among the suspects.
    /// Afterwards no message of the round is in flight but for suspects.
    /// Cancelling is safe: messages that were not deleted come back.
    pub(super) async fn run(self, round: Gathering) {
        self.delete(&round.empty()).await;
        self.distribution.looked().await;
        // What is new goes at once.
        let (mut again, new) = round.part_messages(|arrival| self.may_be_sent(arrival));
        if new.distinct_paths() > 0 {
            self.work(new).await;
        }
        if again.distinct_paths() > 0 {
            let complete = self.recall(&mut again).await;
            self.delete(&complete).await;
            self.work(again).await;
        }
    }

    async fn work(&self, mut round: Gathering) {
        let mut halves: VecDeque<NextRequest> = VecDeque::new();
        let mut failures = Failures::none();
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
                            self.wait(round.distinct_paths(), &mut failures).await;
                            continue;
                        }
                    }
                }
            };
            self.deliver(batch, &mut round, &mut halves, &mut failures)
                .await;
        }

        let left = self.parts.in_flight.release(&round.unfinished());
        if let Some(reason) = failures.refusal {
            self.report_left(reason, left);
        } else {
            // Others may have sent the paths while the edge did not accept them here.
            self.parts.reports.board.recovered(&self.component());
        }
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

    /// Sends the batch, until it is accepted, taken back into the round, among the
    /// suspects, or given up.
    async fn deliver(
        &self,
        mut batch: NextRequest,
        round: &mut Gathering,
        halves: &mut VecDeque<NextRequest>,
        failures: &mut Failures,
    ) {
        loop {
            match self.ask(&batch, failures).await {
                Answer::Accepted => {
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = round.accept(batch);
                    self.delete(&complete).await;
                    self.settle(&reference).await;
                    return;
                }
                Answer::NoRoom if halves.is_empty() => {
                    round.put_back(batch);
                    return;
                }
                Answer::NoRoom => {}
                Answer::NameTaken => batch = round.renamed(batch),
                Answer::Refused(Verdict::Halve, error) => {
                    self.count_retry(&error);
                    match round.halve(batch) {
                        Ok((first, second)) => {
                            halves.push_front(second);
                            halves.push_front(first);
                        }
                        Err(single) => self.suspect(*single, round, halves, &error),
                    }
                    return;
                }
                Answer::Refused(Verdict::Isolate, error) => {
                    self.count_retry(&error);
                    self.suspect(batch, round, halves, &error);
                    return;
                }
                Answer::Refused(_, error) => {
                    failures.refusal = Some(error.name());
                    self.give_up(&batch, &error, |id| round.deliveries(id));
                    return;
                }
            }
        }
    }

    /// Sets the batch's messages apart: one of their paths is bad, and nobody else
    /// is to share a request with it.
    fn suspect(
        &self,
        batch: NextRequest,
        round: &mut Gathering,
        halves: &mut VecDeque<NextRequest>,
        error: &EdgeError,
    ) {
        if let Some(path) = batch.alone() {
            self.refused_alone(path, error);
        } else {
            info!(distribution = %self.name, error = %error, paths = batch.invalidation.paths.len(), messages = batch.messages.len(), "a path of a request is refused; its messages are set apart until it is known which");
        }
        for half in halves.drain(..) {
            round.put_back(half);
        }
        let suspects = round.take_out(batch);
        let tenant = self.scope.tenant.clone();
        self.distribution.suspects().arrive(tenant, suspects);
    }

    /// The edge refuses the path by itself.
    pub(super) fn refused_alone(&self, path: &str, error: &EdgeError) {
        counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name()).increment(1);
        let subject = format!("{} {}", self.name, error.name());
        repeating!(error, &subject, { distribution = %self.name, tenant = self.scope.tenant.as_deref(), path, error = %error },
            "the edge refuses a path");
        self.distribution.suspects().refuse(path, error);
    }

    /// Gives the batch up. Nothing lost: its messages never complete, and so they
    /// stay in the buffer. Those whose tenant does not exist become dead letters
    /// once they came too often.
    pub(super) fn give_up(
        &self,
        batch: &NextRequest,
        error: &EdgeError,
        deliveries: impl Fn(&Arc<str>) -> u32,
    ) {
        // A tenant that is gone says nothing about the others.
        if !matches!(error.kind, EdgeErrorKind::NoSuchTenant { .. }) {
            let board = &self.parts.reports.board;
            board.failed(&self.component(), error.to_string());
        }
        for id in &batch.messages {
            let often = deliveries(id) >= self.parts.options.max_receives;
            if often && is_about_every_message(error) {
                let refusal = EdgeRefusal {
                    code: error.name(),
                    reason: error.to_string(),
                    paths: None,
                };
                self.parts.refusals.add(id, refusal);
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

    pub(super) fn report_left(&self, reason: &'static str, left: usize) {
        counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => reason)
            .increment(u64::try_from(left).unwrap_or(u64::MAX));
        repeating!(warn, &self.name, { distribution = %self.name, messages = left },
            "messages that the edge refuses go back to the buffer; those with a refused path become dead letters after max_receives");
    }
}
