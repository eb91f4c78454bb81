//! A batch of planned changes, and the stages that it goes through.
//!
//! A batch gathers while the one before it is on its way. Each stage is a type
//! of its own, made only by the step that reached it:
//! [`Batch`] → [`Deleted`] → [`Settled`] → [`Accepted`]. Keys go before paths
//! (Cache before edge) and the position comes last (Nothing lost), because
//! nothing else compiles.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bulk_paths::Paths;
use super::due::Due;
use super::pass::Pass;
use super::plan_counts::Counts;
use super::structures::Structures;
use crate::cache::{Cache, CacheError, Refused};
use crate::ledger::GapId;
use crate::model::invalidation::{Action, Plan, Widening};
use crate::model::{CommitTime, GtidSet, KeyList, KeySet, Position};
use crate::progress::board::Board;
use crate::telemetry::metric;

/// Planned changes that are not acted on yet.
#[derive(Debug, Default)]
pub struct Batch {
    /// Keys to be deleted again when the batch is due.
    pub(super) settling: KeySet,
    /// Keys that one deletion is enough for.
    pub(super) once: KeySet,
    pub(super) wide: BTreeSet<Wide>,
    pub(super) structures: Structures,
    pub(super) paths: Paths,
    /// The position after the last whole transaction in it, if there is one.
    pub(super) mark: Option<Mark>,
    /// Every transaction that a change in it belongs to, and those before;
    /// `None` where the source has no GTIDs.
    pub(super) gtids: Option<GtidSet>,
    /// When the newest change was committed; `None` before the first one, and
    /// where no change has a commit time.
    pub(super) newest: Option<CommitTime>,
    /// The same of the oldest change.
    pub(super) oldest: Option<CommitTime>,
    /// The gap for which it invalidates everything.
    pub(super) gap: Option<GapId>,
    counts: Counts,
}

/// Memory that a batch takes besides its content, in bytes: many small batches
/// may wait to settle, each with a position and a GTID set.
const MARK_BYTES: usize = 1_024;

/// Largest room that is reserved for the next batch's keys, in bytes. Batches
/// under load stay below it.
const ROOM_BYTES_MAX: usize = 2 << 20;

/// A deletion that covers more than single keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wide {
    /// Every key that matches this glob.
    Matching(Vec<u8>),
    /// Every key that contains the value of this counter, which is increased.
    Generation(Vec<u8>),
}

/// The end of a batch in the binlog: once the batch is done, so is everything
/// before this position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub position: Position,
    /// The server whose binlog the position is in.
    pub server_uuid: Arc<str>,
    /// When the last transaction before it was committed; `None` if none was
    /// read yet.
    pub committed_at: Option<CommitTime>,
    /// Rows before it were read with the columns of this place, which is ahead.
    pub columns_of: Option<Position>,
    /// When its file was begun, in seconds since the epoch, if that is known.
    pub file_begun_s: Option<u32>,
}

/// A batch whose keys were deleted from the cache for the first time.
#[derive(Debug)]
pub struct Deleted {
    settling: KeyList,
    wide: BTreeSet<Wide>,
    structures: Structures,
    /// When its keys are deleted again; `None` where once was enough.
    pub(super) due: Option<Due>,
    paths: Paths,
    mark: Option<Mark>,
    oldest: Option<CommitTime>,
    gap: Option<GapId>,
}

/// A batch that has settled: nothing that was read before its changes can be in
/// the cache any more.
#[derive(Debug)]
pub struct Settled {
    pub(super) paths: Paths,
    mark: Option<Mark>,
    gaps: Vec<GapId>,
}

/// A batch whose paths the buffer has accepted too.
#[derive(Debug)]
pub struct Accepted {
    pub(super) mark: Option<Mark>,
    pub(super) gaps: Vec<GapId>,
}

