//! One round of one distribution or tenant: its batches go to the edge, and the
//! messages that they complete are deleted.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use metrics::counter;
use tokio::time::Instant;
use tracing::info;

use super::arrivals::of_tenant;
use super::ask::{Answer, Delivery, RoomWait};
use super::verdict::Verdict;
use crate::buffer::Buffer;
use crate::edge::cover::request::{Gathering, NextRequest};
use crate::edge::{Edge, EdgeError};
use crate::telemetry::{metric, repeating};

/// Messages that a distribution does not take for now. They are held, and tried again
/// when its suspension is over.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) paths: Gathering,
    /// When they were refused, if nobody knows whether it was for one of their paths.
    unclear_at: Option<Instant>,
}

/// What is left of a round.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) parked: Option<Parked>,
    /// What somebody may have sent already.
    pub(super) in_question: Option<Gathering>,
}

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Works until every new path was accepted, or is among the suspects. Afterwards no
    /// message of the round is in flight but for suspects and for what is returned.
    /// Cancelling is safe: messages that were not deleted come back.
    pub(super) async fn run(self, round: Gathering) -> Rest {
        self.delete(&round.empty()).await;
        self.distribution.looked().await;
        let (again, new) = round.part_messages(|arrival| self.may_be_sent(arrival));
        let mut rest = Rest::default();
        if new.distinct_paths() > 0 {
            rest.parked = self.work(new, None).await;
        }
        rest.in_question = Some(again).filter(|again| again.distinct_paths() > 0);
        rest
    }

    /// Finds out what somebody has sent already. The rest is to be sent.
    pub(super) async fn question(self, mut again: Gathering) -> Option<Parked> {
        let complete = self.recall(&mut again).await;
        self.delete(&complete).await;
        let is_left = again.distinct_paths() > 0;
        is_left.then_some(Parked {
            paths: again,
            unclear_at: None,
        })
    }

    /// Does the same for what was parked.
    pub(super) async fn retry(self, parked: Parked) -> Option<Parked> {
        self.work(parked.paths, parked.unclear_at).await
    }

    async fn work(&self, mut round: Gathering, unclear_at: Option<Instant>) -> Option<Parked> {
        let mut halves: VecDeque<NextRequest> = VecDeque::new();
        let mut waits: RoomWait = None;
        loop {
            let batch = match halves.pop_front() {
                Some(batch) => batch,
                None => {
                    self.leave_out(&mut round).await;
                    if round.distinct_paths() == 0 {
                        break;
                    }
                    match self.next_batch(&mut round, unclear_at) {
                        Some(batch) => batch,
                        None => {
                            self.wait(round.distinct_paths(), &mut waits).await;
                            continue;
                        }
                    }
                }
            };
            let parts = (&mut round, &mut halves);
            let sent = self.deliver(batch, parts, unclear_at, &mut waits);
            if let ControlFlow::Break(unclear_at) = sent.await {
                return Some(Parked {
                    paths: round,
                    unclear_at,
                });
            }
        }
        // Others may have sent the paths while the edge did not accept them here.
        self.parts.reports.board.recovered(&self.component());
        None
    }

    fn next_batch(
        &self,
        round: &mut Gathering,
        unclear_at: Option<Instant>,
    ) -> Option<NextRequest> {
        let room = self.distribution.room();
        if unclear_at.is_some() && !self.is_about_a_path(unclear_at) {
            let paths: Vec<String> = round.paths().map(str::to_owned).collect();
            return round.as_they_are(&self.scope, paths_to_try(&paths, false), room);
        }
        let budget_mode = self.parts.budget.status(&self.name).mode();
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

    /// Whether what was refused at `unclear_at`, for a reason that nobody knows, was
    /// refused for one of its paths: the edge has accepted others since.
    pub(super) fn is_about_a_path(&self, unclear_at: Option<Instant>) -> bool {
        let known = self.distribution.suspects();
        unclear_at.is_some_and(|since| known.has_accepted_since(&self.scope.tenant, since))
    }

    /// Sends the batch, until it is accepted, taken back into the round, or among the
    /// suspects. Breaks off, with when it was for a reason that nobody knows, if the
    /// round is to be parked.
    async fn deliver(
        &self,
        mut batch: NextRequest,
        (round, halves): (&mut Gathering, &mut VecDeque<NextRequest>),
        unclear_at: Option<Instant>,
        waits: &mut RoomWait,
    ) -> ControlFlow<Option<Instant>> {
        loop {
            let (verdict, error) = match self.ask(&batch, waits).await {
                Answer::Accepted => {
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = round.accept(batch);
                    self.delete(&complete).await;
                    self.settle(&reference).await;
                    return ControlFlow::Continue(());
                }
                Answer::NoRoom if halves.is_empty() => {
                    round.put_back(batch);
                    return ControlFlow::Continue(());
                }
                Answer::NoRoom => continue,
                Answer::NameTaken => {
                    batch = round.renamed(batch);
                    continue;
                }
                Answer::Refused(verdict, error) => (verdict, error),
            };
            self.count_retry(&error);
            match verdict {
                Verdict::Halve => match round.halve(batch) {
                    Ok((first, second)) => {
                        halves.push_front(second);
                        halves.push_front(first);
                    }
                    Err(single) => self.suspect(*single, round, halves, verdict, &error),
                },
                Verdict::Unclear if !self.is_about_a_path(unclear_at) => {
                    return self.park(batch, round, halves, &error, Some(Instant::now()));
                }
                Verdict::Isolate | Verdict::NoTenant | Verdict::Unclear => {
                    self.suspect(batch, round, halves, verdict, &error);
                }
                Verdict::Outage
                | Verdict::Repeat
                | Verdict::Slower
                | Verdict::Room
                | Verdict::Rename => return self.park(batch, round, halves, &error, None),
            }
            return ControlFlow::Continue(());
        }
    }

    fn park(
        &self,
        batch: NextRequest,
        round: &mut Gathering,
        halves: &mut VecDeque<NextRequest>,
        error: &EdgeError,
        unclear_at: Option<Instant>,
    ) -> ControlFlow<Option<Instant>> {
        self.refused_for_now(error, batch.invalidation.paths.len());
        halves.drain(..).for_each(|half| round.put_back(half));
        round.put_back(batch);
        ControlFlow::Break(unclear_at)
    }

    /// Sets the batch's messages apart: one of their paths is bad, and nobody else
    /// is to share a request with it.
    fn suspect(
        &self,
        batch: NextRequest,
        round: &mut Gathering,
        halves: &mut VecDeque<NextRequest>,
        verdict: Verdict,
        error: &EdgeError,
    ) {
        if verdict == Verdict::NoTenant {
            self.tenant_is_gone(error);
        } else if let Some(path) = batch.alone().filter(|_| verdict == Verdict::Isolate) {
            self.refused_alone(path, error);
        } else {
            info!(distribution = %self.name, error = %error, paths = batch.invalidation.paths.len(), messages = batch.messages.len(), "a path of a request is refused; its messages are set apart until it is known which");
        }
        halves.drain(..).for_each(|half| round.put_back(half));
        let suspects = round.take_out(batch);
        let tenant = self.scope.tenant.clone();
        self.distribution.suspects().arrive(tenant, suspects, false);
    }

    /// The edge refuses the path by itself.
    pub(super) fn refused_alone(&self, path: &str, error: &EdgeError) {
        counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name()).increment(1);
        let subject = format!("{} {}", self.name, error.name());
        repeating!(error, &subject, { distribution = %self.name, tenant = self.scope.tenant.as_deref(), path, error = %error },
            "the edge refuses a path");
        self.distribution.suspects().refuse(path, error);
    }

    /// There is no such tenant.
    pub(super) fn tenant_is_gone(&self, error: &EdgeError) {
        let Some(tenant) = &self.scope.tenant else {
            return;
        };
        counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name()).increment(1);
        repeating!(error, &self.name, { distribution = %self.name, %tenant, error = %error },
            "a tenant does not exist");
        let known = self.distribution.suspects();
        known.refuse(&of_tenant(tenant), error);
    }

    /// Messages that stay in the buffer, since too many are set apart.
    pub(super) fn leave(&self, ids: &[Arc<str>]) {
        let left = self.parts.in_flight.release(ids);
        if left > 0 {
            counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => "suspect")
                .increment(u64::try_from(left).unwrap_or(u64::MAX));
            repeating!(warn, &self.name, { distribution = %self.name, messages = left },
                "too many messages hold a path that may be refused: these come back after their visibility timeout");
        }
    }
}

/// One of the paths, as a question whether the edge accepts anything; or all of them, if
/// that is `clear`.
pub(super) fn paths_to_try(paths: &[String], clear: bool) -> &[String] {
    let one = rand::random_range(0..paths.len().max(1));
    match paths.get(one..=one) {
        Some(one) if !clear => one,
        _ => paths,
    }
}
