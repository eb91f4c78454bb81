//! What a batch does besides deleting plain keys: guards, hash fields, tag sets,
//! published messages, and deletions of more than single keys.

use super::publish::Publications;
use crate::model::{Guards, KeySet, PairSet};

/// A deletion that covers more than single keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wide {
    /// Every key that matches this glob.
    Matching(Vec<u8>),
    /// Every key that contains the value of this counter, which is increased.
    Generation(Vec<u8>),
}

impl Wide {
    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        match self {
            Wide::Matching(glob) => glob.len(),
            Wide::Generation(key) => key.len(),
        }
    }
}

/// Guards, fields of hashes, tag sets and publications; empty, and without cost,
/// for rules that have none.
#[derive(Debug, Default)]
pub(super) struct Structures {
    pub(super) guards: Guards,
    /// A hash and a field.
    pub(super) fields: PairSet,
    /// A tag set, and the prefix of its members.
    pub(super) tag_sets: PairSet,
    /// A glob over tag sets, and the prefix of their members.
    pub(super) tag_set_globs: PairSet,
    pub(super) publications: Publications,
    /// Keys of members that were taken out of their sets.
    pub(super) carried: KeySet,
    /// Keys of members that were deleted and are not published yet.
    pub(super) unpublished: KeySet,
}

impl Structures {
    pub(super) fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.publications.is_empty() && !self.settles()
    }

    /// Whether there is anything to delete a second time.
    pub(super) fn settles(&self) -> bool {
        !(self.fields.is_empty()
            && self.tag_sets.is_empty()
            && self.tag_set_globs.is_empty()
            && self.carried.is_empty())
    }

    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        self.guards.size()
            + self.fields.size()
            + self.tag_sets.size()
            + self.tag_set_globs.size()
            + self.publications.size()
            + self.carried.size()
            + self.unpublished.size()
    }

    /// Adds what another part of the same batch has. Both have the same
    /// publications, if any.
    pub(super) fn add(&mut self, other: Structures) {
        for (key, version, ttl) in other.guards.iter() {
            self.guards.raise(key, version, ttl);
        }
        for (own, pairs) in [
            (&mut self.fields, &other.fields),
            (&mut self.tag_sets, &other.tag_sets),
            (&mut self.tag_set_globs, &other.tag_set_globs),
        ] {
            pairs.iter().for_each(|(first, second)| {
                own.insert(first, second);
            });
        }
        for (own, keys) in [
            (&mut self.carried, &other.carried),
            (&mut self.unpublished, &other.unpublished),
        ] {
            keys.iter().for_each(|key| {
                own.insert(key);
            });
        }
    }

    /// The part that the second deletion needs: guards are raised only once.
    pub(super) fn again(self) -> Self {
        Self {
            guards: Guards::default(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invalidation::Published;

    #[test]
    fn whatever_it_holds_counts_as_memory() {
        let long = vec![b'k'; 1_000];
        let fill: [fn(&mut Structures, &[u8]); 7] = [
            |held, key| held.guards.raise(key, 7, std::time::Duration::ZERO),
            |held, key| _ = held.fields.insert(key, b"f"),
            |held, key| _ = held.tag_sets.insert(key, b"p"),
            |held, key| _ = held.tag_set_globs.insert(key, b"p"),
            |held, key| {
                let settles = true;
                let key = Published::Key { key, settles };
                held.publications.add(&"channel".into(), key);
            },
            |held, key| _ = held.carried.insert(key),
            |held, key| _ = held.unpublished.insert(key),
        ];
        let mut all = Structures::default();
        for (index, fill) in fill.into_iter().enumerate() {
            let mut alone = Structures::default();
            fill(&mut alone, &long);
            assert!(alone.size() >= long.len(), "{index}: {}", alone.size());
            fill(&mut all, &long);
            assert!(all.size() >= long.len() * (index + 1), "{}", all.size());
        }
    }
}
