//! Deletes the keys that tag sets name.
//!
//! An application stores an entry and adds its key to the set of each of its
//! tags. Deleting a tag means: read the set, delete the keys, take them out of
//! the set. An entry may be stored again at any moment in between, and must not
//! stay in the cache without being in its set:
//!
//! 1. The keys are deleted, and only then their members leave (Nothing lost: a
//!    crash in between finds them again).
//! 2. The keys are deleted once more at once, for an application that stores
//!    first and adds afterwards: either its entry was stored before and is
//!    deleted, or it is added afterwards and is in the set.
//! 3. When they settle, the keys of all members that left are deleted again,
//!    for an application that adds first and stores afterwards. For this they
//!    are held as far as memory allows. Members beyond that stay in the set,
//!    where the second deletion finds them; it takes none out.
//!
//! - `tests`: calls that fail at any point, and members of every kind.

use std::borrow::Cow;

use super::pass::Pass;
use super::publish::Publications;
use crate::cache::{
    Cache, CacheError, MemberRemoval, Refused, ScanPlace, TagKind, TagScan, TagStep, Unfinished,
};
use crate::model::{KeySet, PairSet};
use crate::telemetry::metric;

/// Number of sets that are read side by side, a step of each at once.
const SETS_AT_ONCE: usize = 32;

/// Most keys of members that left that a batch holds for its second deletion,
/// in bytes (Bounded).
const CARRIED_BYTES_MAX: usize = 4 << 20;

/// Keys that are published together, in bytes.
const MEMBERS_PUBLISHED_BYTES: usize = 1 << 20;

/// Most refused keys that are named one by one (Bounded).
const REFUSED_MAX: usize = 1_000;

/// One attempt at the tag sets of a batch.
pub(super) struct Attempt<'b> {
    pub(super) pass: Pass,
    /// Keys of members that left their sets.
    pub(super) carried: &'b mut KeySet,
    pub(super) publications: &'b Publications,
    /// Steps that may still be taken. Sets that are not read to their ends by then
    /// remain.
    pub(super) steps: usize,
    pub(super) deletion: Deletion,
}

/// The outcome of an attempt.
#[derive(Debug, Default)]
pub(super) struct Deletion {
    /// Keys that are not published yet.
    pub(super) members: KeySet,
    /// Keys that the cache refuses for good.
    pub(super) refused: Vec<Refused>,
    /// Sets that remain, each with the prefix of its members.
    pub(super) sets: PairSet,
    /// Keys that remain, though their members have left.
    pub(super) keys: KeySet,
    /// Keys that left their sets before, and remain to be deleted again.
    pub(super) carried: KeySet,
    /// Why something failed; the last of several reasons.
    pub(super) error: Option<CacheError>,
}

impl Deletion {
    /// Adds refused keys, up to [`REFUSED_MAX`].
    fn refuse(&mut self, mut refused: Vec<Refused>) {
        let room = REFUSED_MAX.saturating_sub(self.refused.len());
        let unnamed = refused.len().saturating_sub(room);
        refused.truncate(room);
        self.refused.extend(refused);
        if unnamed > 0 {
            tracing::error!(
                keys = unnamed,
                "the cache refuses more keys of tag sets than are named one by one"
            );
        }
    }
}

