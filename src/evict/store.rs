//! Stores the position up to which everything is done (Nothing lost).

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::error::PipelineError;
use super::marks::Mark;
use super::settled::Accepted;
use crate::checkpoint::{Checkpoint, CheckpointError, Stored};
use crate::ledger::GapId;
use crate::progress::board::Component;
use crate::progress::board::Reports;
use crate::progress::outage::Outage;
use crate::telemetry::metric;

/// The shortest time between two checkpoints: each costs two `fsync`s.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(200);

/// Stores the newest position, at most every [`CHECKPOINT_INTERVAL`], and publishes
/// it once it is stored.
///
/// A position without a file is not stored: the server tells at once in which file
/// it stands. GTIDs alone say nothing of anonymous transactions, nor of those that
/// are given their numbers again.
pub(super) async fn store(
    reports: Reports,
    mut checkpoint: impl Checkpoint,
    mut batches: mpsc::Receiver<Accepted>,
    stored: watch::Sender<Option<Mark>>,
) -> Result<(), PipelineError> {
    let mut outage = Outage::new(
        "the checkpoint",
        metric::CHECKPOINT_RETRIES,
        &reports.board,
        Component::Checkpoint,
    );
    let mut newest: Option<Mark> = None;
    let mut gaps: Vec<GapId> = Vec::new();
    let mut due = Instant::now();
    let mut open = true;
    while open || newest.is_some() {
        tokio::select! {
            biased;
            batch = batches.recv(), if open => match batch {
                Some(batch) => {
                    let mark = batch.mark.filter(|mark| mark.position.has_place());
                    newest = mark.or(newest);
                    gaps.extend(batch.gaps);
                }
                None => open = false,
            },
            () = tokio::time::sleep_until(due), if newest.is_some() && open => {
                write(&mut checkpoint, newest.take(), &mut outage, &reports, &stored).await?;
                // The position is beyond the gap: a crash does not meet it again.
                gaps.drain(..).for_each(|gap| reports.ledger.gap_done(gap));
                due = Instant::now() + CHECKPOINT_INTERVAL;
            }
            else => {}
        }
        if !open && newest.is_some() {
            write(
                &mut checkpoint,
                newest.take(),
                &mut outage,
                &reports,
                &stored,
            )
            .await?;
            gaps.drain(..).for_each(|gap| reports.ledger.gap_done(gap));
        }
    }
    Ok(())
}

async fn write(
    checkpoint: &mut impl Checkpoint,
    mark: Option<Mark>,
    outage: &mut Outage,
    reports: &Reports,
    published: &watch::Sender<Option<Mark>>,
) -> Result<(), PipelineError> {
    let Some(mark) = mark else { return Ok(()) };
    let stored = Stored::new(&mark.position, &mark.server_uuid, mark.committed_at)
        .begun_at(mark.file_begun_s)
        .with_columns_of(mark.columns_of.as_ref())
        .done_in(&mark.cache_runs)
        .accepted_by(mark.buffer.as_ref());
    outage.started(false);
    while let Err(error) = checkpoint.store(&stored).await {
        if let CheckpointError::Superseded { .. } = error {
            return Err(PipelineError::Superseded(error));
        }
        outage.wait("checkpoint", &error).await;
    }
    outage.recovered();
    outage.idle();
    reports.board.stored(&mark.position);
    tracing::debug!(position = %mark.position, "checkpoint stored");
    published.send_replace(Some(mark));
    Ok(())
}
