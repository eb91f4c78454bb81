//! binlog → cache → settling → buffer → checkpoint.
//!
//! Five tasks, each owning its state, joined by channels that hold one batch
//! each, two lanes beside them for what remains of deletions, and one that watches
//! the cache. While one batch is on its way the next one gathers, so that an idle
//! daemon acts at once and a busy one sends larger batches. A stage that cannot
//! go on holds up those before it, back to the binlog (Bounded).
//!
//! [`run`] starts the tasks (gather, delete, settle with its lanes, send, store)
//! and waits for them. On shutdown only gathering stops: what it has handed on goes
//! through the other stages, each of which ends when the one before has ended
//! and its channel is empty.

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::buffer_loss::BufferLosses;
use super::cache_history::CacheHistory;
use super::cache_watch;
use super::delete::delete;
pub use super::error::PipelineError;
use super::gather::gather;
use super::lane;
use super::path_sink::PathSink;
use super::send::send;
use super::settling::{Settling, settle};
use super::store::store;
use super::tail::Tail;
use super::visibility::Visibility;
use crate::cache::Cache;
use crate::checkpoint::Checkpoint;

/// Everything that the deletion of keys needs.
#[derive(Debug)]
pub struct Eviction<V, C> {
    /// Knows when rows are visible.
    pub visibility: V,
    pub cache: C,
    /// Another connection to the cache, so that second deletions do not wait
    /// behind first ones.
    pub again: C,
    /// One to look whether the cache has gone back to earlier entries.
    pub watched: C,
    /// One for what failed and is tried again.
    pub retries: C,
    /// One for scans.
    pub scans: C,
    pub settling: Settling,
}

/// Runs until `shutdown`, or until the tail ends. Batches in flight may then take
/// until `overdue` returns.
///
/// What is not acknowledged by then is read again by the next run, since the
/// checkpoint has not passed it.
///
/// # Errors
///
/// A gap where `source.on_gap` is `halt`, another leader, or a task that
/// panicked.
pub async fn run(
    tail: Tail,
    eviction: Eviction<impl Visibility, impl Cache>,
    paths: impl PathSink,
    checkpoint: impl Checkpoint,
    shutdown: CancellationToken,
    overdue: impl Future<Output = ()>,
) -> Result<(), PipelineError> {
    let buffer = paths.continue_from(tail.accepted_by.clone()).await;
    let losses = BufferLosses::new(buffer.clone());
    let (planned, to_delete) = mpsc::channel(1);
    let (deleted, to_settle) = mpsc::channel(1);
    let (settled, to_send) = mpsc::channel(1);
    let (accepted, to_store) = mpsc::channel(1);
    let Eviction {
        visibility,
        cache,
        again,
        watched,
        retries,
        scans,
        settling,
    } = eviction;
    let (news, cache_news) = mpsc::channel(1);
    // Everything before the position was done when this begins.
    let (published, stored) = watch::channel(Some(tail.mark()));
    let history = CacheHistory::new(tail.mark().cache_runs);
    let (following, closing) = (settling.clone(), visibility.another());
    let mut tasks = JoinSet::new();
    let reports = || tail.reports().clone();
    let [deleting, settles, sending, storing] = [reports(), reports(), reports(), reports()];
    tasks.spawn(gather(tail, planned, cache_news, losses, shutdown));
    tasks.spawn(async move {
        delete(deleting, visibility, cache, settling, to_delete, deleted).await;
        Ok(())
    });
    let (lanes, retrying, scanning) = lane::open(&settles, retries, scans);
    for lane in [retrying.boxed(), scanning.boxed()] {
        tasks.spawn(async move {
            lane.await;
            Ok(())
        });
    }
    tasks.spawn(async move {
        settle(
            settles, closing, again, lanes, following, to_settle, settled,
        )
        .await;
        Ok(())
    });
    tasks.spawn(async move {
        send(sending, paths, buffer, to_send, accepted).await;
        Ok(())
    });
    tasks.spawn(store(storing, checkpoint, to_store, published));
    tasks.spawn(async move {
        cache_watch::watch(watched, history, stored, news).await;
        Ok(())
    });
    let all_ended = async {
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended
                .map_err(|error| PipelineError::Panicked(error.to_string()))
                .flatten();
            // The process that leads now begins at the checkpoint: nothing is
            // left to finish here.
            if let Err(PipelineError::Superseded(_)) = ended {
                return ended;
            }
            outcome = outcome.and(ended);
        }
        outcome
    };
    tokio::select! {
        outcome = all_ended => outcome,
        () = overdue => {
            tracing::warn!("what is in flight did not end in time; it is read again from the stored position");
            Ok(())
        }
    }
}
