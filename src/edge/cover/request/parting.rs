//! Sets of messages that are parted, to find the paths that the edge refuses.
//!
//! A message with paths in both parts is in both. It is done once both parts of
//! it are, which whoever parts them keeps count of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gathering::{Gathering, MessageInfo, PartlySent};
use super::next_request::{NextRequest, RequestPath};
use crate::edge::cover::coalesce::Room;
use crate::edge::{BATCH_PATHS_MAX, Scope};

impl Gathering {
    /// Takes out the messages with paths in a batch that the edge has certainly
    /// not made, each with all of its paths that are still to be sent.
    pub fn take_out(&mut self, batch: NextRequest) -> Self {
        let mut taken: Vec<bool> = vec![false; self.messages.len()];
        let owners = batch.parts.iter().flat_map(|part| &part.of);
        for owner in owners.flat_map(|(_, owners)| owners) {
            if let Some(taken) = taken.get_mut(*owner) {
                *taken = true;
            }
        }
        self.put_back(batch);
        let is_taken = |owner: &usize| taken.get(*owner).copied().unwrap_or(false);
        let mut out = BTreeMap::new();
        self.owners.retain(|path, owners| {
            let (theirs, others) = owners.iter().partition(|owner| is_taken(owner));
            *owners = others;
            let theirs: Vec<usize> = theirs;
            if !theirs.is_empty() {
                out.insert(path.clone(), theirs);
            }
            !owners.is_empty()
        });
        let parted = self.with(out);
        for (waiting, taken) in self.messages.iter_mut().zip(taken) {
            if taken {
                waiting.left = 0;
            }
        }
        parted
    }

    /// Parts the paths for which `first` holds from the others.
    #[must_use]
    pub fn part(self, mut first: impl FnMut(&str) -> bool) -> (Self, Self) {
        let (first, second): (BTreeMap<_, _>, BTreeMap<_, _>) = self
            .owners
            .iter()
            .map(|(path, owners)| (path.clone(), owners.clone()))
            .partition(|(path, _)| first(path));
        (self.with(first), self.with(second))
    }

    /// Parts the messages for which `first` holds from the others.
    #[must_use]
    pub fn part_messages(self, first: impl Fn(&MessageInfo) -> bool) -> (Self, Self) {
        let is_first = |owner: &usize| {
            let waiting = self.messages.get(*owner);
            waiting.is_some_and(|waiting| first(&waiting.arrival))
        };
        let (mut ours, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (path, owners) in &self.owners {
            let (first, second): (Vec<usize>, Vec<usize>) =
                owners.iter().partition(|owner| is_first(owner));
            for (part, owners) in [(&mut ours, first), (&mut others, second)] {
                if !owners.is_empty() {
                    part.insert(path.clone(), owners);
                }
            }
        }
        (self.with(ours), self.with(others))
    }

    /// Parts the first half of the paths, in their order, from the second: paths
    /// of one template stay together.
    #[must_use]
    pub fn halves(self) -> (Self, Self) {
        let mut left = self.distinct_paths().div_ceil(2);
        self.part(|_| {
            let first = left > 0;
            left = left.saturating_sub(1);
            first
        })
    }

    /// These paths, with the messages that hold them.
    fn with(&self, owners: BTreeMap<String, Vec<usize>>) -> Self {
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let mut parted = Self::default();
        for (path, owners) in owners {
            let mut of = Vec::with_capacity(owners.len());
            for owner in owners {
                let Some(waiting) = self.messages.get(owner) else {
                    continue;
                };
                let messages = &mut parted.messages;
                let place = *places.entry(owner).or_insert_with(|| {
                    messages.push(PartlySent {
                        left: 0,
                        ..waiting.clone()
                    });
                    messages.len() - 1
                });
                if let Some(waiting) = messages.get_mut(place) {
                    waiting.left += 1;
                }
                of.push(place);
            }
            parted.owners.insert(path, of);
        }
        parted
    }

    /// Takes in other messages of the same destination.
    pub fn absorb(&mut self, others: Self) {
        let before = self.messages.len();
        self.messages.extend(others.messages);
        for (path, owners) in others.owners {
            let owners = owners.into_iter().map(|owner| before + owner);
            self.owners.entry(path).or_default().extend(owners);
        }
    }

    /// The messages that wait for something, with what was said when they were
    /// received.
    pub fn arrivals(&self) -> impl Iterator<Item = (&Arc<str>, &MessageInfo)> {
        self.messages
            .iter()
            .filter(|waiting| waiting.left > 0)
            .map(|waiting| (&waiting.id, &waiting.arrival))
    }

    /// Each path, with the messages that hold it.
    pub fn one_by_one(&self) -> impl Iterator<Item = (String, Self)> {
        self.owners.iter().map(|(path, owners)| {
            let only = BTreeMap::from([(path.clone(), owners.clone())]);
            (path.clone(), self.with(only))
        })
    }

    /// Its path, if it holds a single one.
    pub fn only_path(&self) -> Option<String> {
        let mut paths = self.owners.keys();
        paths.next().filter(|_| paths.next().is_none()).cloned()
    }

    /// Takes as many paths as fit, each as it is, whatever the budget says: a
    /// wildcard over a path that the edge refuses would tell nothing.
    pub fn as_they_are(&mut self, scope: &Scope, mut room: Room) -> Option<NextRequest> {
        let fits = |path: &&String| room.take(path);
        let paths = self.owners.keys().filter(fits);
        let paths: Vec<String> = paths.take(BATCH_PATHS_MAX).cloned().collect();
        if paths.is_empty() {
            return None;
        }
        let parts = paths
            .into_iter()
            .filter_map(|path| {
                let of = vec![self.owners.remove_entry(&path)?];
                Some(RequestPath { path, of })
            })
            .collect();
        Some(self.batch(scope.clone(), parts, 0))
    }
}
