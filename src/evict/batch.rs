//! A batch of planned changes, and the stages that it goes through.
//!
//! A batch gathers while the one before it is on its way. Each stage is a type
//! of its own, made only by the step that reached it:
//! [`Batch`] → [`Deleted`] → `Settled` → `Accepted`. Keys go before paths
//! (Cache before edge) and the position comes last (Nothing lost), because
//! nothing else compiles.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::bulk_paths::Paths;
use super::due::Due;
use super::marks::{MARK_BYTES, Mark, Marks, Reached};
use super::pass::Pass;
use super::plan_counts::Counts;
use super::publish::Publications;
use super::remainder::{self, Attempted, Effort};
use super::settled::Settled;
use super::structures::{Structures, Wide};
use super::visibility::{Unseen, Visible};
use crate::binlog::reader::TransactionsRead;
use crate::binlog::server::stream_id::StreamId;
use crate::cache::{Cache, CacheError};
use crate::ledger::GapId;
use crate::model::invalidation::{Action, Plan, Widening};
use crate::model::{CommitTime, KeyList, KeySet};
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
    /// The transactions that its changes belong to; none for those of a gap.
    pub(super) read: TransactionsRead,
    /// The stream that they came over.
    pub(super) stream: StreamId,
    /// When the oldest change was committed; `None` before the first one, and
    /// where no change has a commit time.
    pub(super) oldest: Option<CommitTime>,
    /// The gap for which it invalidates everything.
    pub(super) gap: Option<GapId>,
    /// The loss of the buffer for which it invalidates every path.
    lost_paths: Option<GapId>,
    counts: Counts,
}

/// Largest room that is reserved for the next batch's keys, in bytes. Batches
/// under load stay below it.
const ROOM_BYTES_MAX: usize = 2 << 20;

