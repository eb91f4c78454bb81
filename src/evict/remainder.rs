//! One attempt at what a batch deletes, and what remains of it.
//!
//! Problem: one primary of a cluster is away, memory is full so that no guard can
//! be raised, or a glob takes a scan of all keys. None of that is a reason for
//! other keys to stay.
//!
//! Idea: an attempt does everything that can be done at once and returns the rest
//! ([`Remainder`]). Retries and scans work on it beside the batches that follow
//! (`lane`), while the batch's paths and position wait for it (`settling`).
//!
//! What could go wrong: what remains is done after later batches. That changes
//! nothing, because
//!
//! - deletions of keys, fields and members commute, and may be repeated;
//! - a counter only has to change, and counts what was added in any order;
//! - a guard never falls, whichever version comes first. Fills are refused only
//!   from when it is raised, so that the keys that it may be for remain with it,
//!   and are deleted once more after it;
//! - a message is published when what it names is deleted. Where something
//!   remains it is published once more after that: a subscriber may have read
//!   the old entry in the meantime;
//! - only a glob does not commute with a tag set: it may delete the set, and what
//!   its members name would never be found. So tag sets that remain go to the
//!   lane of the scans, where a glob waits for those before it.

use std::collections::BTreeSet;

use super::pass::Pass;
use super::structures::{Structures, Wide};
use super::tag_sets::{Attempt, Deletion};
use crate::cache::{Cache, CacheError, Refused, Unfinished};
use crate::model::cast::to_u64;
use crate::model::{Guards, KeyList, KeySet, PairSet};
use crate::telemetry::metric;

/// Steps through tag sets that later batches wait for.
const BRIEF_STEPS: usize = 64;

/// How long an attempt may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Others wait: scans remain, and so does what is left of large tag sets.
    Brief,
    /// Nobody waits.
    Long,
}

/// What one attempt did.
#[derive(Debug, Default)]
pub(super) struct Attempted {
    /// Keys that the cache refuses for good.
    pub(super) refused: Vec<Refused>,
    /// What failed.
    pub(super) retries: Option<Box<Remainder>>,
    /// What takes a scan, and tag sets that remain.
    pub(super) scans: Option<Box<Remainder>>,
    /// Why something failed; the last of several reasons.
    pub(super) error: Option<CacheError>,
}

impl Attempted {
    fn failed(&mut self, error: CacheError) -> &mut Remainder {
        self.error = Some(error);
        self.retries.get_or_insert_default()
    }

    fn scanned_later(&mut self) -> &mut Remainder {
        self.scans.get_or_insert_default()
    }

    /// Whether nothing remains.
    pub(super) fn is_done(&self) -> bool {
        self.retries.is_none() && self.scans.is_none()
    }

    /// The number of keys that remain.
    pub(super) fn keys(&self) -> usize {
        self.retries.as_ref().map_or(0, |rest| rest.keys.len())
    }

    /// Adds the keys and the guards that failed.
    fn keys_failed(&mut self, unfinished: Unfinished, guards: &Guards) {
        let rest = self.failed(unfinished.error);
        for key in &unfinished.keys {
            rest.keys.insert(key);
        }
        if !unfinished.guards.is_empty() {
            let failed = set_of(&unfinished.guards);
            for (key, version, ttl) in guards.iter().filter(|(key, ..)| failed.contains(key)) {
                rest.structures.guards.raise(key, version, ttl);
            }
        }
    }
}

/// What remains of a batch's deletions.
#[derive(Debug, Default)]
pub(super) struct Remainder {
    pub(super) keys: KeySet,
    pub(super) wide: BTreeSet<Wide>,
    pub(super) structures: Structures,
}

