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
//! until it does (`open`); then it is deleted at once and settles anew. Of a batch
//! a part may remain, for which a lane works beside this (`lane`). Batches behind
//! it are deleted again in time, and their paths go on; its own paths wait for
//! that part, and so do all positions from it on (`marks`). Batches that wait take
//! memory, so that beyond `SETTLING_BYTES_MAX` the stages before have to wait
//! (Bounded).

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::batch::Deleted;
pub use super::due::Settling;
use super::lane::Lanes;
use super::refused_keys::RefusedKeys;
use super::settled::Settled;
use super::settling_queue::SettlingQueue;
use super::visibility::Visibility;
use crate::cache::Cache;
use crate::progress::board::{Component, Reports};
use crate::progress::outage::Outage;
use crate::telemetry::metric;

/// Most that may wait to be deleted again, in bytes. Beyond it the stages before
/// have to wait (Bounded).
const SETTLING_BYTES_MAX: usize = 24 << 20;

/// Deletes each batch's keys again when they are due, and hands its paths on once
/// nothing of it remains (Cache before edge), and its position once nothing
/// remains of those before it either (Nothing lost).
///
/// Batches that the next stage does not take yet are joined, so that a slow
/// buffer is called less often with more, and deletions do not wait for it
/// until [`SETTLING_BYTES_MAX`] are held.
pub(super) async fn settle(
    reports: Reports,
    visibility: impl Visibility,
    mut cache: impl Cache,
    lanes: Lanes,
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
    let mut queue = SettlingQueue::new(lanes, visibility, &reports);
    let mut ready: Option<Settled> = None;
    let mut open = true;
    while open || !queue.is_empty() || ready.is_some() {
        let due = queue
            .next()
            .map(|batch| batch.due.map_or_else(Instant::now, |due| due.at));
        let room = queue.size() + ready.as_ref().map_or(0, Settled::size) < SETTLING_BYTES_MAX;
        tokio::select! {
            biased;
            permit = settled.reserve(), if ready.is_some() => match (permit, ready.take()) {
                (Ok(permit), Some(ready)) => permit.send(ready),
                _ => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some(mut held) = queue.waiting.pop_front() else { continue };
                if held.batch.due.is_some() {
                    outage.started(false);
                    let mut attempted = loop {
                        match held.batch.delete_again(&mut cache).await {
                            Ok(attempted) => break attempted,
                            Err(error) => outage.wait(error.code(), &error).await,
                        }
                    };
                    outage.recovered();
                    outage.idle();
                    let refused = std::mem::take(&mut attempted.refused);
                    refused_keys.report(&refused);
                    if !held.batch.is_deleted_again() {
                        refused_keys.give_up(refused.iter(), held.batch.mark.as_ref());
                    }
                    queue.remains(&mut held, attempted, false);
                }
                queue.deleted_again(held, &mut ready);
            }
            Some(job) = queue.lanes.done.recv(), if queue.jobs > 0 => {
                refused_keys.report(&job.refused);
                refused_keys.give_up(job.refused.iter(), queue.mark_of(job.number));
                queue.done(job, &mut ready);
            }
            (held, visible_by) = queue.unseen.closed() => {
                queue.closed(held, visible_by, settling.after(visible_by));
            }
            () = settling.changed() => {
                for due in queue.dues() {
                    // Never later than before: a change that was visible everywhere stays so.
                    if let Some(at) = settling.at(due.visible_by) {
                        due.at = due.at.min(at);
                    }
                }
            }
            batch = batches.recv(), if open && room => match batch {
                Some(batch) => {
                    if batch.is_gap() {
                        queue.supersede(settling.after(Instant::now()));
                    }
                    queue.push(batch);
                }
                None => open = false,
            },
        }
    }
}
