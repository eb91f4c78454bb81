//! Messages with a path that the edge refuses, or may refuse, until it is known
//! which path that is.
//!
//! They come in groups: what shared a refused request. A group is asked for as
//! one, and parted in halves when that is refused, down to single paths. The
//! order in which groups are asked for is fair both ways: by turns the one that
//! promises most, which is the largest without a path that looks like a refused one,
//! and the one that waits longest.
//! A message that has taken part in many refusals is one whose rule is wrong: what
//! is left of it is asked for at one call a second at most, and holds up no other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::refused_paths::{Refusal, RefusedPaths};
use crate::edge::EdgeError;
use crate::edge::cover::request::Gathering;

/// Refusals that a message takes part in before it is asked for slowly. To find
/// one path among a message's 3,000 takes thirteen.
const SWIFT_REFUSALS_MAX: u32 = 16;

const SLOW: Duration = Duration::from_secs(1);

/// Suspects that nobody has looked at, and what is known of paths. Locked for
/// moments, never across an await.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    state: Mutex<ArrivalsState>,
}

#[derive(Debug, Default)]
struct ArrivalsState {
    by_tenant: BTreeMap<Option<Arc<str>>, Gathering>,
    refused: RefusedPaths,
}

impl Arrivals {
    /// Sets messages apart.
    pub(super) fn arrive(&self, tenant: Option<Arc<str>>, suspects: Gathering) {
        let mut state = self.lock();
        state.by_tenant.entry(tenant).or_default().absorb(suspects);
    }

    /// Whether somebody has to look at suspects.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().by_tenant.is_empty()
    }

    /// Takes those that have arrived.
    pub(super) fn take(&self) -> BTreeMap<Option<Arc<str>>, Gathering> {
        std::mem::take(&mut self.lock().by_tenant)
    }

    /// Their messages.
    pub(super) fn messages(&self) -> Vec<Arc<str>> {
        let state = self.lock();
        state
            .by_tenant
            .values()
            .flat_map(Gathering::messages)
            .collect()
    }

    /// The edge refuses the path by itself.
    pub(super) fn refuse(&self, path: &str, error: &EdgeError) {
        let refusal = Refusal {
            code: error.name(),
            reason: error.to_string().into(),
        };
        self.lock().refused.add(path, refusal);
    }

    /// The edge accepted these paths.
    pub(super) fn accepted(&self, paths: &[String]) {
        self.lock().refused.accepted(paths);
    }

    /// The refusal of the path, if it still counts.
    pub(super) fn refusal(&self, path: &str) -> Option<Refusal> {
        self.lock().refused.refusal(path)
    }

    /// Whether the path was refused, or looks like one that was.
    pub(super) fn suspects(&self, path: &str) -> bool {
        let mut state = self.lock();
        state.refused.refusal(path).is_some() || state.refused.resembles(path)
    }

    fn lock(&self) -> MutexGuard<'_, ArrivalsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Paths that are asked for together.
#[derive(Debug)]
pub(super) struct SuspectGroup {
    pub(super) tenant: Option<Arc<str>>,
    pub(super) paths: Gathering,
    /// Whether its paths look like refused ones.
    resembles: bool,
    /// Its place among all groups, in the order in which they came.
    number: u64,
}

/// The end of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EndedMessage {
    /// The edge accepted every path of it.
    Complete(Arc<str>),
    /// The edge accepted all but these, each of which it refused alone.
    Refused(Arc<str>, RefusedMessage),
    /// Some of its paths were neither accepted nor refused.
    Left(Arc<str>),
}

/// What was refused of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedMessage {
    /// Number of times it was received.
    pub(super) deliveries: u32,
    pub(super) refusal: Refusal,
    pub(super) paths: Vec<String>,
}

#[derive(Debug)]
struct Suspect {
    deliveries: u32,
    /// Groups with paths of it.
    groups: usize,
    /// Refusals that it took part in.
    refusals: u32,
    refused: Vec<String>,
    refusal: Option<Refusal>,
    left: bool,
}

/// The suspects of one distribution.
#[derive(Debug)]
pub(super) struct Suspects {
    messages: HashMap<Arc<str>, Suspect>,
    groups: Vec<SuspectGroup>,
    next_number: u64,
    promising: bool,
    slow_at: Instant,
}

impl Suspects {
    pub(super) fn new() -> Self {
        Self {
            messages: HashMap::new(),
            groups: Vec::new(),
            next_number: 0,
            promising: true,
            slow_at: Instant::now(),
        }
    }

    /// Number of messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes in that paths of these messages are in one more part of what is asked
    /// for.
    pub(super) fn count(&mut self, paths: &Gathering) {
        for (id, arrival) in paths.arrivals() {
            let suspect = self
                .messages
                .entry(Arc::clone(id))
                .or_insert_with(|| Suspect {
                    deliveries: arrival.deliveries,
                    groups: 0,
                    refusals: 0,
                    refused: Vec::new(),
                    refusal: None,
                    left: false,
                });
            suspect.groups += 1;
        }
    }

