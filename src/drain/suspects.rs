//! Messages with a path that the edge refuses, or may refuse, until it is known
//! which path that is.
//!
//! Their paths come in groups: what shared a refused request. A group is asked for
//! as one, and parted in halves when that is refused, down to single paths. The
//! order in which groups are asked for is fair both ways: by turns the one that
//! promises most, which is the largest without a path that looks like a refused one,
//! and the one that waits longest.
//! Where one group after the other is refused, a rule is wrong: what is left is asked
//! for at one call a second at most, until something is accepted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::refused_paths::Refusal;
use crate::edge::cover::request::Gathering;

/// Groups that are refused in a row, for each message, before the others are asked for
/// slowly. To find one path among a message's 3,000 takes thirteen.
const SWIFT_REFUSALS_MAX: usize = 16;

const SLOW: Duration = Duration::from_secs(1);

/// Pauses between attempts at a path that is refused alone for a reason which nobody
/// knows: the first, and the longest.
const APART: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// A tenant of the distribution; `None`: the distribution itself.
pub(super) type Tenant = Option<Arc<str>>;

/// Paths that are asked for together.
#[derive(Clone, Debug)]
pub(super) struct SuspectGroup {
    pub(super) tenant: Tenant,
    pub(super) paths: Vec<String>,
    /// Whether its paths look like refused ones.
    resembles: bool,
    /// Its place among all groups, in the order in which they are to be asked for.
    number: u64,
    /// When the last message with one of its paths arrived.
    pub(super) arrived: Instant,
    /// When it may be asked for.
    pub(super) due: Instant,
    /// When it was last refused for a reason that says nothing about paths.
    pub(super) unclear_at: Option<Instant>,
    /// Since when its only path waits, which is refused for such a reason while others
    /// are accepted; how often it was; and the edge's words.
    pub(super) apart: Option<(Timestamp, u32, String)>,
}

/// What becomes of a message once nothing is left of it to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EndedMessage {
    /// The edge accepted every path of it.
    Complete,
    /// The edge accepted all but these, each of which it refused for good.
    Refused(Refusal, Vec<String>),
    /// Some of its paths were neither accepted nor refused.
    Left,
}

/// The suspects of one distribution.
#[derive(Debug)]
pub(super) struct Suspects {
    /// The messages, with the paths of them that are still to be sent.
    pools: BTreeMap<Tenant, Gathering>,
    /// Every path of the pools is in one of them.
    groups: Vec<SuspectGroup>,
    /// Messages of which some path was given up.
    given_up: HashMap<Arc<str>, EndedMessage>,
    next_number: u64,
    promising: bool,
    /// Groups that were refused since something was accepted.
    refusals: usize,
    slow_until: Instant,
}

impl Suspects {
    pub(super) fn new() -> Self {
        Self {
            pools: BTreeMap::new(),
            groups: Vec::new(),
            given_up: HashMap::new(),
            next_number: 0,
            promising: true,
            refusals: 0,
            slow_until: Instant::now(),
        }
    }

