//! binlog → cache → settling → buffer → checkpoint.
//!
//! Five tasks, each owning its state, joined by channels that hold one batch
//! each. While one batch is on its way the next gathers, so that an idle daemon
//! acts at once and a busy one amortises. A stage that cannot go on holds up
//! those before it, up to the binlog (Bounded).

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{self, Accepted, Batch, Deleted, Mark, Settled};
use super::gather::gather;
use super::path_sink::PathSink;
use super::refused_keys::Refusals;
use super::settling::{Settling, settle};
use super::tag_sets::Pass;
use super::tail::Tail;
use super::visibility::{Visibility, VisibilityGate};
use crate::binlog::SourceError;
use crate::cache::{Cache, Refused};
use crate::checkpoint::{Checkpoint, CheckpointError, Stored};
use crate::ledger::GapId;
use crate::progress::board::{Component, Reports};
use crate::progress::outage::Outage;
use crate::telemetry::metric;

/// The shortest time between two checkpoints: each costs two `fsync`s.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(200);

/// How keys leave the cache.
#[derive(Debug)]
pub struct Eviction<V, C> {
    /// Says when rows are visible.
    pub visibility: V,
    /// The cache.
    pub cache: C,
    /// Another connection to it: what is due to be deleted again does not wait
    /// behind first deletions.
    pub again: C,
    /// When keys are deleted again.
    pub settling: Settling,
}

/// Why the pipeline ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Changes are lost, and the configuration says to halt.
    #[error(transparent)]
    Halted(#[from] SourceError),
    /// Another evictd leads.
    #[error(transparent)]
    Superseded(CheckpointError),
    /// A task panicked.
    #[error("a task of the pipeline panicked: {0}")]
    Panicked(String),
}

/// Runs until `shutdown`; then what is in flight may take up to `grace`.
///
/// What is not acknowledged by then is read again at the next start, since the
/// checkpoint has not passed it.
pub async fn run(
    tail: Tail,
    eviction: Eviction<impl Visibility, impl Cache>,
    paths: impl PathSink,
    checkpoint: impl Checkpoint,
    shutdown: CancellationToken,
    grace: Duration,
) -> Result<(), PipelineError> {
    let (planned, to_delete) = mpsc::channel(1);
    let (deleted, to_settle) = mpsc::channel(1);
    let (settled, to_send) = mpsc::channel(1);
    let (accepted, to_store) = mpsc::channel(1);
    let Eviction {
        visibility,
        cache,
        again,
        settling,
    } = eviction;
    let following = settling.clone();
    let mut tasks = JoinSet::new();
    let reports = || tail.reports().clone();
    let [deleting, settles, sending, storing] = [reports(), reports(), reports(), reports()];
    tasks.spawn(gather(tail, planned, shutdown.clone()));
    tasks.spawn(async move {
        delete(deleting, visibility, cache, settling, to_delete, deleted).await;
        Ok(())
    });
    tasks.spawn(async move {
        settle(settles, again, following, to_settle, settled).await;
        Ok(())
    });
    tasks.spawn(async move {
        send(sending, paths, to_send, accepted).await;
        Ok(())
    });
    tasks.spawn(store(storing, checkpoint, to_store));
    let all_ended = async {
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.map_err(|error| PipelineError::Panicked(error.to_string()));
            let ended = ended.and_then(|ended| ended);
            // Whoever leads now begins where the checkpoint is: nothing is left
            // to be finished.
            if let Err(PipelineError::Superseded(_)) = ended {
                return ended;
            }
            outcome = outcome.and(ended);
        }
        outcome
    };
    tokio::select! {
        outcome = all_ended => outcome,
        () = after(shutdown, grace) => {
            tracing::warn!(grace_s = grace.as_secs_f64(),
                "what is in flight did not end within the grace period; it is read again at the next start");
            Ok(())
        }
    }
}

