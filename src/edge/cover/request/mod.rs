//! Which request comes next for a set of messages, and which messages it
//! completes.
//!
//! Pure, and deterministic: the same messages in any order give the same
//! request under the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::already_invalidated::CoveredUpTo;
use super::caller_reference::caller_reference;
use super::coalesce::{Room, coalesce};
use super::quota::{QUOTA, count};
use crate::edge::{BATCH_PATHS_MAX, InvalidationBatch, Scope};
use crate::model::QueuePosition;
use crate::model::edge_item::{is_tag, is_wildcard};

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    /// Where it stands in its buffer's order, if the buffer has one.
    pub order: Option<QueuePosition>,
    /// How often it was received, this time included.
    pub deliveries: u32,
    /// When its oldest change was committed, µs since the epoch.
    pub committed_at_us: u64,
}

/// Messages of one distribution or tenant whose paths are to be sent.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    messages: Vec<PartlySent>,
    /// Each path that is still to be sent, with the messages that hold it.
    owners: BTreeMap<String, Vec<usize>>,
}

/// A message, and how many of its paths the edge has not accepted yet.
///
/// Nothing lost: it completes only when that is none. A batch that is given up
/// is never accepted, and so its messages never complete.
#[derive(Clone, Debug)]
struct PartlySent {
    id: Arc<str>,
    arrival: MessageInfo,
    left: usize,
}

/// How much a request may cost, apart from what is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetMode {
    /// Whatever the quota allows.
    Free,
    /// At most this many paths; more are covered by wildcards.
    AtMost(usize),
    /// One path at a time: the budget is spent.
    Spent,
}

/// One request and the messages with paths in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRequest {
    /// The request.
    pub invalidation: InvalidationBatch,
    /// The ids of the messages, sorted.
    pub messages: Vec<Arc<str>>,
    /// When the oldest change in it was committed, µs since the epoch.
    pub committed_at_us: u64,
    /// Which messages it covers besides its own.
    pub horizon: Option<CoveredUpTo>,
    parts: Vec<RequestPath>,
    salt: u32,
}

/// A path of a request, and the gathered paths that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RequestPath {
    path: String,
    of: Vec<(String, Vec<usize>)>,
}

impl Gathering {
    /// Adds a message by its id.
    pub fn add(&mut self, id: Arc<str>, arrival: MessageInfo, paths: Vec<String>) {
        let index = self.messages.len();
        let mut left = 0;
        for path in paths {
            let owners = self.owners.entry(path).or_default();
            if owners.last() != Some(&index) {
                owners.push(index);
                left += 1;
            }
        }
        self.messages.push(PartlySent { id, arrival, left });
    }

    /// How many distinct paths are to be sent.
    pub fn distinct_paths(&self) -> usize {
        self.owners.len()
    }

    /// The ids of all messages, in the order they came.
    pub fn messages(&self) -> Vec<Arc<str>> {
        let messages = self.messages.iter();
        messages.map(|waiting| Arc::clone(&waiting.id)).collect()
    }

    /// Messages that hold no path, and are complete as they are.
    pub fn empty(&self) -> Vec<Arc<str>> {
        let empty = self.messages.iter().filter(|waiting| waiting.left == 0);
        empty.map(|waiting| Arc::clone(&waiting.id)).collect()
    }

    /// When the oldest change was committed of which somebody may have taken
    /// care already: its message was received before, and is not done.
    pub fn oldest_redelivered_us(&self) -> Option<u64> {
        let left = self.messages.iter().filter(|waiting| waiting.left > 0);
        let arrivals = left.map(|waiting| waiting.arrival);
        let redelivered = arrivals.filter(|arrival| arrival.deliveries > 1);
        redelivered.map(|arrival| arrival.committed_at_us).min()
    }

    /// How often the message with this id was received.
    pub fn deliveries(&self, id: &Arc<str>) -> u32 {
        let mut messages = self.messages.iter();
        let found = messages.find(|waiting| waiting.id == *id);
        found.map_or(0, |waiting| waiting.arrival.deliveries)
    }

    /// Leaves out what invalidations cover that were made already. Returns how
    /// many paths it was, and the messages that this completes.
    pub fn leave_out(
        &mut self,
        is_covered: impl Fn(&str, Option<QueuePosition>) -> bool,
    ) -> (usize, Vec<Arc<str>>) {
        let Self { messages, owners } = self;
        let mut left_out = 0;
        let mut complete = Vec::new();
        owners.retain(|path, owners| {
            owners.retain(|&owner| {
                let Some(waiting) = messages.get_mut(owner) else {
                    return false;
                };
                let covered = is_covered(path, waiting.arrival.order);
                if covered {
                    done(waiting, &mut complete);
                }
                !covered
            });
            left_out += usize::from(owners.is_empty());
            !owners.is_empty()
        });
        (left_out, complete)
    }

