//! Gathers what the binlog says while the batch before is on its way.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::buffer_loss::BufferLosses;
use super::cache_history::CacheNews;
use super::connected::Connected;
use super::error::PipelineError;
use super::tail::Tail;
use crate::binlog::SourceError;
use crate::progress::board::{Board, Component, ReadingState, Reports};

/// Largest size of a batch, in bytes. Beyond it the binlog waits (Bounded).
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A batch of this size, in bytes, does not wait for its transaction's end:
/// small transactions are acted on whole, huge ones while they stream in.
const PARTIAL_BYTES_MIN: usize = 64 << 10;

/// Number of items, and the bytes they add, that are planned in a row if they
/// have arrived already. Every batch that is offered on costs a round trip to
/// the cache and wakes all stages: catching up with small transactions, that is
/// more than their rows cost.
const READY_ITEMS_MAX: usize = 1_024;
const READY_BYTES_MAX: usize = 64 << 10;

/// Longest time before a position without any key or path is stored, and a
/// change is reported on the board. While nothing changes no timer runs.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// Reads, plans, and hands a batch on as soon as the next stage takes it.
pub(super) async fn gather(
    mut tail: Tail,
    planned: mpsc::Sender<Batch>,
    mut cache_news: mpsc::Receiver<CacheNews>,
    mut buffer_losses: BufferLosses,
    shutdown: CancellationToken,
) -> Result<(), PipelineError> {
    let mut batch = Batch::default();
    let mut handed_on = tail.source().position().clone();
    let mut mark_due = false;
    let Reports { board, ledger, .. } = tail.reports().clone();
    let mut report = ReportTimer::new();
    let mut whereabouts = tail.whereabouts();
    while !shutdown.is_cancelled() && !tail.source().ended() {
        if !tail.begins_with_gap()
            && let Some(loss) = buffer_losses.take()
        {
            // What goes before it is not what makes up for the loss.
            if !batch.is_empty() && planned.send(finish(&mut batch, &mut tail)).await.is_err() {
                break;
            }
            loss.mend(&mut tail, &mut batch);
        }
        if !tail.connected() {
            // Keys of what was read must not stay cached during the outage.
            if !batch.is_empty() {
                let read = finish(&mut batch, &mut tail);
                handed_on.clone_from(tail.source().position());
                board.idle(&Component::Source);
                if planned.send(read).await.is_err() {
                    break;
                }
            }
            report.changed();
            let from = tail.source().position().clone();
            match tail.connect(&shutdown, &mut batch).await {
                Ok(Connected::Resumed) => whereabouts.connected(),
                Ok(Connected::Elsewhere) => {
                    whereabouts.connected();
                    batch.covers_loss();
                }
                Ok(Connected::Skipped { reason, to }) => {
                    batch.covers_gap(ledger.gap_begun((&from).into(), (&to).into(), &reason));
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
            Some(CacheNews { runs, loss }) = cache_news.recv() => {
                if let Some(loss) = loss {
                    // What was read is not visible by the GTIDs of what is read
                    // again.
                    if !batch.is_empty() && planned.send(finish(&mut batch, &mut tail)).await.is_err() {
                        break;
                    }
                    loss.mend(&mut tail, &mut batch);
                }
                tail.done_in(runs);
            }
            permit = planned.reserve(), if ready => match permit {
                Ok(permit) => {
                    permit.send(finish(&mut batch, &mut tail));
                    handed_on.clone_from(tail.source().position());
                    mark_due = false;
                    report.changed();
                }
                Err(_) => break,
            },
            () = buffer_losses.changed() => {}
            look = whereabouts.next() => tail.judge(look, &mut whereabouts),
            () = report.due() => {
                report.made(reading(&tail, &batch), &board);
                mark_due |= whole && handed_on != *tail.source().position();
            }
            next = tail.next(), if room => {
                report.changed();
                // Items that have arrived already are planned without asking the
                // other branches in between.
                let mut next = Some(next);
                let mut planned_items = 0;
                while let Some(Ok(item)) = next {
                    batch.committed_at(tail.source().committed_at());
                    let whole = tail.plan(item, &mut batch, |_, _| {}).await.is_ok();
                    planned_items += 1;
                    let more = whole
                        && !tail.source().ended()
                        && planned_items < READY_ITEMS_MAX
                        && batch.size() < size + READY_BYTES_MAX;
                    // Nothing lost: an item that is taken is planned. A lost
                    // connection shows in `connected`.
                    next = more.then(|| tail.next().now_or_never()).flatten();
                }
            }
        }
    }
    if !batch.is_empty() || handed_on != *tail.source().position() {
        planned.send(finish(&mut batch, &mut tail)).await.ok();
    }
    Ok(())
}

/// Tells when to report the reading to the board: soon after something changed,
/// and again while there is more to read. An idle daemon has no timer.
struct ReportTimer {
    timer: Pin<Box<Sleep>>,
    due: bool,
}

impl ReportTimer {
    /// A timer that is due at once.
    fn new() -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            due: true,
        }
    }

    /// Notes that something changed.
    fn changed(&mut self) {
        if !self.due {
            self.due = true;
            let at = Instant::now() + REPORT_INTERVAL;
            self.timer.as_mut().reset(at);
        }
    }

    /// Returns when a report is due.
    async fn due(&mut self) {
        if self.due {
            self.timer.as_mut().await;
        } else {
            pending::<()>().await;
        }
    }

    /// Reports `reading`. Waiting for the server may take any time, but a task
    /// that has more to read must report again, or it is stuck.
    fn made(&mut self, reading: ReadingState, board: &Board) {
        self.due = false;
        if reading.drained {
            board.idle(&Component::Source);
        } else {
            board.started(&Component::Source);
            self.changed();
        }
        // Nothing has come from the server yet.
        if !reading.heard {
            self.changed();
        }
        board.reads(reading);
    }
}

/// The state of the reading, for the board.
fn reading(tail: &Tail, batch: &Batch) -> ReadingState {
    let source = tail.source();
    let (file, offset) = source.reading();
    ReadingState {
        position: Some(source.position().clone()),
        at: Some((file.to_owned(), offset)),
        committed_at: source.committed_at(),
        heard: source.heard(),
        drained: source.drained(),
        gathers_since: batch.oldest.filter(|_| !batch.is_empty()),
        gathers_bytes: batch.size(),
    }
}

/// Takes the batch, marked with the last whole transaction's end: every change
/// up to there is in this batch or an earlier one.
fn finish(batch: &mut Batch, tail: &mut Tail) -> Batch {
    let reading_at = || tail.source().reading_at();
    batch.report(&tail.reports().board, reading_at);
    (batch.read, batch.stream) = tail.take_transactions();
    batch.mark = Some(tail.mark());
    batch.take()
}