impl Batch {
    /// Takes the batch and leaves an empty one, with room for as many keys.
    pub fn take(&mut self) -> Batch {
        let next = Batch {
            settling: KeySet::like(&self.settling, ROOM_BYTES_MAX),
            once: KeySet::like(&self.once, ROOM_BYTES_MAX),
            ..Batch::default()
        };
        std::mem::replace(self, next)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.keys() == 0
            && self.wide.is_empty()
            && self.structures.is_empty()
            && self.paths.is_empty()
    }

    /// The number of keys that it deletes.
    pub fn keys(&self) -> usize {
        self.settling.len() + self.once.len()
    }

    /// The memory it takes, in bytes (Bounded).
    pub fn size(&self) -> usize {
        let keys = self.settling.size() + self.once.size();
        keys + self.structures.size() + self.paths.size() + size_of(&self.wide)
    }

    /// Sets when the changes that are planned next were committed.
    pub fn committed_at(&mut self, at: Option<CommitTime>) {
        self.paths.committed_at(at);
        if self.is_empty() {
            self.oldest = at;
        }
        self.newest = self.newest.max(at);
    }

    /// Marks the batch as the one that invalidates everything because of a gap.
    ///
    /// Nobody knows when the lost changes were committed. They count as
    /// committed just now, since an old row that was read until now may still
    /// be stored after the first deletion (Settled).
    pub(super) fn covers_gap(&mut self, id: GapId) {
        let now = CommitTime::now();
        self.gap = Some(id);
        self.newest = Some(now);
        self.oldest = Some(now);
        self.paths.all_committed_at(now);
    }

    /// Makes one attempt to delete everything in it, and returns the keys that
    /// the cache refuses for good. `pass` says whether it is deleted again.
    pub(super) async fn delete(
        &mut self,
        cache: &mut impl Cache,
        pass: Pass,
    ) -> Result<Vec<Refused>, CacheError> {
        let keys = [self.settling.keys(), self.once.keys()];
        delete(cache, &keys, &self.wide, &mut self.structures, pass).await
    }

    /// Whether a refused key is deleted again when the batch is due.
    ///
    /// A key is given up only when its last deletion is refused. Guards and tag
    /// sets do not wait for that: not all that is done to them is done again.
    pub(super) fn deletes_again(&self, due: Option<Due>, key: &[u8]) -> bool {
        let again =
            self.settling.contains(key) || self.structures.is_empty() && !self.once.contains(key);
        due.is_some() && again
    }

    /// Whether it scans the cache's keys or sets, which may take any time.
    pub(super) fn takes_long(&self) -> bool {
        !self.wide.is_empty() || self.structures.settles()
    }

    /// The batch after its first deletion; it is deleted again at `due`.
    pub(super) fn deleted(self, due: Option<Due>) -> Deleted {
        let (settling, wide, structures) = match due {
            Some(_) => (
                self.settling.into_keys(),
                self.wide,
                self.structures.again(),
            ),
            None => Default::default(),
        };
        let settles = !settling.is_empty() || !wide.is_empty() || structures.settles();
        Deleted {
            due: due.filter(|_| settles),
            settling,
            wide,
            structures,
            paths: self.paths,
            mark: self.mark,
            oldest: self.oldest,
            gap: self.gap,
        }
    }

    /// Reports what planning counted to the metrics, the board and the log, and
    /// forgets it. `position` is how far the binlog is read.
    pub fn report(&mut self, board: &Board, position: impl FnOnce() -> String) {
        self.counts.report(board, position);
    }
}