impl Attempt<'_> {
    /// Deletes the keys that left their sets in the first deletion.
    pub(super) async fn delete_carried(&mut self, cache: &mut impl Cache) {
        if self.pass != Pass::Again || self.carried.is_empty() {
            return;
        }
        let carried = std::mem::take(self.carried);
        let outcome = cache.delete(&[carried.keys()]).await;
        let published = match outcome {
            Ok(outcome) => {
                self.deletion.refused.extend(outcome.refused);
                if let Some(unfinished) = outcome.unfinished {
                    for key in &unfinished.keys {
                        self.deletion.carried.insert(key);
                    }
                    self.deletion.error = Some(unfinished.error);
                }
                self.publish(cache, &carried).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = published {
            self.deletion.carried = carried;
            self.deletion.error = Some(error);
        } else {
            *self.carried = carried;
        }
    }

    /// Deletes the keys that `sets` name. Those sets remain for which that fails.
    pub(super) async fn delete(&mut self, cache: &mut impl Cache, sets: &PairSet) {
        let sets: Vec<(&[u8], &[u8])> = sets.iter().collect();
        for sets in sets.chunks(SETS_AT_ONCE) {
            if let Err(error) = self.walk(cache, sets).await {
                for (key, member_prefix) in sets {
                    self.deletion.sets.insert(key, member_prefix);
                }
                self.deletion.error = Some(error);
            }
        }
    }

    /// Deletes the keys that the members of every set name whose key matches
    /// `glob`.
    pub(super) async fn delete_matching(
        &mut self,
        cache: &mut impl Cache,
        glob: &[u8],
        member_prefix: &[u8],
    ) -> Result<(), CacheError> {
        let mut place = Some(ScanPlace::default());
        while let Some(from) = place {
            let found = cache.find_keys(glob, from).await?;
            let mut sets = PairSet::default();
            for key in &found.keys {
                sets.insert(key, member_prefix);
            }
            let refused_before = self.deletion.refused.len();
            self.delete(cache, &sets).await;
            // A key that only has such a name and is not a set is not meant.
            let mut index = 0;
            self.deletion.refused.retain(|refused| {
                index += 1;
                index <= refused_before || refused.code != "wrong-type"
            });
            place = found.next;
        }
        Ok(())
    }

    /// Reads a few sets to their ends, each with the prefix of its members.
    async fn walk(
        &mut self,
        cache: &mut impl Cache,
        sets: &[(&[u8], &[u8])],
    ) -> Result<(), CacheError> {
        let mut walks: Vec<Walk<'_>> = sets
            .iter()
            .map(|(key, prefix)| Walk::new(key, prefix))
            .collect();
        while !walks.is_empty() {
            let Some(steps_left) = self.steps.checked_sub(1) else {
                walks.iter().for_each(|walk| self.remains(walk));
                return Ok(());
            };
            self.steps = steps_left;
            let places: Vec<TagScan<'_>> = walks.iter().map(|walk| walk.at).collect();
            let steps = cache.scan_tag_sets(&places).await?;
            let mut found = Vec::new();
            let mut further = Vec::new();
            for (walk, step) in walks.into_iter().zip(steps) {
                match step {
                    TagStep::End => {}
                    TagStep::Refused(refused) => self.deletion.refused.push(refused),
                    TagStep::Failed(error) => {
                        self.remains(&walk);
                        self.deletion.error = Some(error);
                    }
                    TagStep::Members {
                        kind,
                        members,
                        next,
                    } => {
                        if next != 0 {
                            further.push(walk.on(kind, next));
                        }
                        found.push((walk, kind, members));
                    }
                }
            }
            self.delete_members(cache, found).await?;
            walks = further;
        }
        Ok(())
    }

    /// Deletes the keys that these members name, and takes the members out.
    async fn delete_members(
        &mut self,
        cache: &mut impl Cache,
        found: Vec<(Walk<'_>, TagKind, Vec<Vec<u8>>)>,
    ) -> Result<(), CacheError> {
        let mut keys = KeySet::default();
        for (walk, _, members) in &found {
            for member in members {
                keys.insert(&walk.key_of(member));
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let outcome = cache.delete(&[keys.keys()]).await?;
        metrics::counter!(metric::TAG_SET_KEYS).increment(outcome.existed);
        let mut stay = KeySet::default();
        if let Some(unfinished) = outcome.unfinished {
            for key in &unfinished.keys {
                stay.insert(key);
            }
            for (walk, _, members) in &found {
                if members
                    .iter()
                    .any(|member| stay.contains(&walk.key_of(member)))
                {
                    self.remains(walk);
                }
            }
            self.deletion.error = Some(unfinished.error);
        }
        if self.pass != Pass::Again {
            for refused in &outcome.refused {
                stay.insert(&refused.key);
            }
            let walks: Vec<Walk<'_>> = found.iter().map(|(walk, ..)| *walk).collect();
            let (leaving, left) = self.leaving(found, &stay);
            if !left.is_empty() {
                let removed = cache.remove_members(&leaving).await?;
                self.deletion.refused.extend(removed.refused);
                if let Some(unfinished) = removed.unfinished {
                    self.sets_failed(&walks, unfinished);
                }
                self.delete_once_more(cache, left).await;
            }
        }
        self.deletion.refuse(outcome.refused);
        self.publish(cache, &keys).await
    }

    /// Deletes keys whose members have left, and which nobody finds again.
    async fn delete_once_more(&mut self, cache: &mut impl Cache, left: KeySet) {
        match cache.delete(&[left.keys()]).await {
            Ok(outcome) => {
                if let Some(unfinished) = outcome.unfinished {
                    for key in &unfinished.keys {
                        self.deletion.keys.insert(key);
                    }
                    self.deletion.error = Some(unfinished.error);
                }
            }
            Err(error) => {
                left.iter().for_each(|key| {
                    self.deletion.keys.insert(key);
                });
                self.deletion.error = Some(error);
            }
        }
    }

    fn remains(&mut self, walk: &Walk<'_>) {
        self.deletion.sets.insert(walk.at.key, walk.member_prefix);
    }

    /// Those sets remain whose members could not be removed.
    fn sets_failed(&mut self, walks: &[Walk<'_>], unfinished: Unfinished) {
        for walk in walks {
            if unfinished.keys.iter().any(|key| key == walk.at.key) {
                self.remains(walk);
            }
        }
        self.deletion.error = Some(unfinished.error);
    }

    /// The members that leave their sets, and the keys that they name, which are
    /// held for the second deletion first.
    fn leaving<'s>(
        &mut self,
        found: Vec<(Walk<'s>, TagKind, Vec<Vec<u8>>)>,
        stay: &KeySet,
    ) -> (Vec<MemberRemoval<'s>>, KeySet) {
        let mut left = KeySet::default();
        let mut leaving = Vec::new();
        for (walk, kind, mut members) in found {
            members.retain(|member| {
                let key = walk.key_of(member);
                if stay.contains(&key) {
                    return false;
                }
                if self.pass == Pass::First {
                    if self.carried.size() >= CARRIED_BYTES_MAX {
                        return false;
                    }
                    self.carried.insert(&key);
                }
                left.insert(&key);
                true
            });
            if !members.is_empty() {
                let key = walk.at.key;
                leaving.push(MemberRemoval { key, kind, members });
            }
        }
        (leaving, left)
    }

    /// Publishes keys, or keeps them for the batch's message.
    async fn publish(&mut self, cache: &mut impl Cache, keys: &KeySet) -> Result<(), CacheError> {
        if !self.publications.want_members() {
            return Ok(());
        }
        keys.iter().for_each(|key| {
            self.deletion.members.insert(key);
        });
        if self.deletion.members.size() >= MEMBERS_PUBLISHED_BYTES {
            let members = std::mem::take(&mut self.deletion.members);
            let refused = self.publications.publish_members(cache, &members).await?;
            self.deletion.refused.extend(refused);
        }
        Ok(())
    }
}

/// A set that is being read.
#[derive(Clone, Copy)]
struct Walk<'s> {
    at: TagScan<'s>,
    member_prefix: &'s [u8],
}

impl<'s> Walk<'s> {
    fn new(key: &'s [u8], member_prefix: &'s [u8]) -> Self {
        let at = TagScan {
            key,
            kind: None,
            cursor: 0,
        };
        Self { at, member_prefix }
    }

    fn on(mut self, kind: TagKind, cursor: u64) -> Self {
        self.at.kind = Some(kind);
        self.at.cursor = cursor;
        self
    }

    /// The key that `member` names. Some frameworks keep whole keys in their
    /// sets, others leave out the prefix that all keys have.
    fn key_of<'m>(&self, member: &'m [u8]) -> Cow<'m, [u8]> {
        if member.starts_with(self.member_prefix) {
            Cow::Borrowed(member)
        } else {
            Cow::Owned([self.member_prefix, member].concat())
        }
    }
}

#[cfg(test)]
mod tests;
