//! Visible before evicted: keys are deleted once their rows can be read.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::retry::Backoff;
use crate::binlog::SourceError;
use crate::binlog::barrier::Barrier;
use crate::model::GtidSet;
use crate::telemetry::metric;

/// Knows when transactions are visible.
///
/// An error means that it is not known; asking again is harmless. A cancelled
/// question leaves nothing behind.
pub trait Visibility: Send + 'static {
    /// Returns once every transaction of `gtids` is visible to every session,
    /// with a moment by which they were.
    fn wait(
        &mut self,
        gtids: &GtidSet,
    ) -> impl Future<Output = Result<Instant, SourceError>> + Send;
}

impl Visibility for Barrier {
    async fn wait(&mut self, gtids: &GtidSet) -> Result<Instant, SourceError> {
        Barrier::wait(self, gtids).await
    }
}

/// How long deletions wait for an answer before they go ahead. Settling, which
/// deletes once more, then has to do alone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `gtids`, but not for ever: a server that cannot answer must not
/// keep everything stale. Returns a moment by which they were visible; where
/// that is not known, the present one: what is deleted without waiting further
/// settles, however long ago it was committed.
pub(super) async fn wait(visibility: &mut impl Visibility, gtids: &GtidSet) -> Instant {
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match visibility.wait(gtids).await {
            Ok(visible_by) => return visible_by,
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            metrics::counter!(metric::BARRIER_FALLBACKS).increment(1);
            tracing::warn!(%error, "it is not known whether rows are visible: their keys are deleted without waiting further");
            return Instant::now();
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