impl Plan for Batch {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        match action {
            Action::Delete { key, settles: true } => {
                self.settling.insert(key);
            }
            Action::Delete {
                key,
                settles: false,
            } => {
                self.once.insert(key);
            }
            Action::DeleteMatching { glob } => {
                self.wide.insert(Wide::Matching(glob.to_vec()));
            }
            Action::Increment { key } => {
                self.wide.insert(Wide::Generation(key.to_vec()));
            }
            Action::RaiseGuard { key, version, ttl } => {
                self.structures.guards.raise(key, version, ttl);
            }
            Action::DeleteTagSet { key, member_prefix } => {
                self.structures.tag_sets.insert(key, member_prefix);
            }
            Action::DeleteTagSetsMatching {
                glob,
                member_prefix,
            } => {
                self.structures.tag_set_globs.insert(glob, member_prefix);
            }
            Action::DeleteField { key, field } => {
                self.structures.fields.insert(key, field);
            }
            Action::Publish { channel, what } => self.structures.publications.add(channel, what),
            Action::Invalidate { path, at } => self.paths.insert(rule, at, path),
            Action::Skip { class, .. } => self.counts.skip(class),
            Action::MissedBump { version } => self.counts.miss_bump(rule, version),
            Action::BackwardVersion { before, after } => {
                self.counts.go_back(rule, before, after);
            }
            Action::SkipGuard { version } => self.counts.skip_guard(rule, version),
        }
    }

    fn widen(&mut self, _rule: &Arc<str>, reason: Widening) {
        self.counts.widen(reason);
    }
}

impl Deleted {
    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        let content = self.settling.size() + self.structures.size() + self.paths.size();
        content + size_of(&self.wide) + MARK_BYTES
    }

    /// Makes one attempt to delete everything in it again, and returns the keys
    /// that the cache refuses for good.
    pub(super) async fn delete_again(
        &mut self,
        cache: &mut impl Cache,
    ) -> Result<Vec<Refused>, CacheError> {
        let keys = [&self.settling];
        delete(cache, &keys, &self.wide, &mut self.structures, Pass::Again).await
    }

    /// The batch after its second deletion, or where one was enough.
    pub(super) fn settled(self) -> Settled {
        if let Some(oldest) = self.oldest {
            metrics::histogram!(metric::COMMIT_TO_SETTLED).record(oldest.age());
        }
        Settled {
            paths: self.paths,
            mark: self.mark,
            gaps: self.gap.into_iter().collect(),
        }
    }

    /// The position after the batch.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Whether deleting it again takes a scan of the cache.
    pub(super) fn takes_long(&self) -> bool {
        !self.wide.is_empty() || self.structures.settles()
    }
}

fn size_of(wide: &BTreeSet<Wide>) -> usize {
    let bytes = |wide: &Wide| match wide {
        Wide::Matching(glob) => glob.len(),
        Wide::Generation(key) => key.len(),
    };
    wide.iter().map(bytes).sum()
}

async fn delete(
    cache: &mut impl Cache,
    keys: &[&KeyList],
    wide: &BTreeSet<Wide>,
    structures: &mut Structures,
    pass: Pass,
) -> Result<Vec<Refused>, CacheError> {
    let outcome = structures.delete_keys(cache, keys).await?;
    metrics::counter!(metric::CACHE_KEYS_EXISTED).increment(outcome.existed);
    let mut refused = outcome.refused;
    let deletion = structures.delete(cache, pass).await?;
    refused.extend(deletion.refused);
    for wide in wide {
        match wide {
            Wide::Matching(glob) => {
                let outcome = cache.delete_matching(glob).await?;
                let existed = outcome.existed;
                refused.extend(outcome.refused);
                tracing::info!(glob = %String::from_utf8_lossy(glob), existed, "deleted by glob");
                metrics::counter!(metric::CACHE_KEYS_EXISTED).increment(existed);
            }
            Wide::Generation(key) => {
                refused.extend(cache.increment(key).await?.refused);
                tracing::info!(key = %String::from_utf8_lossy(key), "began a new generation of keys");
            }
        }
    }
    refused.extend(structures.publish(cache, pass, &deletion.members).await?);
    Ok(refused)
}

impl Settled {
    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        self.paths.size() + MARK_BYTES
    }

    /// Adds a later batch, whose position then stands for both.
    pub(super) fn add(&mut self, later: Settled) {
        self.paths.add(later.paths);
        self.gaps.extend(later.gaps);
        self.mark = later.mark.or_else(|| self.mark.take());
    }

    /// The batch once the buffer has accepted its paths.
    pub(super) fn accepted(self) -> Accepted {
        Accepted {
            mark: self.mark,
            gaps: self.gaps,
        }
    }
}
