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

use super::batch::{self, Accepted, Batch, Deleted, Mark, Settled};
use super::board::{Part, Reading, Reports};
use super::paths::PathSink;
use super::refusal::Refusals;
use super::settle::{Settling, settle};
use super::tagged::Pass;
use super::tail::{Connected, Tail};
use super::trouble::Trouble;
use super::visible::{Visibility, Waiting};
use crate::binlog::SourceError;
use crate::cache::{Cache, Refused};
use crate::checkpoint::{Checkpoint, CheckpointError, Stored};
use crate::ledger::entry::GapId;
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
    let Reports { board, ledger, .. } = tail.reports().clone();
    while !shutdown.is_cancelled() && !tail.source().ended() {
        if !tail.connected() {
            // What was read must not stay cached for as long as the outage.
            if !batch.is_empty() {
                let read = finish(&mut batch, &tail);
                handed_on.clone_from(tail.source().position());
                board.rests(&Part::Source);
                if planned.send(read).await.is_err() {
                    break;
                }
            }
            let from = tail.source().position().clone();
            match tail.connect(&shutdown, &mut batch).await {
                Ok(Connected::Resumed) => {}
                Ok(Connected::Skipped { reason }) => {
                    let to = tail.source().position();
                    batch.covers_gap(ledger.gap_begun((&from).into(), to.into(), &reason));
                }
                Err(error) => {
                    if let SourceError::Gap { reason, .. } = &error {
                        ledger.halted((&from).into(), reason);
                    }
                    return Err(error.into());
                }
            }
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
            _ = ticks.tick() => {
                board.begins(&Part::Source);
                board.reads(reading(&tail, &batch));
                mark_due |= whole && handed_on != *tail.source().position();
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
                        && !tail.source().ended()
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

/// What the board says about the reading.
fn reading(tail: &Tail, batch: &Batch) -> Reading {
    let source = tail.source();
    let (file, offset) = source.reading();
    Reading {
        position: Some(source.position().clone()),
        at: Some((file.to_owned(), offset)),
        committed_at_us: source.committed_at_us(),
        drained: source.drained(),
        gathers_since_us: match batch.is_empty() {
            true => 0,
            false => batch.oldest_us,
        },
    }
}

/// Takes the batch, marked with the last whole transaction: every change up to
/// there is in this batch or an earlier one.
fn finish(batch: &mut Batch, tail: &Tail) -> Batch {
    batch.report(&tail.reports().board);
    batch.gtids = tail.source().reading_gtids();
    batch.mark = Some(Mark {
        position: tail.source().position().clone(),
        server_uuid: tail.server_uuid(),
        committed_at_us: tail.source().committed_at_us(),
        file_begun_s: tail.source().file_begun_s(),
    });
    std::mem::take(batch)
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
    let mut trouble = Trouble::new("the cache", metric::CACHE_RETRIES, board, Part::Cache);
    let mut refusals = Refusals::new(&reports);
    let mut waiting = Waiting::new(visibility, board);
    while let Some(mut batch) = batches.recv().await {
        let acts = !batch.is_empty();
        if acts {
            board.deletes(batch.oldest_us);
        }
        let visible_by = match &batch.gtids {
            Some(gtids) if acts => Some(waiting.wait(gtids).await),
            _ => None,
        };
        if acts {
            trouble.begins(batch.takes_long());
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
                Err(error) => trouble.wait(error.code(), &error).await,
            }
        };
        trouble.over();
        let keys = count(batch.keys());
        metrics::counter!(metric::CACHE_KEYS).increment(keys);
        if acts {
            metrics::histogram!(metric::COMMIT_TO_DELETED).record(batch::since(batch.oldest_us));
            board.deleted(keys);
            trouble.rests();
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
    let mut trouble = Trouble::new("the buffer", metric::BUFFER_RETRIES, &board, Part::Buffer);
    while let Some(batch) = batches.recv().await {
        let mut pending = paths.prepare(&batch.paths);
        trouble.begins(false);
        while let Err(error) = paths.send(&mut pending).await {
            trouble.wait(error.code(), &error).await;
        }
        trouble.over();
        trouble.rests();
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
    let mut trouble = Trouble::new(
        "the checkpoint",
        metric::CHECKPOINT_RETRIES,
        &reports.board,
        Part::Checkpoint,
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
                write(&mut checkpoint, newest.take(), &mut trouble, &reports).await?;
                // Passed for good: a crash does not come upon it again.
                gaps.drain(..).for_each(|gap| reports.ledger.gap_done(gap));
                due = Instant::now() + CHECKPOINT_INTERVAL;
            }
            else => {}
        }
        if !open {
            write(&mut checkpoint, newest.take(), &mut trouble, &reports).await?;
            gaps.drain(..).for_each(|gap| reports.ledger.gap_done(gap));
        }
    }
    Ok(())
}

async fn write(
    checkpoint: &mut impl Checkpoint,
    mark: Option<Mark>,
    trouble: &mut Trouble,
    reports: &Reports,
) -> Result<(), PipelineError> {
    let Some(mark) = mark else { return Ok(()) };
    let stored = Stored::new(&mark.position, &mark.server_uuid, mark.committed_at_us)
        .begun_at(mark.file_begun_s);
    trouble.begins(false);
    while let Err(error) = checkpoint.store(&stored).await {
        if let CheckpointError::Superseded { .. } = error {
            return Err(PipelineError::Superseded(error));
        }
        trouble.wait("checkpoint", &error).await;
    }
    trouble.over();
    trouble.rests();
    reports.board.stored(&mark.position);
    tracing::debug!(position = %mark.position, "checkpoint stored");
    Ok(())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