impl Remainder {
    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        let wide: usize = self.wide.iter().map(Wide::size).sum();
        self.keys.size() + self.structures.size() + wide
    }

    /// Whether it has tag sets, by name or by glob.
    pub(super) fn has_tag_sets(&self) -> bool {
        !(self.structures.tag_sets.is_empty() && self.structures.tag_set_globs.is_empty())
    }

    /// Whether it is nothing but scans of keys.
    pub(super) fn only_scans(&self) -> bool {
        let scans = |wide: &Wide| matches!(wide, Wide::Matching(_));
        self.keys.is_empty()
            && self.structures.is_empty()
            && !self.wide.is_empty()
            && self.wide.iter().all(scans)
    }

    /// Adds another part of the same batch.
    pub(super) fn add(&mut self, other: Remainder) {
        let Remainder {
            keys,
            wide,
            structures,
        } = other;
        keys.iter().for_each(|key| {
            self.keys.insert(key);
        });
        self.wide.extend(wide);
        self.structures.add(structures);
    }

    /// Makes one attempt.
    pub(super) async fn attempt(
        &mut self,
        cache: &mut impl Cache,
        pass: Pass,
        effort: Effort,
    ) -> Result<Attempted, CacheError> {
        let keys = [self.keys.keys()];
        attempt(cache, &keys, &self.wide, &mut self.structures, pass, effort).await
    }
}

/// Makes one attempt at everything.
///
/// # Errors
///
/// Nothing can be done at the moment.
pub(super) async fn attempt(
    cache: &mut impl Cache,
    keys: &[&KeyList],
    wide: &BTreeSet<Wide>,
    structures: &mut Structures,
    pass: Pass,
    effort: Effort,
) -> Result<Attempted, CacheError> {
    let mut attempted = Attempted::default();
    delete_keys(cache, keys, &structures.guards, &mut attempted).await?;
    if !structures.fields.is_empty() {
        delete_fields(cache, &structures.fields, &mut attempted).await;
    }
    if structures.settles() {
        delete_tag_sets(cache, structures, pass, effort, &mut attempted).await;
    }
    for wide in wide {
        match wide {
            Wide::Matching(glob) if effort == Effort::Long && attempted.scans.is_none() => {
                delete_matching(cache, glob, &mut attempted).await;
            }
            Wide::Matching(_) => {
                attempted.scanned_later().wide.insert(wide.clone());
            }
            Wide::Generation(key) => match increment(cache, key).await {
                Ok(refused) => attempted.refused.extend(refused),
                Err(error) => {
                    attempted.failed(error).wide.insert(wide.clone());
                }
            },
        }
    }
    if !structures.publications.is_empty() {
        publish(cache, structures, pass, &mut attempted).await;
    }
    Ok(attempted)
}

/// Raises the guards, then deletes `keys`.
async fn delete_keys(
    cache: &mut impl Cache,
    keys: &[&KeyList],
    guards: &Guards,
    attempted: &mut Attempted,
) -> Result<(), CacheError> {
    if guards.is_empty() && keys.iter().all(|keys| keys.is_empty()) {
        return Ok(());
    }
    let outcome = if guards.is_empty() {
        cache.delete(keys).await?
    } else {
        let outcome = cache.delete_guarded(guards, keys).await?;
        let unfinished = outcome.unfinished.as_ref();
        let unraised = unfinished.map_or(0, |unfinished| unfinished.guards.len());
        metrics::counter!(metric::GUARDS).increment(to_u64(guards.len() - unraised));
        outcome
    };
    metrics::counter!(metric::CACHE_KEYS_EXISTED).increment(outcome.existed);
    attempted.refused = outcome.refused;
    if let Some(unfinished) = outcome.unfinished {
        attempted.keys_failed(unfinished, guards);
    }
    Ok(())
}

async fn delete_fields(cache: &mut impl Cache, fields: &PairSet, attempted: &mut Attempted) {
    let outcome = match cache.delete_fields(fields).await {
        Ok(outcome) => outcome,
        Err(error) => {
            attempted.failed(error).structures.fields = fields.clone();
            return;
        }
    };
    metrics::counter!(metric::CACHE_KEYS_EXISTED).increment(outcome.existed);
    attempted.refused.extend(outcome.refused);
    if let Some(unfinished) = outcome.unfinished {
        let hashes = set_of(&unfinished.keys);
        let rest = &mut attempted.failed(unfinished.error).structures.fields;
        for (key, field) in fields.iter().filter(|(key, _)| hashes.contains(key)) {
            rest.insert(key, field);
        }
    }
}

