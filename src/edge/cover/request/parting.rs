//! Messages that are set apart from others, and requests for some of their paths.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gathering::{Gathering, MessageInfo, PartlySent};
use super::next_request::{NextRequest, RequestPath};
use crate::edge::cover::coalesce::{Cover, Room, coalesce};
use crate::edge::{BATCH_PATHS_MAX, Scope};

impl Gathering {
    /// Takes out the messages with paths in a batch that the edge has certainly
    /// not made, each with all of its paths that are still to be sent.
    pub fn take_out(&mut self, batch: NextRequest) -> Self {
        let owners = batch.parts.iter().flat_map(|part| &part.of);
        let taken: BTreeSet<usize> = owners.flat_map(|(_, owners)| owners).copied().collect();
        self.put_back(batch);
        let (out, rest) = std::mem::take(self).part(|owner| taken.contains(&owner));
        *self = rest;
        out
    }

    /// Parts the messages for which `first` holds from the others.
    #[must_use]
    pub fn part_messages(self, first: impl Fn(&MessageInfo) -> bool) -> (Self, Self) {
        let messages = self.messages.iter();
        let first: Vec<bool> = messages.map(|waiting| first(&waiting.arrival)).collect();
        self.part(|owner| first.get(owner).copied().unwrap_or(false))
    }

    /// Parts the messages with a path for which `first` holds from the others.
    #[must_use]
    pub fn part_holders(self, first: impl Fn(&str) -> bool) -> (Self, Self) {
        let owners = self.owners.iter().filter(|(path, _)| first(path));
        let owners: BTreeSet<usize> = owners.flat_map(|(_, owners)| owners).copied().collect();
        self.part(|owner| owners.contains(&owner))
    }

    fn part(self, first: impl Fn(usize) -> bool) -> (Self, Self) {
        let (mut ours, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (path, owners) in &self.owners {
            let (first, second): (Vec<usize>, Vec<usize>) =
                owners.iter().partition(|owner| first(**owner));
            for (part, owners) in [(&mut ours, first), (&mut others, second)] {
                if !owners.is_empty() {
                    part.insert(path.clone(), owners);
                }
            }
        }
        (self.with(ours), self.with(others))
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
        // Bounded: what is done is forgotten.
        let waiting = self.messages.iter().filter(|waiting| waiting.left > 0);
        if self.messages.len() > 2 * waiting.count() {
            let owners = std::mem::take(&mut self.owners);
            *self = self.with(owners);
        }
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

    /// The paths that are still to be sent, sorted: those of one template stand
    /// together.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.owners.keys().map(String::as_str)
    }

    /// Whether the path is still to be sent.
    pub fn holds(&self, path: &str) -> bool {
        self.owners.contains_key(path)
    }

    /// Takes out the messages of which only such paths are left for which `has_ended`
    /// holds, each with those paths.
    pub fn take_ended(&mut self, has_ended: impl Fn(&str) -> bool) -> Vec<(Arc<str>, Vec<String>)> {
        let mut ended: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (path, owners) in self.owners.iter().filter(|(path, _)| has_ended(path)) {
            for owner in owners {
                ended.entry(*owner).or_default().push(path.clone());
            }
        }
        let messages = &mut self.messages;
        ended.retain(|owner, paths| {
            let waiting = messages.get(*owner);
            waiting.is_some_and(|waiting| waiting.left == paths.len())
        });
        self.owners.retain(|_, owners| {
            owners.retain(|owner| !ended.contains_key(owner));
            !owners.is_empty()
        });
        let taken = ended.into_iter().filter_map(|(owner, paths)| {
            let waiting = messages.get_mut(owner)?;
            waiting.left = 0;
            Some((Arc::clone(&waiting.id), paths))
        });
        taken.collect()
    }

    /// Takes the paths that are wanted, under as few wildcards as `room` has and as many as are
    /// worth it: a request for each of them.
    pub fn under_wildcards(
        &mut self,
        scope: &Scope,
        wanted: impl Fn(&str) -> bool,
        room: Room,
    ) -> Vec<NextRequest> {
        let wanted = self.paths().filter(|path| wanted(path));
        let paths: Vec<String> = wanted.map(str::to_owned).collect();
        let room = Room { singles: 0, ..room };
        let covers = coalesce(&paths, room).unwrap_or_default();
        let mut parts = Vec::with_capacity(covers.len());
        for Cover { path, of } in covers {
            let of = of.into_iter().flatten();
            let of = of.filter_map(|index| self.owners.remove_entry(paths.get(index)?));
            let of = of.collect();
            parts.push(RequestPath { path, of });
        }
        let request = |part| self.batch(scope.clone(), vec![part], 0);
        parts.into_iter().map(request).collect()
    }

    /// Takes as many of these paths as fit, each as it is, whatever the budget says:
    /// a wildcard over a path that the edge refuses would tell nothing.
    pub fn as_they_are<'a>(
        &mut self,
        scope: &Scope,
        paths: impl IntoIterator<Item = &'a String>,
        mut room: Room,
    ) -> Option<NextRequest> {
        let fits = |path: &&String| self.owners.contains_key(*path) && room.take(path);
        let paths = paths.into_iter().filter(fits).take(BATCH_PATHS_MAX);
        let paths: Vec<String> = paths.cloned().collect();
        let of = |path: String| {
            let of = vec![self.owners.remove_entry(&path)?];
            Some(RequestPath { path, of })
        };
        let parts: Vec<RequestPath> = paths.into_iter().filter_map(of).collect();
        (!parts.is_empty()).then(|| self.batch(scope.clone(), parts, 0))
    }
}