    /// Number of messages.
    pub(super) fn len(&self) -> usize {
        self.pools
            .values()
            .map(|pool| pool.arrivals().count())
            .sum()
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn groups(&mut self) -> &mut [SuspectGroup] {
        &mut self.groups
    }

    pub(super) fn pool(&mut self, tenant: &Tenant) -> &mut Gathering {
        self.pools.entry(tenant.clone()).or_default()
    }

    /// Takes in messages. Returns a group of their paths that are in none yet.
    pub(super) fn arrive(&mut self, tenant: Tenant, arrived: Gathering) -> SuspectGroup {
        let pool = self.pools.entry(tenant.clone()).or_default();
        let new = arrived.paths().filter(|path| !pool.holds(path));
        let paths = new.map(str::to_owned).collect();
        for group in &mut self.groups {
            if group.tenant == tenant && group.paths.iter().any(|path| arrived.holds(path)) {
                group.arrived = Instant::now();
            }
        }
        pool.absorb(arrived);
        SuspectGroup {
            tenant,
            paths,
            resembles: false,
            number: 0,
            arrived: Instant::now(),
            due: Instant::now(),
            unclear_at: None,
            apart: None,
        }
    }

    /// Adds a group behind the others, if there is something in it to ask for.
    pub(super) fn add(&mut self, mut group: SuspectGroup) {
        if !group.paths.is_empty() {
            group.number = self.next_number;
            self.next_number += 1;
            self.groups.push(group);
        }
    }

    /// Puts a group back that was not asked for, in its place.
    pub(super) fn put_back(&mut self, group: SuspectGroup) {
        self.groups.push(group);
    }

    /// The group to ask for next, or when one is due. A tenant's may be due later, as
    /// `quiet_until` says.
    pub(super) fn next(
        &mut self,
        quiet_until: impl Fn(&Tenant) -> Instant,
    ) -> Result<SuspectGroup, Instant> {
        let now = Instant::now();
        let due = |group: &SuspectGroup| {
            let due = group.due.max(quiet_until(&group.tenant));
            due.max(self.slow_until)
        };
        let is_due = |(_, group): &(usize, &SuspectGroup)| due(group) <= now;
        let ready = self.groups.iter().enumerate().filter(is_due);
        let next = if self.promising {
            ready.max_by_key(|(_, group)| {
                let size = group.paths.len();
                (!group.resembles, size, u64::MAX - group.number)
            })
        } else {
            ready.min_by_key(|(_, group)| group.number)
        };
        let Some((index, _)) = next else {
            let first = self.groups.iter().map(due).min();
            return Err(first.unwrap_or(now + SLOW));
        };
        self.promising = !self.promising;
        Ok(self.groups.swap_remove(index))
    }

    /// One of the group's paths is refused, and nobody knows which: its halves are asked
    /// for.
    pub(super) fn halve(&mut self, mut group: SuspectGroup) {
        self.refusals += 1;
        if self.refusals > SWIFT_REFUSALS_MAX * self.len() {
            self.slow_until = Instant::now() + SLOW;
        }
        let second = group.paths.split_off(group.paths.len().div_ceil(2));
        self.add(group.with(second));
        self.add(group);
    }

    /// The edge accepted paths of a group. Where it was kept apart, what it was refused
    /// for may be mended for others too.
    pub(super) fn accepted(&mut self, group: &SuspectGroup) {
        self.refusals = 0;
        if group.apart.is_some() {
            let apart = self.groups.iter_mut().filter(|other| other.apart.is_some());
            apart.for_each(|other| other.due = Instant::now());
        }
    }

    /// Gives a path up, which was refused for good or is left. Returns messages of
    /// which nothing is left to ask for.
    pub(super) fn give_up(
        &mut self,
        tenant: &Tenant,
        path: &str,
        refusal: Option<&Refusal>,
    ) -> Vec<Arc<str>> {
        let (holders, complete) = self.pool(tenant).give_up(path);
        for id in holders {
            let Some(refusal) = refusal else {
                self.given_up.insert(id, EndedMessage::Left);
                continue;
            };
            let refused = || EndedMessage::Refused(refusal.clone(), Vec::new());
            let ended = self.given_up.entry(id).or_insert_with(refused);
            if let EndedMessage::Refused(_, paths) = ended {
                paths.push(path.to_owned());
            }
        }
        complete
    }

    /// What becomes of a message of which nothing is left to ask for.
    pub(super) fn ended(&mut self, id: &Arc<str>) -> EndedMessage {
        self.given_up.remove(id).unwrap_or(EndedMessage::Complete)
    }
}

impl SuspectGroup {
    /// The same for paths that look like refused ones.
    pub(super) fn similar(&self, paths: Vec<String>) -> Self {
        Self {
            resembles: true,
            ..self.with(paths)
        }
    }

    /// The same for other paths.
    pub(super) fn with(&self, paths: Vec<String>) -> Self {
        Self {
            paths,
            ..self.clone()
        }
    }

    /// Its only path was refused for a reason that nobody knows, while others are
    /// accepted: it is asked for again later and later. Returns since when it waits, if
    /// not for longer: since its change was committed.
    pub(super) fn keep_apart(&mut self, words: String, committed_at: Timestamp) -> Timestamp {
        let (since, times) = match &self.apart {
            Some((since, times, _)) => (committed_at.min(*since), *times),
            None => (committed_at, 0),
        };
        let factor = 2_u32.checked_pow(times).unwrap_or(u32::MAX);
        self.due = Instant::now() + APART.0.saturating_mul(factor).min(APART.1);
        self.apart = Some((since, times + 1, words));
        since
    }
}
