//! The search for the paths that a distribution refuses, beside its rounds.
//!
//! It works on the suspects of one distribution until nothing is left of them, one
//! call at a time and within the rate limit that all calls share: so a round
//! waits for one call of it at most. Good paths among the suspects are accepted on
//! the way.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::ask::{Answer, Delivery, Failures};
use super::dead_letters::EdgeRefusal;
use super::distribution::Distribution;
use super::parts::DrainParts;
use super::suspects::{EndedMessage, SuspectGroup, Suspects};
use super::verdict::Verdict;
use crate::buffer::Buffer;
use crate::edge::cover::request::Gathering;
use crate::edge::{Edge, Scope};

/// Bounded: while so many messages are suspects, nothing that looks like a refused
/// path is asked for. Its messages stay in the buffer, and come back after their
/// visibility timeout.
const SUSPECTS_MAX: usize = 250;
/// The same for all paths of messages with such a path.
const SUSPECTS_AT_MOST: usize = 2 * SUSPECTS_MAX;

/// The search at one distribution.
pub(super) struct Isolation<'a, B: Buffer, E> {
    pub(super) parts: &'a DrainParts<B, E>,
    pub(super) distribution: &'a Distribution,
    /// The distribution's name in the configuration.
    pub(super) name: Arc<str>,
    pub(super) id: Arc<str>,
}

impl<B: Buffer, E: Edge> Isolation<'_, B, E> {
    /// Works until there are no suspects left. Afterwards none of them is in
    /// flight. Cancelling is safe: messages that were not deleted come back.
    pub(super) async fn run(self) {
        let mut suspects = Suspects::new();
        let mut failures = Failures::none();
        loop {
            for (tenant, arrived) in self.distribution.suspects().take() {
                self.admit(&mut suspects, tenant, arrived).await;
            }
            if suspects.is_empty() {
                break;
            }
            match suspects.next(Instant::now()) {
                Ok(group) => self.judge(group, &mut suspects, &mut failures).await,
                Err(due) => sleep_until(due).await,
            }
        }
    }

    fn delivery(&self, tenant: &Option<Arc<str>>) -> Delivery<'_, B, E> {
        Delivery {
            parts: self.parts,
            distribution: self.distribution,
            name: Arc::clone(&self.name),
            scope: Scope {
                distribution: Arc::clone(&self.id),
                tenant: tenant.clone(),
            },
        }
    }

    /// Takes in messages. What is known of their paths takes no call.
    async fn admit(&self, suspects: &mut Suspects, tenant: Option<Arc<str>>, arrived: Gathering) {
        let delivery = self.delivery(&tenant);
        if suspects.len() >= SUSPECTS_AT_MOST {
            let left = self.parts.in_flight.release(&arrived.unfinished());
            return delivery.report_left("suspect", left);
        }
        let known = self.distribution.suspects();
        let (refused, mut rest) = arrived.part(|path| known.refusal(path).is_some());
        suspects.count(&refused);
        suspects.count(&rest);
        if rest
            .arrivals()
            .any(|(_, arrival)| delivery.may_be_sent(arrival))
        {
            let complete = delivery.recall(&mut rest).await;
            self.end(&delivery, suspects.done(&complete)).await;
        }
        self.leave_out(&delivery, suspects, &mut rest).await;
        for (path, only) in refused.one_by_one() {
            self.condemn(suspects, &path, &only);
        }
        let done = suspects.done(&refused.unfinished());
        self.end(&delivery, done).await;
        let ids = rest.unfinished();
        let (mut similar, others) = rest.part(|path| known.suspects(path));
        if suspects.len() >= SUSPECTS_MAX {
            suspects.leave(&similar.unfinished());
            similar = Gathering::default();
        }
        let ended = suspects.replace(&tenant, &ids, [(others, false), (similar, true)]);
        self.end(&delivery, ended).await;
    }

    /// Asks for a group, and parts it if it is refused.
    async fn judge(
        &self,
        mut group: SuspectGroup,
        suspects: &mut Suspects,
        failures: &mut Failures,
    ) {
        let delivery = self.delivery(&group.tenant);
        self.leave_out(&delivery, suspects, &mut group.paths).await;
        if let Some(path) = group.paths.only_path()
            && self.distribution.suspects().refusal(&path).is_some()
        {
            self.condemn(suspects, &path, &group.paths);
            let done = suspects.done(&group.paths.unfinished());
            return self.end(&delivery, done).await;
        }
        let room = self.distribution.room();
        let Some(mut batch) = group.paths.as_they_are(&delivery.scope, room) else {
            let paths = group.paths.distinct_paths();
            if paths > 0 {
                suspects.put_back(group);
                delivery.wait(paths, failures).await;
            }
            return;
        };
        loop {
            match delivery.ask(&batch, failures).await {
                Answer::Accepted => {
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = group.paths.accept(batch);
                    self.end(&delivery, suspects.done(&complete)).await;
                    delivery.settle(&reference).await;
                    if group.paths.distinct_paths() > 0 {
                        suspects.put_back(group);
                    }
                    return;
                }
                Answer::NoRoom => {
                    group.paths.put_back(batch);
                    return suspects.put_back(group);
                }
                Answer::NameTaken => batch = group.paths.renamed(batch),
                Answer::Refused(Verdict::Halve | Verdict::Isolate, error) => {
                    delivery.count_retry(&error);
                    if let Some(path) = batch.alone() {
                        delivery.refused_alone(path, &error);
                    }
                    group.paths.put_back(batch);
                    if group.paths.distinct_paths() > 1 {
                        let ended = suspects.refused(group);
                        return self.end(&delivery, ended).await;
                    }
                    return suspects.put_back(group);
                }
                Answer::Refused(_, error) => {
                    failures.refusal = Some(error.name());
                    delivery.give_up(&batch, &error, |id| suspects.deliveries(id));
                    let ids = group.paths.unfinished();
                    suspects.leave(&ids);
                    return self.end(&delivery, suspects.done(&ids)).await;
                }
            }
        }
    }

    async fn leave_out(
        &self,
        delivery: &Delivery<'_, B, E>,
        suspects: &mut Suspects,
        paths: &mut Gathering,
    ) {
        let complete = delivery.covered(paths);
        self.end(delivery, suspects.done(&complete)).await;
    }

    /// These messages hold a path that was refused alone.
    fn condemn(&self, suspects: &mut Suspects, path: &str, only: &Gathering) {
        let ids = only.unfinished();
        match self.distribution.suspects().refusal(path) {
            Some(refusal) => suspects.condemn(&ids, path, &refusal),
            None => suspects.leave(&ids),
        }
    }

    /// Messages of which nothing is left to ask for.
    async fn end(&self, delivery: &Delivery<'_, B, E>, ended: Vec<EndedMessage>) {
        let mut complete = Vec::new();
        let mut left = Vec::new();
        let mut reason = "left";
        for ended in ended {
            match ended {
                EndedMessage::Complete(id) => complete.push(id),
                EndedMessage::Left(id) => left.push(id),
                EndedMessage::Refused(id, refused) => {
                    reason = refused.refusal.code;
                    if refused.deliveries >= self.parts.options.max_receives {
                        let refusal = EdgeRefusal {
                            code: refused.refusal.code,
                            reason: refused.refusal.reason.to_string(),
                            paths: Some(refused.paths),
                        };
                        self.parts.refusals.add(&id, refusal);
                    }
                    left.push(id);
                }
            }
        }
        delivery.delete(&complete).await;
        if !left.is_empty() {
            let left = self.parts.in_flight.release(&left);
            delivery.report_left(reason, left);
        }
    }
}
