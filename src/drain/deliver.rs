//! One round of one distribution or tenant: its batches go to the edge, and the
//! messages that they complete are deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use metrics::counter;
use tokio::time::Instant;
use tracing::info;

use super::ask::{Answer, Basis, Delivery, RoomWait};
use super::verdict::Verdict;
use crate::buffer::Buffer;
use crate::edge::cover::request::{BudgetMode, Gathering, NextRequest};
use crate::edge::{Edge, EdgeError};
use crate::telemetry::{metric, repeating};

/// Messages of a round that are still to be sent.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) paths: Gathering,
    pub(super) until: Until,
    /// Whether they were asked for before.
    pub(super) was_asked: bool,
    /// Since when they wait.
    pub(super) since: Instant,
    /// Since when it is for room.
    pub(super) waits: RoomWait,
}

/// The event after which parked messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// None: they go before the next round.
    Now,
    /// What others of the distribution wait to send, and what has gathered of their own:
    /// there was no room for these.
    Room,
    /// The end of the suspension of their distribution, which does not take them for now.
    NotSuspended,
    /// The next path that a spent budget grants.
    Granted,
}

impl Parked {
    pub(super) fn new(paths: Gathering, until: Until) -> Self {
        Self {
            paths,
            until,
            was_asked: until == Until::NotSuspended,
            since: Instant::now(),
            waits: None,
        }
    }

    fn without_room(paths: Gathering, waits: RoomWait) -> Self {
        Self {
            was_asked: true,
            waits,
            ..Self::new(paths, Until::Room)
        }
    }
}

/// What is left of a round.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) parked: Option<Parked>,
    /// What somebody may have sent already.
    pub(super) in_question: Option<Gathering>,
}

impl Rest {
    /// The rest of a round without anything that is in question.
    pub(super) fn of(parked: Option<Parked>) -> Self {
        Self {
            parked,
            in_question: None,
        }
    }

    pub(super) fn messages(&self) -> Vec<Arc<str>> {
        let parked = self.parked.iter().map(|parked| &parked.paths);
        let all = parked.chain(&self.in_question);
        all.flat_map(Gathering::messages).collect()
    }
}