async fn after(shutdown: CancellationToken, grace: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// Deletes each batch's keys, for as long as it takes.
async fn delete(
    reports: Reports,
    visibility: impl Visibility,
    mut cache: impl Cache,
    settling: Settling,
    mut batches: mpsc::Receiver<Batch>,
    deleted: mpsc::Sender<Deleted>,
) {
    let Reports { board, .. } = &reports;
    let mut outage = Outage::new("the cache", metric::CACHE_RETRIES, board, Component::Cache);
    let mut refusals = Refusals::new(&reports);
    let mut waiting = VisibilityGate::new(visibility, board);
    while let Some(mut batch) = batches.recv().await {
        let acts = !batch.is_empty();
        if acts {
            board.deletes(batch.oldest_us);
        }
        let visible_by = match &batch.gtids {
            Some(gtids) if acts => Some(waiting.wait(gtids).await),
            _ => None,
        };
        if visible_by.is_some() && waiting.knows() {
            metrics::histogram!(metric::COMMIT_TO_VISIBLE).record(batch::since(batch.oldest_us));
        }
        if acts {
            outage.started(batch.takes_long());
        }
        let (refused, due) = loop {
            // A change that is fresh now may be old by the time it is deleted;
            // then what was kept for the second deletion is let go. Settled: it
            // is decided before the deletion is sent. A late fill can come
            // between the deletion and an answer that takes its time, and to
            // what a long scan has passed.
            let due = settling.due(visible_by, batch.newest_us);
            let pass = match due {
                Some(_) => Pass::First,
                None => Pass::Once,
            };
            match batch.delete(&mut cache, pass).await {
                Ok(refused) => break (refused, due),
                Err(error) => outage.wait(error.code(), &error).await,
            }
        };
        outage.recovered();
        let keys = count(batch.keys());
        metrics::counter!(metric::CACHE_KEYS).increment(keys);
        if acts {
            metrics::histogram!(metric::COMMIT_TO_DELETED).record(batch::since(batch.oldest_us));
            board.deleted(keys);
            outage.idle();
        }
        refusals.report(&refused);
        let stay = |it: &&Refused| !batch.deletes_again(due, &it.key);
        refusals.give_up(refused.iter().filter(stay), batch.mark.as_ref());
        if deleted.send(batch.deleted(due)).await.is_err() {
            return;
        }
    }
}

/// Hands each batch's paths on, for as long as it takes.
async fn send(
    Reports { board, .. }: Reports,
    mut paths: impl PathSink,
    mut batches: mpsc::Receiver<Settled>,
    accepted: mpsc::Sender<Accepted>,
) {
    let mut outage = Outage::new(
        "the buffer",
        metric::BUFFER_RETRIES,
        &board,
        Component::Buffer,
    );
    while let Some(batch) = batches.recv().await {
        let mut pending = paths.prepare(&batch.paths);
        outage.started(false);
        while let Err(error) = paths.send(&mut pending).await {
            outage.wait(error.kind(), &error).await;
        }
        outage.recovered();
        outage.idle();
        if accepted.send(batch.accepted()).await.is_err() {
            return;
        }
    }
}

/// Stores the newest position, at most every [`CHECKPOINT_INTERVAL`].
async fn store(
    reports: Reports,
    mut checkpoint: impl Checkpoint,
    mut batches: mpsc::Receiver<Accepted>,
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
                    newest = batch.mark.or(newest);
                    gaps.extend(batch.gaps);
                }
                None => open = false,
            },
            () = tokio::time::sleep_until(due), if newest.is_some() && open => {
                write(&mut checkpoint, newest.take(), &mut outage, &reports).await?;
                // Passed for good: a crash does not come upon it again.
                gaps.drain(..).for_each(|gap| reports.ledger.gap_done(gap));
                due = Instant::now() + CHECKPOINT_INTERVAL;
            }
            else => {}
        }
        if !open {
            write(&mut checkpoint, newest.take(), &mut outage, &reports).await?;
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
) -> Result<(), PipelineError> {
    let Some(mark) = mark else { return Ok(()) };
    let stored = Stored::new(&mark.position, &mark.server_uuid, mark.committed_at_us)
        .begun_at(mark.file_begun_s);
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
    Ok(())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
