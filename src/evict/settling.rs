//! Second deletions (Settled).
//!
//! Problem: a reader misses a key and reads the old row; then the new row
//! becomes visible and the key is deleted; then the reader, which was held up,
//! stores the old row. Nothing would delete that entry until the row's next
//! change.
//!
//! Idea: keys without a version are deleted once more, `settle_after` after the
//! change was visible ([`Settling`]). A fill that began before that moment has
//! ended by then, or takes longer than the operator expects of any fill. Until
//! then the batch waits here, and its paths and its position with it: the edge
//! would refill from the stale entry (Cache before edge), and a crash would lose
//! the second deletion (Nothing lost).
//!
//! What could go wrong: counting from a moment before the rows were visible ends
//! the wait too early, so the moment comes from the gate in `visibility`. Where
//! the gate does not know one, the batch is kept open beyond its second deletion,
//! until it does (`open`); then it is deleted at once and settles anew. Batches
//! that wait take memory, so that beyond `SETTLING_BYTES_MAX` the stages before
//! have to wait (Bounded). Whatever order they leave in, a position goes on only
//! after those before it (`marks`).

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::batch::Deleted;
pub use super::due::Settling;
use super::marks::Marks;
use super::open::OpenBatches;
use super::refused_keys::RefusedKeys;
use super::settled::Settled;
use super::visibility::Visibility;
use crate::cache::Cache;
use crate::progress::board::{Component, Reports};
use crate::progress::outage::Outage;
use crate::telemetry::metric;

/// Most that may wait to be deleted again, in bytes. Beyond it the stages before
/// have to wait (Bounded).
const SETTLING_BYTES_MAX: usize = 24 << 20;

/// Deletes each batch's keys again when they are due, and only then hands its
/// paths and its position on (Cache before edge, Nothing lost).
///
/// Batches that the next stage does not take yet are joined, so that a slow
/// buffer is called less often with more, and deletions do not wait for it
/// until [`SETTLING_BYTES_MAX`] are held.
pub(super) async fn settle(
    reports: Reports,
    visibility: impl Visibility,
    mut cache: impl Cache,
    mut settling: Settling,
    mut batches: mpsc::Receiver<Deleted>,
    settled: mpsc::Sender<Settled>,
) {
    let Reports { board, .. } = &reports;
    let mut outage = Outage::new(
        "the cache",
        metric::CACHE_RETRIES,
        board,
        Component::Settling,
    );
    let mut refused_keys = RefusedKeys::new(&reports);
    let mut waiting: VecDeque<Deleted> = VecDeque::new();
    let mut unseen = OpenBatches::new(visibility, &reports);
    let mut marks = Marks::default();
    let mut bytes = 0;
    let mut ready: Option<Settled> = None;
    let mut open = true;
    while open || !waiting.is_empty() || unseen.len() > 0 || ready.is_some() {
        let due = waiting
            .front()
            .map(|batch| batch.due.map_or_else(Instant::now, |due| due.at));
        let held = bytes + unseen.size();
        let room = held + ready.as_ref().map_or(0, Settled::size) < SETTLING_BYTES_MAX;
        board.settles(waiting.len() + unseen.len(), held);
        tokio::select! {
            biased;
            permit = settled.reserve(), if ready.is_some() => match (permit, ready.take()) {
                (Ok(permit), Some(ready)) => permit.send(ready),
                _ => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some(mut batch) = waiting.pop_front() else { continue };
                bytes -= batch.size();
                if batch.due.is_some() {
                    outage.started(batch.takes_long());
                    let refused = loop {
                        match batch.delete_again(&mut cache).await {
                            Ok(refused) => break refused,
                            Err(error) => outage.wait(error.code(), &error).await,
                        }
                    };
                    outage.recovered();
                    outage.idle();
                    refused_keys.report(&refused);
                    if batch.unseen.is_none() && batch.due_again.is_none() {
                        refused_keys.give_up(refused.iter(), batch.mark());
                    }
                }
                if batch.unseen.is_some() {
                    unseen.push(batch, &mut marks);
                } else if let Some(due) = batch.due_again.take() {
                    batch.due = Some(due);
                    bytes += batch.size();
                    waiting.push_back(batch);
                } else {
                    let batch = batch.settled(&mut marks);
                    match &mut ready {
                        Some(earlier) => earlier.add(batch),
                        None => ready = Some(batch),
                    }
                }
            }
            (mut batch, visible_by) = unseen.closed() => {
                batch.closed(visible_by, settling.after(visible_by));
                bytes += batch.size();
                waiting.push_front(batch);
            }
            () = settling.changed() => {
                for due in waiting.iter_mut().flat_map(Deleted::dues) {
                    // Never later than before: a change that was visible everywhere stays so.
                    if let Some(at) = settling.at(due.visible_by) {
                        due.at = due.at.min(at);
                    }
                }
            }
            batch = batches.recv(), if open && room => match batch {
                Some(mut batch) => {
                    batch.number = marks.begin();
                    if batch.is_gap() {
                        waiting.extend(unseen.superseded());
                        let due = settling.after(Instant::now());
                        waiting.iter_mut().for_each(|open| open.superseded(due));
                        bytes = waiting.iter().map(Deleted::size).sum();
                    }
                    bytes += batch.size();
                    waiting.push_back(batch);
                }
                None => open = false,
            },
        }
    }
}
