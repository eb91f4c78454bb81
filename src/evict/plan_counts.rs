//! Counts of what was met while a batch was planned, for metrics and logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::invalidation::{PathClass, Widening};
use crate::progress::board::Board;
use crate::telemetry::{metric, repeating};

/// Gathered while planning, where neither a lock nor a log line has a place, and
/// reported once for each batch.
#[derive(Debug, Default)]
pub(super) struct Counts {
    skipped: BTreeMap<PathClass, u64>,
    widened: BTreeMap<Widening, u64>,
    missed_bumps: BTreeMap<Arc<str>, Seen>,
    backward_versions: BTreeMap<Arc<str>, Seen>,
    guards_skipped: BTreeMap<Arc<str>, Seen>,
}

/// A number of rows, and the version of the first.
#[derive(Debug)]
struct Seen {
    rows: u64,
    first: String,
}

/// Counts one row of `rule`. Few rules have anything to count, and then maybe
/// for many rows: the version is made into text for the first only.
fn see(seen: &mut BTreeMap<Arc<str>, Seen>, rule: &Arc<str>, version: impl FnOnce() -> String) {
    match seen.get_mut(rule) {
        Some(seen) => seen.rows += 1,
        None => {
            let first = version();
            seen.insert(Arc::clone(rule), Seen { rows: 1, first });
        }
    }
}

fn text(version: &[u8]) -> String {
    String::from_utf8_lossy(version).into_owned()
}

impl Counts {
    pub(super) fn skip(&mut self, class: PathClass) {
        *self.skipped.entry(class).or_default() += 1;
    }

    pub(super) fn widen(&mut self, reason: Widening) {
        *self.widened.entry(reason).or_default() += 1;
    }

    pub(super) fn miss_bump(&mut self, rule: &Arc<str>, version: &[u8]) {
        see(&mut self.missed_bumps, rule, || text(version));
    }

    pub(super) fn go_back(&mut self, rule: &Arc<str>, before: &[u8], after: &[u8]) {
        let versions = || format!("{} to {}", text(before), text(after));
        see(&mut self.backward_versions, rule, versions);
    }

    pub(super) fn skip_guard(&mut self, rule: &Arc<str>, version: &[u8]) {
        see(&mut self.guards_skipped, rule, || match version {
            b"" => "NULL".to_owned(),
            version => text(version),
        });
    }

    /// Reports all counts to the metrics, the board and the log, and forgets
    /// them. `position` is how far the binlog is read.
    pub(super) fn report(&mut self, board: &Board, position: impl FnOnce() -> String) {
        let Self {
            skipped,
            widened,
            missed_bumps,
            backward_versions,
            guards_skipped,
        } = std::mem::take(self);
        let missed = missed_bumps.values().map(|seen| seen.rows).sum();
        board.planned(&widened, missed);
        for (class, count) in skipped {
            metrics::counter!(metric::PATHS_SKIPPED, "class" => class.as_str()).increment(count);
        }
        for (reason, count) in widened {
            metrics::counter!(metric::WIDENINGS, "reason" => reason.as_str()).increment(count);
        }
        if missed_bumps.is_empty() && backward_versions.is_empty() && guards_skipped.is_empty() {
            return;
        }
        let position = position();
        for (rule, Seen { rows, first }) in missed_bumps {
            metrics::counter!(metric::MISSED_VERSION_BUMPS, "rule" => rule.to_string())
                .increment(rows);
            repeating!(warn, &rule, { %rule, version = first, rows, position },
                "a mapped row changed and its version did not");
        }
        for (rule, Seen { rows, first }) in backward_versions {
            metrics::counter!(metric::BACKWARD_VERSIONS).increment(rows);
            repeating!(warn, &rule, { %rule, versions = first, rows, position },
                "the version of a mapped row went backwards");
        }
        for (rule, Seen { rows, first }) in guards_skipped {
            metrics::counter!(metric::GUARDS_SKIPPED).increment(rows);
            repeating!(warn, &rule, { %rule, version = first, rows, position },
                "a version that is NULL or negative raises no guard: late fills of the row are not refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_on_the_board_once() {
        let (mut counts, board) = (Counts::default(), Board::default());
        for _ in 0..3 {
            counts.widen(Widening::Cascade);
        }
        counts.widen(Widening::Gap);
        for rule in ["users", "orders", "users"] {
            counts.miss_bump(&rule.into(), b"7");
        }
        for _ in 0..2 {
            counts.report(&board, String::new);
            let snapshot = board.snapshot();
            assert_eq!(snapshot.missed_bumps, 3);
            let widened = [(Widening::Cascade, 3), (Widening::Gap, 1)];
            assert_eq!(snapshot.widenings, widened.into());
        }
    }
}