/// Deletes the keys that tag sets name. Globs over keys come after it: one may
/// match a tag set, and its members would be lost.
async fn delete_tag_sets(
    cache: &mut impl Cache,
    structures: &mut Structures,
    pass: Pass,
    effort: Effort,
    attempted: &mut Attempted,
) {
    let mut attempt = Attempt {
        pass,
        carried: &mut structures.carried,
        publications: &structures.publications,
        steps: match effort {
            Effort::Brief => BRIEF_STEPS,
            Effort::Long => usize::MAX,
        },
        deletion: Deletion {
            members: std::mem::take(&mut structures.unpublished),
            ..Deletion::default()
        },
    };
    attempt.delete_carried(cache).await;
    attempt.delete(cache, &structures.tag_sets).await;
    let mut globs = PairSet::default();
    for (glob, member_prefix) in structures.tag_set_globs.iter() {
        if effort == Effort::Brief {
            globs.insert(glob, member_prefix);
            continue;
        }
        match attempt.delete_matching(cache, glob, member_prefix).await {
            Ok(()) => {
                tracing::info!(glob = %String::from_utf8_lossy(glob), "deleted the keys of tag sets by glob");
            }
            Err(error) => {
                attempt.deletion.error = Some(error);
                globs.insert(glob, member_prefix);
            }
        }
    }
    let deletion = attempt.deletion;
    structures.unpublished = deletion.members;
    attempted.refused.extend(deletion.refused);
    if !deletion.keys.is_empty() || !deletion.carried.is_empty() {
        let rest = attempted.retries.get_or_insert_default();
        deletion.keys.iter().for_each(|key| {
            rest.keys.insert(key);
        });
        rest.structures.carried = deletion.carried;
    }
    if !deletion.sets.is_empty() || !globs.is_empty() {
        let rest = attempted.scanned_later();
        rest.structures.tag_sets = deletion.sets;
        rest.structures.tag_set_globs = globs;
    }
    attempted.error = deletion.error.or_else(|| attempted.error.take());
}

async fn delete_matching(cache: &mut impl Cache, glob: &[u8], attempted: &mut Attempted) {
    match cache.delete_matching(glob).await {
        Ok(outcome) => {
            let existed = outcome.existed;
            attempted.refused.extend(outcome.refused);
            tracing::info!(glob = %String::from_utf8_lossy(glob), existed, "deleted by glob");
            metrics::counter!(metric::CACHE_KEYS_EXISTED).increment(existed);
        }
        Err(error) => {
            attempted.error = Some(error);
            let wide = Wide::Matching(glob.to_vec());
            attempted.scanned_later().wide.insert(wide);
        }
    }
}

async fn increment(cache: &mut impl Cache, key: &[u8]) -> Result<Vec<Refused>, CacheError> {
    let outcome = cache.increment(key).await?.whole()?;
    tracing::info!(key = %String::from_utf8_lossy(key), "began a new generation of keys");
    Ok(outcome.refused)
}

/// Publishes what was deleted. What remains is published, too, and once more when
/// it is deleted.
async fn publish(
    cache: &mut impl Cache,
    structures: &mut Structures,
    pass: Pass,
    attempted: &mut Attempted,
) {
    let members = std::mem::take(&mut structures.unpublished);
    let publications = &structures.publications;
    match publications.publish(cache, pass, &members).await {
        Ok(refused) => attempted.refused.extend(refused),
        Err(error) => attempted.failed(error).structures.unpublished = members,
    }
    let remainders = [&mut attempted.retries, &mut attempted.scans];
    for rest in remainders.into_iter().flatten() {
        rest.structures.publications = publications.clone();
    }
}

fn set_of(keys: &[Vec<u8>]) -> KeySet {
    let mut set = KeySet::default();
    for key in keys {
        set.insert(key);
    }
    set
}
