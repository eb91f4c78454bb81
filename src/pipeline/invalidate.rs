//! binlog → cache → settling → buffer → checkpoint.
//!
//! Five tasks, each owning its state, joined by channels that hold one batch
//! each. While one batch is on its way the next gathers, so that an idle daemon
//! acts at once and a busy one amortises. A stage that cannot go on holds up
//! those before it, up to the binlog (Bounded).

use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::batch::{Accepted, Batch, Deleted, Mark, Settled};
use super::paths::PathSink;
use super::refusal::Refusals;
use super::retry::Backoff;
use super::settle::{Settling, settle};
use super::tagged::Pass;
use super::tail::Tail;
use super::visible::{Visibility, Waiting};
use crate::binlog::SourceError;
use crate::cache::Cache;
use crate::checkpoint::{Checkpoint, Stored};
use crate::telemetry::metric;

/// How much may gather before the binlog has to wait, in bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A transaction's batch waits for its end until it is this large: small ones
/// are acted on whole, huge ones while they stream in.
const PARTIAL_BYTES_MIN: usize = 64 << 10;

/// How many items are planned in a row before the batch is offered on.
const READY_ITEMS_MAX: usize = 64;

/// How long a position without any key or path may wait to be stored.
const IDLE_MARK_INTERVAL: Duration = Duration::from_millis(50);

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
    tasks.spawn(gather(tail, planned, shutdown.clone()));
    tasks.spawn(async move {
        delete(visibility, cache, settling, to_delete, deleted).await;
        Ok(())
    });
    tasks.spawn(async move {
        settle(again, following, to_settle, settled).await;
        Ok(())
    });
    tasks.spawn(async move {
        send(paths, to_send, accepted).await;
        Ok(())
    });
    tasks.spawn(async move {
        store(checkpoint, to_store).await;
        Ok(())
    });
    let all_ended = async {
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.map_err(|error| PipelineError::Panicked(error.to_string()));
            outcome = outcome.and(ended.and_then(|ended| ended));
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

/// Reads, plans, and hands a batch on as soon as the next stage takes it.
async fn gather(
    mut tail: Tail,
    planned: mpsc::Sender<Batch>,
    shutdown: CancellationToken,
) -> Result<(), PipelineError> {
    let mut batch = Batch::default();
    let mut handed_on = tail.source().position().clone();
    let mut ticks = tokio::time::interval(IDLE_MARK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut mark_due = false;
    while !shutdown.is_cancelled() {
        if !tail.connected() {
            // What was read must not stay cached for as long as the outage.
            if !batch.is_empty() {
                let read = finish(&mut batch, &tail);
                handed_on.clone_from(tail.source().position());
                if planned.send(read).await.is_err() {
                    break;
                }
            }
            tail.connect(&shutdown, &mut batch).await?;
            continue;
        }
        let size = batch.size();
        let room = size < BATCH_BYTES_MAX;
        let whole = !tail.source().in_transaction();
        let ready = mark_due || size > 0 && (whole || size >= PARTIAL_BYTES_MIN);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            permit = planned.reserve(), if ready => match permit {
                Ok(permit) => {
                    permit.send(finish(&mut batch, &tail));
                    handed_on.clone_from(tail.source().position());
                    mark_due = false;
                }
                Err(_) => break,
            },
            _ = ticks.tick(), if !mark_due => {
                mark_due = whole && handed_on != *tail.source().position();
            }
            next = tail.next(), if room => {
                // What has arrived already is planned without asking the other
                // branches in between: for small transactions they cost more
                // than the rows.
                let mut next = Some(next);
                let mut planned_items = 0;
                while let Some(Ok(item)) = next {
                    batch.committed_at(tail.source().committed_at_us());
                    let whole = tail.plan(item, &mut batch, |_, _| {}).await.is_ok();
                    planned_items += 1;
                    let more = whole
                        && planned_items < READY_ITEMS_MAX
                        && batch.size() < BATCH_BYTES_MAX;
                    // Nothing lost: an item that is taken is planned. A lost
                    // connection shows in `connected`.
                    next = more.then(|| tail.next().now_or_never()).flatten();
                }
            }
        }
    }
    if !batch.is_empty() || handed_on != *tail.source().position() {
        planned.send(finish(&mut batch, &tail)).await.ok();
    }
    Ok(())
}

/// Takes the batch, marked with the last whole transaction: every change up to
/// there is in this batch or an earlier one.
fn finish(batch: &mut Batch, tail: &Tail) -> Batch {
    batch.report();
    batch.gtids = tail.source().reading_gtids();
    batch.mark = Some(Mark {
        position: tail.source().position().clone(),
        server_uuid: tail.server_uuid(),
        committed_at_us: tail.source().committed_at_us(),
    });
    std::mem::take(batch)
}

/// Deletes each batch's keys, for as long as it takes.
async fn delete(
    visibility: impl Visibility,
    mut cache: impl Cache,
    settling: Settling,
    mut batches: mpsc::Receiver<Batch>,
    deleted: mpsc::Sender<Deleted>,
) {
    let mut trouble = Trouble::new("the cache", metric::CACHE_RETRIES);
    let mut refusals = Refusals::default();
    let mut waiting = Waiting::new(visibility);
    while let Some(mut batch) = batches.recv().await {
        let visible_by = match &batch.gtids {
            Some(gtids) if !batch.is_empty() => Some(waiting.wait(gtids).await),
            _ => None,
        };
        let refused = loop {
            // A change that is fresh now may be old by the time it is deleted;
            // then what was kept for the second deletion is let go.
            let pass = match settling.due(visible_by, batch.newest_us) {
                Some(_) => Pass::First,
                None => Pass::Once,
            };
            match batch.delete(&mut cache, pass).await {
                Ok(refused) => break refused,
                Err(error) => trouble.wait(error.code(), &error).await,
            }
        };
        trouble.over();
        refusals.report(&refused);
        metrics::counter!(metric::CACHE_KEYS).increment(count(batch.keys()));
        let due = settling.due(visible_by, batch.newest_us);
        if deleted.send(batch.deleted(due)).await.is_err() {
            return;
        }
    }
}

/// Hands each batch's paths on, for as long as it takes.
async fn send(
    mut paths: impl PathSink,
    mut batches: mpsc::Receiver<Settled>,
    accepted: mpsc::Sender<Accepted>,
) {
    let mut trouble = Trouble::new("the buffer", metric::BUFFER_RETRIES);
    while let Some(batch) = batches.recv().await {
        let mut pending = paths.prepare(&batch.paths);
        while let Err(error) = paths.send(&mut pending).await {
            trouble.wait(error.code(), &error).await;
        }
        trouble.over();
        if accepted.send(batch.accepted()).await.is_err() {
            return;
        }
    }
}

/// Stores the newest position, at most every [`CHECKPOINT_INTERVAL`].
async fn store(mut checkpoint: impl Checkpoint, mut batches: mpsc::Receiver<Accepted>) {
    let mut trouble = Trouble::new("the checkpoint", metric::CHECKPOINT_RETRIES);
    let mut newest: Option<Mark> = None;
    let mut due = Instant::now();
    let mut open = true;
    while open || newest.is_some() {
        tokio::select! {
            biased;
            batch = batches.recv(), if open => match batch {
                Some(batch) => newest = batch.mark.or(newest),
                None => open = false,
            },
            () = tokio::time::sleep_until(due), if newest.is_some() && open => {
                write(&mut checkpoint, newest.take(), &mut trouble).await;
                due = Instant::now() + CHECKPOINT_INTERVAL;
            }
            else => {}
        }
        if !open {
            write(&mut checkpoint, newest.take(), &mut trouble).await;
        }
    }
}

async fn write(checkpoint: &mut impl Checkpoint, mark: Option<Mark>, trouble: &mut Trouble) {
    let Some(mark) = mark else { return };
    let stored = Stored::new(&mark.position, &mark.server_uuid, mark.committed_at_us);
    while let Err(error) = checkpoint.store(&stored).await {
        trouble.wait("checkpoint", &error).await;
    }
    trouble.over();
    tracing::debug!(position = %mark.position, "checkpoint stored");
}

/// An outage of one part: its reason is logged when it begins and when it
/// changes, and every retry is counted.
pub(super) struct Trouble {
    what: &'static str,
    metric: &'static str,
    backoff: Backoff,
    code: String,
    since: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(what: &'static str, metric: &'static str) -> Self {
        Self {
            what,
            metric,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
            code: String::new(),
            since: None,
        }
    }

    pub(super) async fn wait(&mut self, code: &str, error: &(dyn std::error::Error + Send + Sync)) {
        metrics::counter!(self.metric, "error" => code.to_owned()).increment(1);
        if self.since.is_none() || self.code != code {
            self.code = code.to_owned();
            tracing::error!(%error, "{} does not answer as it should; retrying until it does", self.what);
        }
        self.since.get_or_insert_with(Instant::now);
        tokio::time::sleep(self.backoff.next_delay()).await;
    }

    pub(super) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            tracing::info!(
                seconds = since.elapsed().as_secs_f64(),
                "{} answers again",
                self.what
            );
            self.backoff.reset();
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
