//! The search for the paths that a distribution refuses, beside its rounds.
//!
//! It works on the suspects of one distribution until nothing is left of them, one
//! call at a time and within the rate limit that all calls share: so a round
//! waits for one call of it at most. Good paths among the suspects are accepted on
//! the way. Its messages are held meanwhile: a path that is refused is asked for
//! again half a minute later, however the queue is set up, and one that is refused
//! for a reason which nobody knows again and again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics::counter;
use tokio::time::{Instant, sleep_until};

use super::ask::{Answer, Delivery, RoomWait};
use super::dead_letters::{Letter, bury};
use super::deliver::paths_to_try;
use super::distribution::Distribution;
use super::parts::DrainParts;
use super::refused_paths::{CONFIRMED_AFTER, Standing};
use super::suspects::{EndedMessage, SuspectGroup, Suspects, Tenant};
use super::verdict::Verdict;
use crate::buffer::{Buffer, RejectedMessage};
use crate::edge::cover::request::Gathering;
use crate::edge::{Edge, EdgeError, Scope};
use crate::model::CommitTime;
use crate::progress::board::Component;
use crate::telemetry::{metric, repeating};

/// Bounded: while so many messages are suspects, nothing that looks like a refused
/// path is asked for. Its messages stay in the buffer, and come back after their
/// visibility timeout.
const SUSPECTS_MAX: usize = 250;
/// The same for all paths of messages with such a path.
const SUSPECTS_AT_MOST: usize = 2 * SUSPECTS_MAX;

/// Time for which the edge may refuse one path after the other before that is trouble.
const REFUSING_AT_MOST: Duration = Duration::from_secs(60);