    /// Adds a group, whose messages are counted.
    pub(super) fn add(&mut self, tenant: Option<Arc<str>>, paths: Gathering, resembles: bool) {
        self.groups.push(SuspectGroup {
            tenant,
            paths,
            resembles,
            number: self.next_number,
        });
        self.next_number += 1;
    }

    /// The group to ask for next, or when one is due.
    pub(super) fn next(&mut self, now: Instant) -> Result<SuspectGroup, Instant> {
        let slow = |group: &SuspectGroup| {
            let mut suspects = group
                .paths
                .arrivals()
                .filter_map(|(id, _)| self.messages.get(id));
            suspects.all(|suspect| suspect.refusals >= SWIFT_REFUSALS_MAX)
        };
        let (slow, swift): (Vec<_>, Vec<_>) = self
            .groups
            .iter()
            .enumerate()
            .partition(|(_, group)| slow(group));
        let oldest = |groups: Vec<(usize, &SuspectGroup)>| {
            let oldest = groups.into_iter().min_by_key(|(_, group)| group.number);
            oldest.map(|(index, _)| index)
        };
        let promising = self.promising;
        self.promising = !promising;
        let index = if now >= self.slow_at && !slow.is_empty() {
            self.slow_at = now + SLOW;
            oldest(slow)
        } else if promising {
            let promise = |(_, group): &(usize, &SuspectGroup)| {
                let size = group.paths.distinct_paths();
                (!group.resembles, size, u64::MAX - group.number)
            };
            swift
                .into_iter()
                .max_by_key(promise)
                .map(|(index, _)| index)
        } else {
            oldest(swift)
        };
        index
            .map(|index| self.groups.swap_remove(index))
            .ok_or(self.slow_at)
    }

    /// Puts a group back that was not asked for.
    pub(super) fn put_back(&mut self, group: SuspectGroup) {
        self.groups.push(group);
    }

    /// The edge refused the group, because of one of its paths.
    pub(super) fn refused(&mut self, group: SuspectGroup) -> Vec<EndedMessage> {
        for (id, _) in group.paths.arrivals() {
            if let Some(suspect) = self.messages.get_mut(id) {
                suspect.refusals = suspect.refusals.saturating_add(1);
            }
        }
        let ids = group.paths.unfinished();
        let halves = group.paths.halves();
        let halves = <[Gathering; 2]>::from(halves).map(|half| (half, group.resembles));
        self.replace(&group.tenant, &ids, halves)
    }

    /// Adds what a group of these messages was parted in, and whether it looks like
    /// refused paths. Returns messages that are in neither.
    pub(super) fn replace(
        &mut self,
        tenant: &Option<Arc<str>>,
        ids: &[Arc<str>],
        parts: [(Gathering, bool); 2],
    ) -> Vec<EndedMessage> {
        for (part, resembles) in parts {
            if part.distinct_paths() > 0 {
                self.count(&part);
                self.add(tenant.clone(), part, resembles);
            }
        }
        self.done(ids)
    }

    /// Number of times the message was received.
    pub(super) fn deliveries(&self, id: &Arc<str>) -> u32 {
        self.messages
            .get(id)
            .map_or(0, |suspect| suspect.deliveries)
    }

    /// The edge refuses this path of these messages by itself.
    pub(super) fn condemn(&mut self, ids: &[Arc<str>], path: &str, refusal: &Refusal) {
        for id in ids {
            if let Some(suspect) = self.messages.get_mut(id) {
                suspect.refused.push(path.to_owned());
                suspect.refusal = Some(refusal.clone());
            }
        }
    }

    /// These messages stay in the buffer, whatever becomes of the rest of them.
    pub(super) fn leave(&mut self, ids: &[Arc<str>]) {
        for id in ids {
            if let Some(suspect) = self.messages.get_mut(id) {
                suspect.left = true;
            }
        }
    }

    /// Nothing is left to do for these messages in one of their groups. Returns
    /// those for which it was the last.
    pub(super) fn done(&mut self, ids: &[Arc<str>]) -> Vec<EndedMessage> {
        let mut ended = Vec::new();
        for id in ids {
            let Some(suspect) = self.messages.get_mut(id) else {
                continue;
            };
            suspect.groups = suspect.groups.saturating_sub(1);
            if suspect.groups > 0 {
                continue;
            }
            let Some(suspect) = self.messages.remove(id) else {
                continue;
            };
            let id = Arc::clone(id);
            ended.push(match (suspect.left, suspect.refusal) {
                (true, _) => EndedMessage::Left(id),
                (false, None) => EndedMessage::Complete(id),
                (false, Some(refusal)) => EndedMessage::Refused(
                    id,
                    RefusedMessage {
                        deliveries: suspect.deliveries,
                        refusal,
                        paths: suspect.refused,
                    },
                ),
            });
        }
        ended
    }
}