/// What became of a batch.
enum Delivered {
    /// It was accepted, or is in the round again.
    Done,
    /// Its messages are among the suspects.
    SetApart,
    /// It is in the round again, and waits for room.
    NoRoom,
    /// It is in the round again, which is to be parked.
    Refused,
}

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Works until every new path was accepted, or is among the suspects, or until the
    /// drain stops and nothing of it is in doubt. Afterwards no message of the round is in
    /// flight but for suspects and for what is returned. Cancelling is safe: messages that
    /// were not deleted come back.
    pub(super) async fn run(self, round: Gathering, is_granted: bool) -> Rest {
        self.delete(&round.empty()).await;
        self.goes_on(false, self.distribution.looked()).await;
        let (again, new) = round.part_messages(|arrival| self.distribution.may_have_sent(arrival));
        let mut rest = Rest::default();
        if new.distinct_paths() > 0 {
            rest.parked = self.work(new, is_granted, None).await;
        }
        rest.in_question = Some(again).filter(|again| again.distinct_paths() > 0);
        rest
    }

    /// Finds out what somebody has sent already. The rest is to be sent, but for
    /// suspects.
    pub(super) async fn question(self, mut again: Gathering) -> Option<Parked> {
        let complete = self.recall(&mut again).await;
        self.delete(&complete).await;
        let (known, tenant) = (self.distribution.suspects(), &self.scope.tenant);
        let (suspects, rest) = again.part_holders(|path| known.suspects(tenant, path));
        if suspects.distinct_paths() > 0 {
            known.arrive(tenant.clone(), suspects);
        }
        (rest.distinct_paths() > 0).then(|| Parked::new(rest, Until::Now))
    }

    /// Works in the same way on what is not asked about any more. `is_granted` is whether
    /// a spent budget grants a path for what is not always sent, and `waits` since when it
    /// waits for room.
    pub(super) async fn work(
        &self,
        mut round: Gathering,
        is_granted: bool,
        mut waits: RoomWait,
    ) -> Option<Parked> {
        let mut halves: VecDeque<NextRequest> = VecDeque::new();
        let mut recovers = true;
        let mut basis = Basis::default();
        loop {
            if self.parts.stopping.is_cancelled() {
                halves.drain(..).for_each(|half| round.put_back(half));
                return Some(Parked::new(round, Until::Now));
            }
            let batch = match halves.pop_front() {
                Some(batch) => {
                    basis.after(None);
                    batch
                }
                None => {
                    basis.after(Some(self.distribution.acceptances()));
                    self.leave_out(&mut round).await;
                    if round.distinct_paths() == 0 {
                        break;
                    }
                    let mode = self.budget_mode(is_granted);
                    let always = |path: &str| self.parts.options.budget_exempt.contains(path);
                    if mode == BudgetMode::Saving && !round.has_any(always) {
                        if waits.is_some() {
                            self.has_room();
                        }
                        return Some(Parked::new(round, Until::Granted));
                    }
                    match self.next_batch(&mut round, mode) {
                        Some(batch) => {
                            if mode == BudgetMode::Spent {
                                self.count_granted().await;
                            }
                            batch
                        }
                        None if self.distribution.makes_way(round.kinds()) => {
                            return Some(Parked::without_room(round, waits));
                        }
                        None => {
                            self.wait(round.distinct_paths(), &mut waits).await;
                            continue;
                        }
                    }
                }
            };
            match self
                .deliver(batch, &mut round, &mut halves, &mut basis)
                .await
            {
                Delivered::Done => {}
                // It says nothing of another tenant, nor of what has gathered since.
                Delivered::NoRoom => {
                    waits.get_or_insert_with(|| (Instant::now(), Timestamp::now()));
                    if self.distribution.makes_way(round.kinds()) {
                        return Some(Parked::without_room(round, waits));
                    }
                }
                Delivered::SetApart => {
                    recovers = self.distribution.suspects().accepts(&self.scope.tenant);
                }
                Delivered::Refused => {
                    return Some(Parked {
                        waits,
                        ..Parked::new(round, Until::NotSuspended)
                    });
                }
            }
        }
        // Others may have sent the paths while the edge did not accept them here.
        if recovers {
            self.recovered();
        }
        if waits.is_some() {
            self.has_room();
        }
        None
    }

    fn budget_mode(&self, is_granted: bool) -> BudgetMode {
        match self.parts.budget.status(&self.name).mode() {
            BudgetMode::Spent if !is_granted => BudgetMode::Saving,
            mode => mode,
        }
    }

    fn next_batch(&self, round: &mut Gathering, budget_mode: BudgetMode) -> Option<NextRequest> {
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

    /// Sends the batch, until it is accepted, taken back into the round, or among the
    /// suspects.
    async fn deliver(
        &self,
        mut batch: NextRequest,
        round: &mut Gathering,
        halves: &mut VecDeque<NextRequest>,
        basis: &mut Basis,
    ) -> Delivered {
        loop {
            let (verdict, error) = match self.ask(&mut batch, basis).await {
                Answer::Accepted => {
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = round.accept(batch);
                    self.delete(&complete).await;
                    self.settle(&reference).await;
                    return Delivered::Done;
                }
                Answer::NoRoom if halves.is_empty() => {
                    round.put_back(batch);
                    return Delivered::NoRoom;
                }
                Answer::NoRoom => continue,
                Answer::Stopping | Answer::Outdated => {
                    round.put_back(batch);
                    return Delivered::Done;
                }
                Answer::NameTaken => {
                    batch = round.renamed(batch);
                    continue;
                }
                Answer::Refused(verdict, error) => (verdict, error),
            };
            self.count_retry(&error);
            if verdict == Verdict::Halve {
                batch = match round.halve(batch) {
                    Ok((first, second)) => {
                        halves.push_front(second);
                        halves.push_front(first);
                        return Delivered::Done;
                    }
                    Err(single) => *single,
                };
            }
            halves.drain(..).for_each(|half| round.put_back(half));
            return match verdict {
                Verdict::Halve | Verdict::Isolate | Verdict::NoTenant | Verdict::Unclear => {
                    self.set_apart(batch, round, &error);
                    Delivered::SetApart
                }
                Verdict::Outage
                | Verdict::Repeat
                | Verdict::Slower
                | Verdict::Room
                | Verdict::Rename => {
                    self.refused_for_now(&error, batch.invalidation.paths.len());
                    round.put_back(batch);
                    Delivered::Refused
                }
            };
        }
    }

    /// Sets the batch's messages apart: one of their paths is bad, or all are refused,
    /// and nobody else is to share a request with them.
    fn set_apart(&self, batch: NextRequest, round: &mut Gathering, error: &EdgeError) {
        info!(distribution = %self.name, error = %error, paths = batch.invalidation.paths.len(), messages = batch.messages.len(), "a path of a request is refused; its messages are set apart until it is known which");
        let suspects = round.take_out(batch);
        let known = self.distribution.suspects();
        known.arrive(self.scope.tenant.clone(), suspects);
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
