//! Guards, hash fields, tag sets and published messages of a batch: what it
//! does besides deleting plain keys.

use super::pass::Pass;
use super::publish::Publications;
use super::tag_sets::{Attempt, Deletion};
use crate::cache::{Cache, CacheError, Outcome, Refused};
use crate::model::cast::to_u64;
use crate::model::{Guards, KeyList, KeySet, PairSet};
use crate::telemetry::metric;

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
    carried: KeySet,
}

impl Structures {
    pub(super) fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.publications.is_empty() && !self.settles()
    }

    /// Whether there is anything to delete a second time.
    pub(super) fn settles(&self) -> bool {
        !(self.fields.is_empty() && self.tag_sets.is_empty() && self.tag_set_globs.is_empty())
    }

    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        self.guards.size()
            + self.fields.size()
            + self.tag_sets.size()
            + self.tag_set_globs.size()
            + self.publications.size()
            + self.carried.size()
    }

    /// The part that the second deletion needs: guards are raised only once.
    pub(super) fn again(self) -> Self {
        Self {
            guards: Guards::default(),
            ..self
        }
    }

    /// Raises the guards, then deletes `keys`.
    pub(super) async fn delete_keys(
        &self,
        cache: &mut impl Cache,
        keys: &[&KeyList],
    ) -> Result<Outcome, CacheError> {
        if self.guards.is_empty() {
            return cache.delete(keys).await;
        }
        let outcome = cache.delete_guarded(&self.guards, keys).await?;
        let raised = to_u64(self.guards.len());
        metrics::counter!(metric::GUARDS).increment(raised);
        Ok(outcome)
    }

    /// Deletes fields, and the keys that tag sets name. Globs over keys come
    /// after it: one may match a tag set, and its members would be lost.
    pub(super) async fn delete(
        &mut self,
        cache: &mut impl Cache,
        pass: Pass,
    ) -> Result<Deletion, CacheError> {
        let mut deletion = Deletion::default();
        if !self.settles() {
            return Ok(deletion);
        }
        if !self.fields.is_empty() {
            let outcome = cache.delete_fields(&self.fields).await?;
            metrics::counter!(metric::CACHE_KEYS_EXISTED).increment(outcome.existed);
            deletion.refused = outcome.refused;
        }
        let mut attempt = Attempt {
            pass,
            carried: &mut self.carried,
            publications: &self.publications,
            deletion,
        };
        attempt.delete_carried(cache).await?;
        attempt.delete(cache, &self.tag_sets).await?;
        for (glob, member_prefix) in self.tag_set_globs.iter() {
            attempt.delete_matching(cache, glob, member_prefix).await?;
            tracing::info!(glob = %String::from_utf8_lossy(glob), "deleted the keys of tag sets by glob");
        }
        Ok(attempt.deletion)
    }

    /// Publishes what was deleted, and returns the channels that the cache
    /// refuses.
    pub(super) async fn publish(
        &self,
        cache: &mut impl Cache,
        pass: Pass,
        members: &KeySet,
    ) -> Result<Vec<Refused>, CacheError> {
        if self.publications.is_empty() {
            return Ok(Vec::new());
        }
        self.publications.publish(cache, pass, members).await
    }
}
