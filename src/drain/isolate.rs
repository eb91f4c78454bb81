//! The search for the paths that a distribution refuses, beside its rounds.
//!
//! It works on the suspects of one distribution until nothing is left of them, one
//! call at a time and within the rate limit that all calls share: so a round
//! waits for one call of it at most. Good paths among the suspects are accepted on
//! the way. Its messages are held meanwhile: a path that is refused is asked for
//! again half a minute later, however the queue is set up, and one that is refused
//! for a reason which nobody knows again and again.
//!
//! A bad path shows only by what is refused, and where many come, that takes longer than the
//! good ones among them may wait. So what has waited for ten seconds goes under wildcards
//! that cover it, and at once where the budget does not allow to ask for each path.
//!
//! A refusal is about a path only while the edge accepts others. While it refuses
//! everything, nothing is searched for: one path is asked for every few seconds. Once
//! anything is accepted, all suspects go in rounds again, as if they were new.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use metrics::counter;
use tokio::time::{Instant, sleep_until};

use super::arrivals::{Arrivals, of_tenant};
use super::ask::{Answer, Basis, Delivery, RoomWait};
use super::dead_letters::{Letter, bury};
use super::distribution::Distribution;
use super::parts::DrainParts;
use super::refused_paths::{Standing, Weight};
use super::suspects::{SuspectGroup, Suspects, Tenant};
use super::verdict::Verdict;
use crate::buffer::{Buffer, RejectedMessage};
use crate::edge::cover::request::Gathering;
use crate::edge::{Edge, EdgeError, Scope};
use crate::telemetry::{metric, repeating};

/// Bounded: while so many messages are suspects and the edge accepts others, nothing
/// that looks like a refused path is asked for. Its messages stay in the buffer once
/// their other paths are sent, and come back after their visibility timeout.
const SUSPECTS_MAX: usize = 250;
/// While it is so many, nothing is asked for of further ones.
const SUSPECTS_AT_MOST: usize = 2 * SUSPECTS_MAX;

/// Messages that are suspects no more, by their tenant.
pub(super) type Released = Vec<(Tenant, Gathering)>;

/// The search at one distribution.
pub(super) struct Isolation<'a, B: Buffer, E> {
    pub(super) parts: &'a DrainParts<B, E>,
    pub(super) distribution: &'a Distribution,
    pub(super) name: Arc<str>,
    id: Arc<str>,
    pub(super) suspects: Suspects,
    pub(super) waits: RoomWait,
    pub(super) basis: Basis,
    /// Tenants of which everything is refused, and whether that includes paths of which
    /// nothing was known before.
    refusing: BTreeMap<Tenant, bool>,
    /// Wildcards are asked for again from then on.
    pub(super) covers_from: Instant,
    /// Whether any of this is on the board.
    pub(super) reports: bool,
}

impl<'a, B: Buffer, E: Edge> Isolation<'a, B, E> {
    /// A search at the distribution with this `name` in the configuration.
    pub(super) fn new(
        parts: &'a DrainParts<B, E>,
        distribution: &'a Distribution,
        name: Arc<str>,
        id: Arc<str>,
    ) -> Self {
        Self {
            parts,
            distribution,
            name,
            id,
            suspects: Suspects::default(),
            waits: None,
            basis: Basis::default(),
            refusing: BTreeMap::new(),
            covers_from: Instant::now(),
            reports: false,
        }
    }