    /// Takes what is to be sent next, as much as fits. `None`: nothing fits
    /// before something in progress completes, or nothing is left.
    ///
    /// - What fits goes as it is.
    /// - What is at most a whole quota goes in parts, as the quota frees up.
    /// - What is more, in number or cost, is coalesced. It takes half of the
    ///   wildcards at most, so that what comes next does not wait for them.
    /// - Paths that are `always` sent as they are count to the quota only.
    pub fn next_batch(
        &mut self,
        scope: &Scope,
        room: Room,
        thrift: BudgetMode,
        always: impl Fn(&str) -> bool,
    ) -> Option<NextRequest> {
        let (fixed, free): (Vec<&str>, Vec<&str>) = match thrift {
            BudgetMode::Free => (Vec::new(), self.owners.keys().map(String::as_str).collect()),
            BudgetMode::AtMost(_) | BudgetMode::Spent => self
                .owners
                .keys()
                .map(String::as_str)
                .partition(|path| always(path)),
        };
        let mut covers: Vec<(String, Vec<String>)> = Vec::new();
        let mut left = room;
        for path in fixed {
            let kind = match is_wildcard(path) {
                true => &mut left.wildcards,
                false => &mut left.singles,
            };
            if *kind > 0 {
                *kind -= 1;
                covers.push((path.to_owned(), vec![path.to_owned()]));
            }
        }
        covers.extend(cover(&free, left, thrift));
        // A request takes fewer paths than may be in progress. Wildcards go
        // first: each stands for many.
        covers.sort_by_key(|(path, _)| !is_wildcard(path));
        covers.truncate(BATCH_PATHS_MAX);
        if covers.is_empty() {
            return None;
        }
        covers.sort();
        let mut parts = Vec::with_capacity(covers.len());
        for (path, of) in covers {
            let taken = of
                .into_iter()
                .filter_map(|path| self.owners.remove_entry(&path));
            let of = taken.collect();
            parts.push(RequestPath { path, of });
        }
        Some(self.batch(scope.clone(), parts, 0))
    }

    fn batch(&self, scope: Scope, parts: Vec<RequestPath>, salt: u32) -> NextRequest {
        let owners = parts.iter().flat_map(|part| &part.of);
        let owners: BTreeSet<usize> = owners.flat_map(|(_, owners)| owners).copied().collect();
        let waiting = owners.iter().filter_map(|&owner| self.messages.get(owner));
        let mut messages: Vec<Arc<str>> = Vec::with_capacity(owners.len());
        let mut committed_at_us = u64::MAX;
        for waiting in waiting {
            messages.push(Arc::clone(&waiting.id));
            committed_at_us = committed_at_us.min(waiting.arrival.committed_at_us);
        }
        messages.sort_unstable();
        // Every message in hand was in the buffer before this call.
        let horizon = CoveredUpTo::of(self.messages.iter().map(|waiting| waiting.arrival.order));
        let paths = parts.iter().map(|part| part.path.as_str());
        let caller_reference = caller_reference(&scope, horizon, paths, &messages, salt);
        NextRequest {
            invalidation: InvalidationBatch {
                scope,
                caller_reference,
                paths: parts.iter().map(|part| part.path.clone()).collect(),
            },
            messages,
            committed_at_us,
            horizon,
            parts,
            salt,
        }
    }

    /// The edge accepted the batch. Returns the messages that wait for nothing
    /// more, and may be deleted.
    pub fn accept(&mut self, batch: NextRequest) -> Vec<Arc<str>> {
        let mut complete = Vec::new();
        for (_, owners) in batch.parts.into_iter().flat_map(|part| part.of) {
            for owner in owners {
                if let Some(waiting) = self.messages.get_mut(owner) {
                    done(waiting, &mut complete);
                }
            }
        }
        complete
    }

    /// The edge has certainly not made it: its paths are to be sent again, as
    /// they fit by then.
    pub fn put_back(&mut self, batch: NextRequest) {
        self.owners
            .extend(batch.parts.into_iter().flat_map(|part| part.of));
    }

