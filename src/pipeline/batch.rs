//! What gathers while the previous batch is on its way, and the stages that a
//! batch goes through.
//!
//! Each stage is a type of its own, made only by the step that reached it:
//! [`Batch`] → [`Deleted`] → [`Accepted`]. Keys go before paths (Cache before
//! edge) and the position comes last (Nothing lost), because nothing else
//! compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::invalidation::{Action, PathClass, Plan, Widening};
use crate::model::{KeySet, Position};

/// Planned, not yet acted on.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) keys: KeySet,
    pub(super) globs: BTreeSet<Vec<u8>>,
    pub(super) paths: Paths,
    /// The position after the last whole transaction in it, if there is one.
    pub(super) mark: Option<Mark>,
    counts: Counts,
}

/// Paths to invalidate.
#[derive(Debug, Default)]
pub struct Paths {
    pub(super) paths: KeySet,
    /// When the oldest change was committed, µs since the epoch.
    pub(super) committed_at_us: u64,
}

/// A position that everything before it is done for once the batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The position.
    pub position: Position,
    /// The server it is a position of.
    pub server_uuid: Arc<str>,
    /// When the last transaction before it was committed, µs since the epoch.
    pub committed_at_us: u64,
}

/// Everything in it is deleted from the cache.
#[derive(Debug)]
pub struct Deleted {
    pub(super) paths: Paths,
    pub(super) mark: Option<Mark>,
}

/// Its paths are accepted by the buffer too.
#[derive(Debug)]
pub struct Accepted {
    pub(super) mark: Option<Mark>,
}

/// What happened while planning, to be added to the metrics at once.
#[derive(Debug, Default)]
struct Counts {
    skipped: BTreeMap<PathClass, u64>,
    widened: BTreeMap<Widening, u64>,
    missed_bumps: u64,
}

impl Batch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.globs.is_empty() && self.paths.paths.is_empty()
    }

    /// The memory it takes, in bytes (Bounded).
    pub fn size(&self) -> usize {
        let globs: usize = self.globs.iter().map(Vec::len).sum();
        self.keys.size() + self.paths.paths.size() + globs
    }

    /// Says when the changes that are planned next were committed.
    pub fn committed_at(&mut self, at_us: u64) {
        if self.paths.paths.is_empty() {
            self.paths.committed_at_us = at_us;
        }
    }

    /// The keys and globs are deleted: only the paths are left.
    pub(super) fn deleted(self) -> Deleted {
        Deleted {
            paths: self.paths,
            mark: self.mark,
        }
    }

    /// Adds what was counted to the metrics, and forgets it.
    pub fn report(&mut self) {
        use crate::telemetry::metric;
        let counts = std::mem::take(&mut self.counts);
        for (class, count) in counts.skipped {
            metrics::counter!(metric::PATHS_SKIPPED, "class" => class.as_str()).increment(count);
        }
        for (reason, count) in counts.widened {
            metrics::counter!(metric::WIDENINGS, "reason" => reason.as_str()).increment(count);
        }
        if counts.missed_bumps > 0 {
            metrics::counter!(metric::MISSED_VERSION_BUMPS).increment(counts.missed_bumps);
        }
    }
}

impl Plan for Batch {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        match action {
            Action::Delete { key } => {
                self.keys.insert(key);
            }
            Action::DeleteMatching { glob } => {
                self.globs.insert(glob.to_vec());
            }
            Action::Invalidate { path } => {
                self.paths.paths.insert(path.as_bytes());
            }
            Action::Skip { class, .. } => *self.counts.skipped.entry(class).or_default() += 1,
            Action::MissedBump { version } => {
                if self.counts.missed_bumps == 0 {
                    let version = String::from_utf8_lossy(version);
                    tracing::warn!(%rule, %version, "a mapped row changed and its version did not");
                }
                self.counts.missed_bumps += 1;
            }
        }
    }

    fn widen(&mut self, _rule: &Arc<str>, reason: Widening) {
        *self.counts.widened.entry(reason).or_default() += 1;
    }
}

impl Deleted {
    /// The buffer took the paths.
    pub(super) fn accepted(self) -> Accepted {
        Accepted { mark: self.mark }
    }
}
