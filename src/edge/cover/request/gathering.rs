//! Messages whose paths gather, and the requests that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::budget_mode::BudgetMode;
use super::fit::fit;
use super::next_request::{NextRequest, RequestPath};
use crate::edge::cover::coalesce::Room;
use crate::edge::cover::quota::count;
use crate::edge::{BATCH_PATHS_MAX, InvalidationBatch, Scope};
use crate::model::edge_item::is_wildcard;
use crate::model::{CommitTime, Sent};

/// A message's receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    /// Its place among all that its sender has sent, if the message says so.
    pub sent: Option<Sent>,
    /// Number of times it was received, this one included.
    pub deliveries: u32,
    /// When its oldest change was committed, if the message says so.
    pub committed_at: Option<CommitTime>,
}

/// Messages of one distribution or tenant whose paths are to be sent.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    pub(super) messages: Vec<PartlySent>,
    /// Each path that is still to be sent, with the messages that hold it.
    pub(super) owners: BTreeMap<String, Vec<usize>>,
}

/// A message, and how many of its paths the edge has not accepted yet.
///
/// Nothing lost: it completes only when that is none. A batch that is given up
/// is never accepted, and so its messages never complete.
#[derive(Clone, Debug)]
pub(super) struct PartlySent {
    pub(super) id: Arc<str>,
    pub(super) arrival: MessageInfo,
    pub(super) left: usize,
}

impl Gathering {
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

    /// Whether one of the paths is such a one.
    pub fn has_any(&self, is_one: impl Fn(&str) -> bool) -> bool {
        self.owners.keys().any(|path| is_one(path))
    }

    /// How many single paths and wildcards are to be sent.
    pub fn kinds(&self) -> Room {
        count(self.owners.keys())
    }

    /// Number of distinct paths to be sent.
    pub fn distinct_paths(&self) -> usize {
        self.owners.len()
    }

    /// The ids of all messages, in the order they came.
    pub fn messages(&self) -> Vec<Arc<str>> {
        self.messages
            .iter()
            .map(|waiting| Arc::clone(&waiting.id))
            .collect()
    }

    /// The ids of the messages that wait for something.
    pub fn unfinished(&self) -> Vec<Arc<str>> {
        self.messages
            .iter()
            .filter(|waiting| waiting.left > 0)
            .map(|waiting| Arc::clone(&waiting.id))
            .collect()
    }

    /// Messages that hold no path, and are complete as they are.
    pub fn empty(&self) -> Vec<Arc<str>> {
        self.messages
            .iter()
            .filter(|waiting| waiting.left == 0)
            .map(|waiting| Arc::clone(&waiting.id))
            .collect()
    }

    /// When the oldest change was committed whose message is not done: somebody may
    /// have sent its paths at any time since. The Unix epoch if one of the messages
    /// has no commit time.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.messages
            .iter()
            .filter(|waiting| waiting.left > 0)
            .map(|waiting| waiting.arrival.committed_at)
            .map(|at| UNIX_EPOCH + at.map_or(Duration::ZERO, CommitTime::since_epoch))
            .min()
    }

    /// When the oldest change was committed that wants this path to be sent, if its
    /// message says so.
    pub fn committed_at(&self, path: &str) -> Option<CommitTime> {
        let owners = self.owners.get(path)?.iter();
        let messages = owners.filter_map(|&owner| self.messages.get(owner));
        messages.filter_map(|held| held.arrival.committed_at).min()
    }

    /// Leaves out paths that earlier invalidations cover. Returns how many it was,
    /// and the messages that this completes.
    pub fn leave_out(
        &mut self,
        is_covered: impl Fn(&str, Option<Sent>) -> bool,
    ) -> (usize, Vec<Arc<str>>) {
        let Self { messages, owners } = self;
        let mut left_out = 0;
        let mut complete = Vec::new();
        owners.retain(|path, owners| {
            owners.retain(|&owner| {
                let Some(waiting) = messages.get_mut(owner) else {
                    return false;
                };
                let covered = is_covered(path, waiting.arrival.sent);
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

    /// Takes the paths that are to be sent next, as many as fit. `None`: none fits
    /// before something in progress completes, or none is left.
    ///
    /// - Paths that fit go as they are.
    /// - Paths that are at most a whole quota go in parts, as the quota frees up.
    /// - More of them, in number or cost, are coalesced. They take half of the
    ///   wildcards at most, so that later paths do not wait for those.
    /// - Paths that are `always` sent as they are count to the quota only.
    pub fn next_batch(
        &mut self,
        scope: &Scope,
        room: Room,
        budget_mode: BudgetMode,
        always: impl Fn(&str) -> bool,
    ) -> Option<NextRequest> {
        let (fixed, free): (Vec<&str>, Vec<&str>) = match budget_mode {
            BudgetMode::Free => (Vec::new(), self.owners.keys().map(String::as_str).collect()),
            BudgetMode::AtMost(_) | BudgetMode::Spent | BudgetMode::Saving => self
                .owners
                .keys()
                .map(String::as_str)
                .partition(|path| always(path)),
        };
        let mut covers: Vec<(String, Vec<String>)> = Vec::new();
        let mut left = room;
        for path in fixed {
            if left.take(path) {
                covers.push((path.to_owned(), vec![path.to_owned()]));
            }
        }
        covers.extend(fit(&free, left, budget_mode));
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
            let of = of
                .into_iter()
                .filter_map(|path| self.owners.remove_entry(&path))
                .collect();
            parts.push(RequestPath { path, of });
        }
        Some(self.batch(scope.clone(), parts, 0))
    }

    pub(super) fn batch(&self, scope: Scope, parts: Vec<RequestPath>, salt: u32) -> NextRequest {
        let owners: BTreeSet<usize> = parts
            .iter()
            .flat_map(|part| &part.of)
            .flat_map(|(_, owners)| owners)
            .copied()
            .collect();
        let waiting: Vec<&PartlySent> = owners
            .iter()
            .filter_map(|&owner| self.messages.get(owner))
            .collect();
        let mut messages: Vec<Arc<str>> = waiting
            .iter()
            .map(|waiting| Arc::clone(&waiting.id))
            .collect();
        messages.sort_unstable();
        // Every message in hand was made before this call. Of several senders it says nothing
        // of one that has no path in the request.
        let own = waiting.iter().filter_map(|waiting| waiting.arrival.sent);
        let own = Sent::newest(own);
        let places = self
            .messages
            .iter()
            .filter_map(|waiting| waiting.arrival.sent)
            .filter(|place| own.is_some_and(|own| own.by == place.by));
        let mut request = NextRequest {
            invalidation: InvalidationBatch {
                scope,
                caller_reference: String::new(),
                paths: parts.iter().map(|part| part.path.clone()).collect(),
            },
            messages,
            committed_at: waiting
                .iter()
                .filter_map(|waiting| waiting.arrival.committed_at)
                .min(),
            horizon: None,
            parts,
            salt,
        };
        request.reach(Sent::newest(places));
        request
    }

    /// Takes in that the edge accepted the batch. Returns the messages that wait
    /// for nothing more, and may be deleted.
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

    /// Takes back a batch that the edge has certainly not made: its paths are to
    /// be sent again, as they fit by then.
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

fn done(waiting: &mut PartlySent, complete: &mut Vec<Arc<str>>) {
    waiting.left = waiting.left.saturating_sub(1);
    if waiting.left == 0 {
        complete.push(Arc::clone(&waiting.id));
    }
}