/// A batch whose keys were deleted from the cache for the first time, but for
/// what remains of it.
#[derive(Debug)]
pub struct Deleted {
    settling: KeyList,
    wide: BTreeSet<Wide>,
    structures: Structures,
    /// What remains of the first deletion. The batch has not settled before.
    pub(super) remains: Attempted,
    /// When its keys are deleted again; `None` where once was enough.
    pub(super) due: Option<Due>,
    /// When they are deleted once more after that.
    pub(super) due_again: Option<Due>,
    /// Its transactions, where they are not known to be visible.
    pub(super) unseen: Option<Unseen>,
    /// Its number in the binlog's order, see [`Marks`].
    pub(super) number: u64,
    paths: Paths,
    pub(super) mark: Option<Mark>,
    pub(super) oldest: Option<CommitTime>,
    pub(super) gap: Option<GapId>,
    lost_paths: Option<GapId>,
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
    }

    /// Marks the batch as the one that invalidates everything because of a gap.
    pub(super) fn covers_gap(&mut self, id: GapId) {
        self.gap = Some(id);
        self.covers_loss();
    }

    /// Marks the batch as the one that invalidates every path because the buffer
    /// has lost some.
    pub(super) fn covers_lost_paths(&mut self, id: GapId) {
        self.lost_paths = Some(id);
        self.covers_loss();
    }

    /// Nobody knows when lost changes were committed. They count as committed
    /// just now.
    pub(super) fn covers_loss(&mut self) {
        let now = CommitTime::now();
        self.oldest = Some(now);
        self.paths.all_committed_at(now);
    }

    /// Makes one attempt to delete everything in it. `pass` says whether it is
    /// deleted again.
    pub(super) async fn delete(
        &mut self,
        cache: &mut impl Cache,
        pass: Pass,
    ) -> Result<Attempted, CacheError> {
        let keys = [self.settling.keys(), self.once.keys()];
        let (wide, structures) = (&self.wide, &mut self.structures);
        remainder::attempt(cache, &keys, wide, structures, pass, Effort::Brief).await
    }

    /// Whether a refused key is deleted again when the batch is.
    ///
    /// A key is given up only when its last deletion is refused. Guards and tag
    /// sets do not wait for that: not all that is done to them is done again.
    pub(super) fn deletes_again(&self, key: &[u8]) -> bool {
        self.settling.contains(key) || self.structures.is_empty() && !self.once.contains(key)
    }

    /// The batch after its first deletion, of which this remains; it is deleted
    /// again at `due`, and once its rows are visible where that is open.
    pub(super) fn deleted(self, due: Option<Due>, visible: Visible, remains: Attempted) -> Deleted {
        let unseen = (visible == Visible::Open).then_some(Unseen {
            gtids: self.read.gtids,
            stream: self.stream,
        });
        let (settling, wide, structures) = if due.is_some() || unseen.is_some() {
            (
                self.settling.into_keys(),
                self.wide,
                self.structures.again(),
            )
        } else {
            Default::default()
        };
        let settles = !settling.is_empty() || !wide.is_empty() || structures.settles();
        Deleted {
            due: due.filter(|_| settles),
            due_again: None,
            unseen: unseen.filter(|_| settles),
            number: 0,
            settling,
            wide,
            structures,
            remains,
            paths: self.paths,
            mark: self.mark,
            oldest: self.oldest,
            gap: self.gap,
            lost_paths: self.lost_paths,
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

    /// Makes one attempt to delete everything in it again.
    pub(super) async fn delete_again(
        &mut self,
        cache: &mut impl Cache,
    ) -> Result<Attempted, CacheError> {
        let keys = [&self.settling];
        let (wide, structures) = (&self.wide, &mut self.structures);
        remainder::attempt(cache, &keys, wide, structures, Pass::Again, Effort::Brief).await
    }

    /// It is known that its rows were visible by `visible_by`: it is deleted at
    /// once, and once more at `due`.
    pub(super) fn closed(&mut self, visible_by: Instant, due: Option<Due>) {
        self.unseen = None;
        self.due = Some(Due {
            visible_by,
            at: Instant::now(),
        });
        self.due_again = due;
    }

    /// Whether another deletion follows the one that is due.
    pub(super) fn is_deleted_again(&self) -> bool {
        self.unseen.is_some() || self.due_again.is_some()
    }

    /// The times at which it is deleted again.
    pub(super) fn dues(&mut self) -> impl Iterator<Item = &mut Due> {
        self.due.iter_mut().chain(&mut self.due_again)
    }

    /// Everything was invalidated in its place: it waits for that to settle at
    /// `due`, if it is open.
    pub(super) fn superseded(&mut self, due: Option<Due>) {
        if self.unseen.take().is_some() {
            self.due = due;
        }
    }

    /// Open batches as one, whose keys and paths are those of `whole`.
    pub(super) fn joined(
        whole: Batch,
        mut batches: impl Iterator<Item = Deleted>,
        marks: &mut Marks,
    ) -> Option<Deleted> {
        let first = batches.next()?;
        let mut unseen = first.unseen.unwrap_or_default();
        for later in batches {
            if let Some(later) = &later.unseen {
                unseen.gtids.add(&later.gtids);
                unseen.stream = later.stream.clone();
            }
            // It waits for the first.
            marks.done(later.number, later.reached());
        }
        Some(Deleted {
            unseen: Some(unseen),
            number: first.number,
            mark: first.mark,
            oldest: first.oldest,
            gap: first.gap,
            lost_paths: first.lost_paths,
            ..whole.deleted(None, Visible::Open, Attempted::default())
        })
    }

    /// Whether it is the one that invalidates everything because of a gap.
    pub(super) fn is_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// How far the binlog is done with it.
    fn reached(self) -> Reached {
        Reached {
            mark: self.mark,
            gaps: self.gap.into_iter().chain(self.lost_paths).collect(),
        }
    }

    /// Adds keys of members that left their sets, to be deleted again with it.
    pub(super) fn carry(&mut self, members: &KeySet) {
        members.iter().for_each(|key| {
            self.structures.carried.insert(key);
        });
    }

    /// Its publications, for members that are deleted again by themselves.
    pub(super) fn publications(&self) -> Publications {
        self.structures.publications.clone()
    }

    /// The batch after its last deletion, or where one was enough, and once
    /// nothing remains of any.
    pub(super) fn settled(mut self, marks: &mut Marks) -> Settled {
        if let Some(oldest) = self.oldest {
            metrics::histogram!(metric::COMMIT_TO_SETTLED).record(oldest.age());
        }
        Settled {
            paths: std::mem::take(&mut self.paths),
            reached: marks.done(self.number, self.reached()),
        }
    }
}

fn size_of(wide: &BTreeSet<Wide>) -> usize {
    wide.iter().map(Wide::size).sum()
}