    /// Two batches of half the paths each.
    ///
    /// # Errors
    ///
    /// The batch itself, when it holds one path only.
    pub fn halve(
        &self,
        batch: NextRequest,
    ) -> Result<(NextRequest, NextRequest), Box<NextRequest>> {
        if batch.parts.len() < 2 {
            return Err(Box::new(batch));
        }
        let mut first = batch.parts;
        let second = first.split_off(first.len().div_ceil(2));
        let scope = batch.invalidation.scope;
        Ok((
            self.batch(scope.clone(), first, batch.salt),
            self.batch(scope, second, batch.salt),
        ))
    }

    /// The same request under the next name. Still deterministic: a successor
    /// that repeats it meets the same refusal, and gives it the same name.
    #[must_use]
    pub fn renamed(&self, batch: NextRequest) -> NextRequest {
        let salt = batch.salt.saturating_add(1);
        self.batch(batch.invalidation.scope, batch.parts, salt)
    }
}

impl NextRequest {
    /// How many gathered paths go under a wildcard that is none of them.
    pub fn coalesced(&self) -> usize {
        let wider = self.parts.iter().filter(|part| {
            let mut of = part.of.iter();
            !of.any(|(path, _)| *path == part.path)
        });
        wider.map(|part| part.of.len()).sum()
    }
}

fn done(waiting: &mut PartlySent, complete: &mut Vec<Arc<str>>) {
    waiting.left = waiting.left.saturating_sub(1);
    if waiting.left == 0 {
        complete.push(Arc::clone(&waiting.id));
    }
}

/// What to send of sorted paths, each with the paths that it stands for.
fn cover(paths: &[&str], room: Room, thrift: BudgetMode) -> Vec<(String, Vec<String>)> {
    let all = count(paths);
    let within = |limit: Room| all.singles <= limit.singles && all.wildcards <= limit.wildcards;
    let (in_quota, room) = match thrift {
        BudgetMode::Free => (within(QUOTA), room),
        BudgetMode::AtMost(most) if paths.len() <= most => (within(QUOTA), room),
        BudgetMode::Spent if paths.len() <= 1 => (true, room),
        BudgetMode::AtMost(most) => {
            let most = most.max(1);
            let wildcards = room.wildcards.min(most.div_ceil(2));
            let singles = room.singles.min(most - wildcards);
            (false, Room { singles, wildcards })
        }
        BudgetMode::Spent => (
            false,
            Room {
                singles: 0,
                wildcards: room.wildcards.min(1),
            },
        ),
    };
    let as_it_is = |path: &&str| ((*path).to_owned(), vec![(*path).to_owned()]);
    // No wildcard covers tags but that of everything: those that fit when
    // nothing is in progress wait until they do.
    let tags = paths.iter().take_while(|path| is_tag(path)).count();
    if !in_quota && (room.singles + 1..=tags_max(thrift)).contains(&tags) {
        return paths.iter().take(room.singles).map(as_it_is).collect();
    }
    if in_quota {
        // Exact paths now or soon are better than wide ones now.
        let mut left = room;
        let fits = paths.iter().filter(|path| {
            let kind = match is_wildcard(path) {
                true => &mut left.wildcards,
                false => &mut left.singles,
            };
            let fits = *kind > 0;
            *kind = kind.saturating_sub(1);
            fits
        });
        return match coalesce(paths, room).filter(|_| within(room)) {
            Some(covers) => covers.into_iter().map(|it| named(paths, it)).collect(),
            None => fits.map(as_it_is).collect(),
        };
    }
    let half = Room {
        singles: room.singles,
        wildcards: room
            .wildcards
            .div_ceil(2)
            .max(all.wildcards.min(room.wildcards)),
    };
    let covers = coalesce(paths, half).unwrap_or_default();
    covers.into_iter().map(|it| named(paths, it)).collect()
}

/// How many tags a request may hold at most, when nothing is in progress.
fn tags_max(thrift: BudgetMode) -> usize {
    match thrift {
        BudgetMode::Free => QUOTA.singles,
        BudgetMode::AtMost(most) => {
            let wildcards = most.div_ceil(2).min(QUOTA.wildcards);
            most.saturating_sub(wildcards).min(QUOTA.singles)
        }
        BudgetMode::Spent => 0,
    }
}

fn named(paths: &[&str], cover: super::coalesce::Cover) -> (String, Vec<String>) {
    let of = cover.of.into_iter().flatten();
    let of = of.filter_map(|index| paths.get(index));
    (cover.path, of.map(|path| (*path).to_owned()).collect())
}

#[cfg(test)]
mod tests;