/// The search at one distribution.
pub(super) struct Isolation<'a, B: Buffer, E> {
    parts: &'a DrainParts<B, E>,
    distribution: &'a Distribution,
    name: Arc<str>,
    id: Arc<str>,
    suspects: Suspects,
    waits: RoomWait,
    /// Since when every request is refused for its paths, and the edge's last words.
    refusing: Option<(Timestamp, Instant, String)>,
    /// Whether any of this is on the board.
    reports: bool,
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
            suspects: Suspects::new(),
            waits: None,
            refusing: None,
            reports: false,
        }
    }

    /// Works until there are no suspects left. Afterwards none of them is in
    /// flight. Cancelling is safe: messages that were not deleted come back.
    pub(super) async fn run(mut self) {
        let arrivals = self.distribution.suspects();
        loop {
            let (arrived, afresh) = arrivals.take();
            for (tenant, arrived) in arrived {
                self.admit(tenant, arrived).await;
            }
            for group in self.suspects.groups() {
                if group.paths.iter().any(|path| afresh.contains(path)) {
                    group.due = Instant::now();
                }
            }
            self.report();
            if self.suspects.is_empty() {
                break;
            }
            let quiet_until = |tenant: &Tenant| self.distribution.suspension(tenant).until();
            match self.suspects.next(quiet_until) {
                Ok(group) => self.judge(group).await,
                Err(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = arrivals.news.notified() => {}
                },
            }
        }
    }

    fn delivery(&self, tenant: &Tenant) -> Delivery<'a, B, E> {
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
    async fn admit(&mut self, tenant: Tenant, mut arrived: Gathering) {
        let delivery = self.delivery(&tenant);
        let held = self.suspects.len();
        if held >= SUSPECTS_AT_MOST {
            return delivery.leave(&arrived.unfinished());
        }
        if arrived
            .arrivals()
            .any(|(_, arrival)| delivery.may_be_sent(arrival))
        {
            let complete = delivery.recall(&mut arrived).await;
            delivery.delete(&complete).await;
        }
        let mut group = self.suspects.arrive(tenant, arrived);
        let (mut similar, mut others) = (Vec::new(), Vec::new());
        for path in std::mem::take(&mut group.paths) {
            match self.distribution.suspects().standing(&path) {
                Standing::Unknown => others.push(path),
                Standing::Similar if held < SUSPECTS_MAX => similar.push(path),
                Standing::Similar => {
                    let done = self.suspects.give_up(&group.tenant, &path, None);
                    self.end(&delivery, &done).await;
                }
                // `judge` looks at each by itself.
                Standing::RefusedOnce(_) | Standing::RefusedForGood(..) => {
                    self.suspects.add(group.similar(vec![path]));
                }
            }
        }
        self.suspects.add(group.with(others));
        self.suspects.add(group.similar(similar));
    }

    /// Asks for a group, and parts it if it is refused. What is known needs no call.
    async fn judge(&mut self, mut group: SuspectGroup) {
        let tenant = group.tenant.clone();
        let delivery = self.delivery(&tenant);
        let covered = delivery.covered(self.suspects.pool(&tenant));
        self.end(&delivery, &covered).await;
        let pool = self.suspects.pool(&tenant);
        group.paths.retain(|path| pool.holds(path));
        let known = self.distribution.suspects();
        let standing = match (known.tenant_is_gone(&tenant), &*group.paths) {
            (Some(gone), _) => gone,
            (None, [path]) => known.standing(path),
            (None, _) => Standing::Unknown,
        };
        match standing {
            Standing::RefusedForGood(refusal, at) if at >= group.arrived => {
                for path in &group.paths {
                    let done = self.suspects.give_up(&tenant, path, Some(&refusal));
                    self.end(&delivery, &done).await;
                }
                return;
            }
            Standing::RefusedForGood(_, at) => group.due = at + CONFIRMED_AFTER,
            Standing::RefusedOnce(due) => group.due = due,
            Standing::Similar | Standing::Unknown => {}
        }
        if group.due > Instant::now() {
            return self.suspects.put_back(group);
        }
        let is_clear = group.unclear_at.is_none() || delivery.is_about_a_path(group.unclear_at);
        let pool = self.suspects.pool(&tenant);
        let room = self.distribution.room();
        let asked = paths_to_try(&group.paths, is_clear);
        let Some(mut batch) = pool.as_they_are(&delivery.scope, asked, room) else {
            let paths = group.paths.len();
            self.suspects.add(group);
            if paths > 0 {
                delivery.wait(paths, &mut self.waits).await;
            }
            return;
        };
        loop {
            let answer = delivery.ask(&batch, &mut self.waits).await;
            let pool = self.suspects.pool(&tenant);
            match answer {
                Answer::Accepted => {
                    let reference = batch.invalidation.caller_reference.clone();
                    let complete = pool.accept(batch);
                    self.suspects.accepted(&group);
                    self.refusing = None;
                    self.end(&delivery, &complete).await;
                    delivery.settle(&reference).await;
                    return self.suspects.put_back(group);
                }
                Answer::NoRoom => {
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
        let is_about_paths = match verdict {
            Verdict::Isolate | Verdict::Halve => true,
            Verdict::NoTenant => {
                delivery.tenant_is_gone(error);
                return self.suspects.add(group);
            }
            Verdict::Unclear => group.apart.is_some() || delivery.is_about_a_path(group.unclear_at),
            Verdict::Outage
            | Verdict::Repeat
            | Verdict::Slower
            | Verdict::Room
            | Verdict::Rename => false,
        };
        if !is_about_paths {
            if matches!(verdict, Verdict::Unclear) {
                group.unclear_at = Some(Instant::now());
            }
            delivery.refused_for_now(error, group.paths.len());
            return self.suspects.add(group);
        }
        if group.apart.is_none() {
            self.count_refusing(&group.tenant, error);
        }
        let Some(path) = alone else {
            return self.suspects.halve(group);
        };
        group.paths.retain(|other| *other != path);
        let mut single = group.similar(vec![path.clone()]);
        self.suspects.add(group);
        if matches!(verdict, Verdict::Unclear) {
            self.distribution.suspects().set_apart(&path);
            let committed_at = self.suspects.pool(&single.tenant).committed_at(&path);
            let committed_at = committed_at.and_then(CommitTime::timestamp);
            let committed_at = committed_at.unwrap_or_else(Timestamp::now);
            let since = single.keep_apart(error.to_string(), committed_at);
            counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name()).increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, path, %since, error = %error },
                "a path is refused for a reason that evictd does not know, while others are accepted; it is kept apart, and tried again later and later");
        } else {
            delivery.refused_alone(&path, error);
        }
        self.suspects.add(single);
    }

    /// Notes that paths were refused, and begins anew if any was accepted since the last time.
    fn count_refusing(&mut self, tenant: &Tenant, error: &EdgeError) {
        let known = self.distribution.suspects();
        let last = self.refusing.take();
        let last = last.filter(|(_, begun, _)| !known.has_accepted_since(tenant, *begun));
        let (since, begun) = match last {
            Some((since, begun, _)) => (since, begun),
            None => (Timestamp::now(), Instant::now()),
        };
        self.refusing = Some((since, begun, error.to_string()));
    }

    /// Says since when nothing is accepted, though it is paths that are refused, or else
    /// since when paths are kept apart that are refused for a reason which nobody knows.
    fn report(&mut self) {
        let board = &self.parts.reports.board;
        let component = Component::Paths(Arc::clone(&self.name));
        let messages = self.suspects.len();
        let refusing = self
            .refusing
            .as_ref()
            .filter(|(_, begun, _)| messages > 0 && begun.elapsed() >= REFUSING_AT_MOST);
        let groups = self.suspects.groups().iter();
        let apart = groups.filter_map(|group| Some((group.apart.as_ref()?, group.paths.first()?)));
        let count = apart.clone().count();
        let (since, text) = match (refusing, apart.min_by_key(|((since, ..), _)| *since)) {
            (Some((since, _, words)), _) => (
                since,
                format!(
                    "every path that was asked for lately was refused; correct the rules that make them, or what CloudFront's answer names (messages that wait: {messages}): {words}"
                ),
            ),
            (None, Some(((since, times, words), path))) => (
                since,
                format!(
                    "{path} was refused {times} times while other paths were accepted, and is tried again within five minutes; correct the rule that makes it, or what CloudFront's answer names (such paths: {count}): {words}"
                ),
            ),
            (None, None) => {
                if std::mem::take(&mut self.reports) {
                    board.recovered(&component);
                }
                return;
            }
        };
        board.failing_since(&component, *since, text);
        self.reports = true;
    }

    /// Messages of which nothing is left to ask for.
    async fn end(&mut self, delivery: &Delivery<'_, B, E>, ids: &[Arc<str>]) {
        let (mut complete, mut left, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for id in ids {
            match self.suspects.ended(id) {
                EndedMessage::Complete => complete.push(Arc::clone(id)),
                EndedMessage::Left => left.push(Arc::clone(id)),
                EndedMessage::Refused(refusal, paths) => {
                    let Some(held) = self.parts.in_flight.burying(id) else {
                        continue;
                    };
                    letters.push(Letter {
                        id: Arc::clone(id),
                        code: refusal.code,
                        rejected: RejectedMessage {
                            receipt: held.receipt,
                            body: held.body,
                            reason: refusal.reason.to_string(),
                            deliveries: held.deliveries,
                        },
                        distribution: Some(Arc::clone(&self.name)),
                        paths,
                        is_first: self.parts.buried.is_first(id),
                    });
                }
            }
        }
        delivery.delete(&complete).await;
        delivery.leave(&left);
        if !letters.is_empty() {
            let ids: Vec<_> = letters
                .iter()
                .map(|letter| Arc::clone(&letter.id))
                .collect();
            bury(&*self.parts.buffer, &self.parts.reports.ledger, letters).await;
            self.parts.in_flight.release(&ids);
        }
    }
}
