//! Paths that the buffer has lost, and what is done about them.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

use super::batch::Batch;
use super::tail::Tail;
use crate::ledger::BinlogPlace;
use crate::model::BufferState;
use crate::model::invalidation::Widening;
use crate::telemetry::metric;

/// The buffer's losses, as far as they were seen.
#[derive(Debug)]
pub(super) struct BufferLosses {
    state: watch::Receiver<BufferState>,
    seen: u64,
}

/// A loss that nothing makes up for yet.
#[derive(Debug)]
pub(super) struct BufferLoss {
    /// Number of losses so far.
    losses: u64,
    reason: Arc<str>,
}

impl BufferLosses {
    pub(super) fn new(state: watch::Receiver<BufferState>) -> Self {
        Self { state, seen: 0 }
    }

    /// The loss that is not mended yet, if there is one.
    pub(super) fn take(&mut self) -> Option<BufferLoss> {
        let state = self.state.borrow_and_update();
        if state.losses == self.seen {
            return None;
        }
        self.seen = state.losses;
        Some(BufferLoss {
            losses: state.losses,
            reason: state.reason.clone().unwrap_or_default(),
        })
    }

    /// Waits until there may be another one. Cancelling loses nothing.
    pub(super) async fn changed(&mut self) {
        let seen = self.seen;
        let lost = self.state.wait_for(|state| state.losses != seen);
        if lost.await.is_err() {
            // It cannot lose anything any more.
            pending::<()>().await;
        }
    }
}

impl BufferLoss {
    /// Invalidates every path that any rule covers (Over, never under). Their keys
    /// were deleted before.
    pub(super) fn mend(self, tail: &mut Tail, batch: &mut Batch) {
        let at = tail.source().position();
        let reports = tail.reports();
        tracing::error!(
            reason = %self.reason, position = %at,
            "paths that waited for CloudFront are lost: invalidating every path that any rule covers"
        );
        metrics::counter!(metric::GAPS).increment(1);
        reports.rules.widen_paths(Widening::BufferLost, batch);
        let at = BinlogPlace::from(at);
        let gap = reports.ledger.gap_begun(at.clone(), at, &self.reason);
        batch.covers_lost_paths(gap);
        tail.losses_mended = self.losses;
    }
}