    /// Works until there are no suspects left, or those that are returned are to go in
    /// rounds, or to be given back once the drain stops. Afterwards no other of them is in
    /// flight. Cancelling is safe: messages that were not deleted come back.
    pub(super) async fn run(mut self) -> Released {
        let arrivals = self.distribution.suspects();
        loop {
            let (arrived, again) = arrivals.take();
            for (tenant, arrived) in arrived {
                self.admit(tenant, arrived).await;
            }
            if again {
                self.suspects.again();
            }
            if arrivals.are_mended() {
                break;
            }
            let mut refusing = self.refusing.keys();
            let accepts = refusing.any(|tenant| arrivals.accepts(tenant));
            if self.suspects.is_empty() || accepts || self.parts.stopping.is_cancelled() {
                break;
            }
            self.report();
            let overdue = self.suspects.overdue();
            if let Some(tenant) = overdue.filter(|_| self.covers_from <= Instant::now()) {
                self.cover(&tenant).await;
                continue;
            }
            let quiet_until = |tenant: &Tenant| self.distribution.suspension(tenant).until();
            match self.suspects.next(quiet_until) {
                Ok(group) => self.judge(group).await,
                Err(due) => {
                    let overdue = self.suspects.next_overdue();
                    let due = overdue.map_or(due, |at| due.min(at.max(self.covers_from)));
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = arrivals.news.notified() => {}
                        () = self.parts.stopping.cancelled() => {}
                    }
                }
            }
        }
        // What goes under wildcards is on the board for a while longer.
        if self.reports && self.distribution.covers.trouble().is_none() {
            self.parts.reports.board.recovered(&self.component());
        }
        let accepts = |(tenant, is_new): (&Tenant, &bool)| *is_new && arrivals.accepts(tenant);
        if self.refusing.iter().any(accepts) {
            arrivals.begin_anew();
        }
        let pools = self.suspects.into_pools();
        pools
            .filter(|(_, pool)| pool.distinct_paths() > 0)
            .collect()
    }

    pub(super) fn delivery(&self, tenant: &Tenant) -> Delivery<'a, B, E> {
        Delivery {
            parts: self.parts,
            distribution: self.distribution,
            name: Arc::clone(&self.name),
            scope: Scope {
                distribution: Arc::clone(&self.id),
                tenant: tenant.clone(),
            },
            retries: true,
        }
    }

    /// Takes in messages. What is known of their paths takes no call.
    async fn admit(&mut self, tenant: Tenant, arrived: Gathering) {
        let delivery = self.delivery(&tenant);
        let known = self.distribution.suspects();
        // While nothing is accepted, they hold nothing up.
        let held = if known.accepts(&tenant) {
            self.suspects.len()
        } else {
            0
        };
        if held >= SUSPECTS_AT_MOST {
            return delivery.leave(&arrived.unfinished());
        }
        let mut group = self.suspects.arrive(tenant, arrived);
        if held >= SUSPECTS_MAX || self.costs_too_much(&group) {
            group.overdue = Some(Instant::now());
        }
        let (mut similar, mut others) = (Vec::new(), Vec::new());
        for path in std::mem::take(&mut group.paths) {
            match known.standing(&path) {
                Standing::Unknown => others.push(path),
                Standing::Similar => similar.push(path),
                // `judge` looks at each by itself.
                Standing::Refused(_) => self.suspects.add(group.refused(path)),
            }
        }
        let similar = group.similar(similar);
        if held < SUSPECTS_MAX {
            self.suspects.add(similar);
        } else {
            self.suspects.end(similar, None);
        }
        self.suspects.add(group.with(others));
        self.end(&delivery).await;
    }

    /// Asks for a group, and parts it if it is refused. What is known needs no call.
    async fn judge(&mut self, mut group: SuspectGroup) {
        let tenant = group.tenant.clone();
        let delivery = self.delivery(&tenant);
        let known = self.distribution.suspects();
        if let Some(known) = known.refused_group(&tenant, &group.paths) {
            if known.is_final(group.arrived) {
                self.suspects.end(group, Some(&known.refusal));
                return self.end(&delivery).await;
            }
            group.due = known.again;
            if group.due > Instant::now() {
                return self.suspects.put_back(group);
            }
        }
        self.basis.after(Some(self.distribution.acceptances()));
        let covered = delivery.covered(self.suspects.pool(&tenant));
        delivery.delete(&covered).await;
        self.end(&delivery).await;
        let pool = self.suspects.pool(&tenant);
        group.paths.retain(|path| pool.holds(path));
        let asked = if known.accepts(&tenant) {
            &group.paths
        } else {
            question(known, &group.paths)
        };
        let room = self.distribution.room();
        let batch = pool.as_they_are(&delivery.scope, asked, room);
        let paths = group.paths.len();
        if batch.is_none() && paths > 0 {
            self.suspects.add(group);
            return delivery.wait(paths, &mut self.waits).await;
        }
        if self.waits.take().is_some() {
            delivery.has_room();
        }
        let Some(mut batch) = batch else {
            return self.suspects.add(group);
        };
        loop {
            let answer = delivery.ask(&mut batch, &mut self.basis).await;
            let pool = self.suspects.pool(&tenant);
            match answer {
                Answer::Accepted => {
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = pool.accept(batch);
                    group.paths.retain(|path| pool.holds(path));
                    delivery.delete(&complete).await;
                    delivery.settle(&reference).await;
                    self.suspects.put_back(group);
                    return self.end(&delivery).await;
                }
                Answer::NoRoom | Answer::Stopping | Answer::Outdated => {
                    pool.put_back(batch);
                    return self.suspects.put_back(group);
                }
                Answer::NameTaken => batch = pool.renamed(batch),
                Answer::Refused(verdict, error) => {
                    let alone = batch.alone().map(str::to_owned);
                    pool.put_back(batch);
                    return self.refused(&delivery, group, alone, verdict, &error);
                }
            }
        }
    }

    /// The edge refused a group, or the path of it that it was asked for `alone`.
    fn refused(
        &mut self,
        delivery: &Delivery<'_, B, E>,
        mut group: SuspectGroup,
        alone: Option<String>,
        verdict: Verdict,
        error: &EdgeError,
    ) {
        delivery.count_retry(error);
        let known = self.distribution.suspects();
        let weight = match verdict {
            Verdict::Halve => return self.suspects.halve(group),
            Verdict::NoTenant => {
                self.tenant_is_gone(delivery, error);
                return self.suspects.add(group);
            }
            Verdict::Isolate | Verdict::Unclear if !known.accepts(&group.tenant) => Weight::None,
            Verdict::Isolate => Weight::Counts,
            Verdict::Unclear => Weight::Unclear,
            Verdict::Outage
            | Verdict::Repeat
            | Verdict::Slower
            | Verdict::Room
            | Verdict::Rename => {
                delivery.refused_for_now(error, group.paths.len());
                return self.suspects.add(group);
            }
        };
        if weight == Weight::None {
            delivery.refused_for_now(error, group.paths.len());
            if let Some(path) = &alone {
                let text = format!(
                    "CloudFront refuses everything that is asked for, {path} last, which says nothing of that path until others are accepted: {} ({})",
                    error.code, error.reason
                );
                delivery.in_trouble(Timestamp::now(), text);
            }
            let refused = known.refused_group(&group.tenant, &group.paths);
            *self.refusing.entry(group.tenant.clone()).or_default() |= refused.is_none();
        }
        let Some(path) = alone else {
            return self.suspects.halve(group);
        };
        self.refused_alone(delivery, &path, error, weight);
        group.paths.retain(|other| *other != path);
        self.suspects.add(group.refused(path));
        self.suspects.add(group);
    }

    /// The edge refuses the path by itself.
    fn refused_alone(
        &self,
        delivery: &Delivery<'_, B, E>,
        path: &str,
        error: &EdgeError,
        weight: Weight,
    ) {
        counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name()).increment(1);
        let (distribution, tenant) = (&self.name, delivery.scope.tenant.as_deref());
        let subject = format!("{distribution} {}", error.name());
        match weight {
            Weight::None => {}
            Weight::Counts => {
                repeating!(error, &subject, { %distribution, tenant, path, error = %error },
                "the edge refuses a path");
            }
            Weight::Unclear => {
                repeating!(warn, &subject, { %distribution, tenant, path, error = %error },
                "a path is refused for a reason that evictd does not know, while others are accepted; it is kept apart, and tried again later and later");
            }
        }
        self.distribution.suspects().refuse(path, error, weight);
    }

    /// There is no such tenant.
    fn tenant_is_gone(&self, delivery: &Delivery<'_, B, E>, error: &EdgeError) {
        let Some(tenant) = &delivery.scope.tenant else {
            return;
        };
        counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name()).increment(1);
        repeating!(error, &self.name, { distribution = %self.name, %tenant, error = %error },
            "a tenant does not exist");
        // Whatever it was in trouble for before, it is not any more.
        delivery.recovered();
        let known = self.distribution.suspects();
        known.refuse(&of_tenant(tenant), error, Weight::Counts);
    }

    /// Sees to messages of which nothing is left to ask for.
    pub(super) async fn end(&mut self, delivery: &Delivery<'_, B, E>) {
        let (mut left, mut letters) = (Vec::new(), Vec::new());
        for (id, paths) in self.suspects.take_ended(&delivery.scope.tenant) {
            let refusals: Option<Vec<_>> = paths.iter().map(|(_, why)| why.clone()).collect();
            let Some(refusal) = refusals.and_then(|refusals| refusals.into_iter().next()) else {
                left.push(id);
                continue;
            };
            let Some(held) = self.parts.in_flight.burying(&id) else {
                continue;
            };
            letters.push(Letter {
                is_first: self.parts.buried.is_first(&id),
                id,
                code: refusal.code,
                rejected: RejectedMessage {
                    receipt: held.receipt,
                    body: held.body,
                    reason: refusal.reason.to_string(),
                    deliveries: held.deliveries,
                },
                distribution: Some(Arc::clone(&self.name)),
                paths: paths.into_iter().map(|(path, _)| path).collect(),
            });
        }
        delivery.leave(&left);
        if !letters.is_empty() {
            let ids = letters.iter().map(|letter| Arc::clone(&letter.id));
            let ids: Vec<_> = ids.collect();
            bury(&*self.parts.buffer, &self.parts.reports.ledger, letters).await;
            self.parts.in_flight.release(&ids);
            if self.suspects.pool(&delivery.scope.tenant).distinct_paths() == 0 {
                delivery.recovered();
            }
        }
    }
}

/// One of the paths, as a question whether the edge accepts anything: rather one that
/// does not look like those that it refused.
fn question<'g>(known: &Arrivals, paths: &'g [String]) -> &'g [String] {
    let is_unlike = |path: &&String| known.standing(path) == Standing::Unknown;
    let mut unlike = paths.iter().filter(is_unlike);
    let one = match unlike.clone().count() {
        0 => paths.get(rand::random_range(0..paths.len().max(1))),
        many => unlike.nth(rand::random_range(0..many)),
    };
    one.map_or(paths, std::slice::from_ref)
}
