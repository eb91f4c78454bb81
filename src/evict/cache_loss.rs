//! Deletions that a cache may have lost, and what is done about them.

use super::batch::Batch;
use super::marks::Mark;
use super::tail::Tail;
use crate::model::invalidation::Widening;
use crate::telemetry::metric;

/// Deletions that a cache may have lost.
#[derive(Debug)]
pub(super) struct CacheLoss {
    /// Everything before it was done in time; `None` if no such position is known.
    pub(super) from: Option<Mark>,
    pub(super) reason: &'static str,
}

impl CacheLoss {
    /// Reads what the deletions were made for again, or invalidates everything where
    /// that is not known (Over, never under).
    pub(super) fn mend(self, tail: &mut Tail, batch: &mut Batch) {
        let reason = self.reason;
        let Some(from) = self.from else {
            tracing::error!(
                reason,
                "Redis may have entries again that were deleted, and it is not known since when: invalidating everything that any rule covers"
            );
            let rules = &tail.reports().rules;
            rules.widen_all(Widening::CacheRestored, batch);
            return batch.covers_loss();
        };
        tracing::error!(
            reason, from = %from.position,
            "Redis may have entries again that were deleted: the binlog is read again from where all was still kept"
        );
        let counted = Widening::CacheRestored;
        metrics::counter!(metric::WIDENINGS, "reason" => counted.as_str()).increment(1);
        tail.reports().board.planned(&[(counted, 1)].into(), 0);
        tail.read_again(from);
    }
}
