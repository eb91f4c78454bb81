//! From the binlog to the cache, the buffer and the checkpoint. Knows the
//! contracts of what it writes to, never a vendor.
//!
//! To *settle* is to be deleted a second time, once no reader can still store
//! the row from before the change; to *widen* is to invalidate a whole table, or
//! everything, in place of what cannot be known row by row.
//!
//! - `pipeline`: the tasks, and the channels that join them.
//! - `error`: why the pipeline ends before it was asked to.
//! - `tail`: the source with its reconnects and gaps.
//! - `connected`: the outcomes of connecting to it.
//! - `reconnects`: the pace of reconnects.
//! - `whereabouts`: compares the server that is read with the one that new connections reach.
//! - `plan_item`: plans one item of the binlog.
//! - `widening_log`: changes that are not known row by row, logged and on record.
//! - `gather`: gathers a batch while the one before is on its way.
//! - `batch`: a batch, and the stages that it goes through.
//! - `settled`: the last two of these stages.
//! - `pass`: the first and the second deletion of a batch.
//! - `cache_watch`: looks whether the cache is still the one that deletions were made in.
//! - `cache_history`: what was done when, and which of it a cache has undone.
//! - `cache_loss`: what is done about deletions that a cache has undone.
//! - `buffer_loss`: what is done about paths that the buffer has lost.
//! - `remainder`: one attempt at a deletion, and what remains of it.
//! - `lane`: retries and scans beside the batches.
//! - `visibility`: holds deletions back until their rows are visible.
//! - `delete`: first deletions.
//! - `due`: when keys are deleted a second time.
//! - `settling`: second deletions.
//! - `open`: batches that were deleted before their rows were known to be visible.
//! - `settling_queue`: the batches that wait for theirs.
//! - `held`: one of these batches.
//! - `marks`: positions of batches that are done in any order.
//! - `send`: paths on their way to the buffer.
//! - `store`: positions on their way to the checkpoint.
//! - `structures`: guards, hash fields, tag sets and messages of a batch.
//! - `tag_sets`: deletes the keys that tag sets name.
//! - `publish`: deletions published to subscribers.
//! - `refused_keys`: keys that the cache refuses for good.
//! - `path_sink`: takes paths once their keys are deleted.
//! - `bulk_paths`: the paths of a batch, and wildcards in place of too many.
//! - `plan_counts`: counts of what was met while a batch was planned.
//! - `noop`: one half of the work without the other.
//! - `tests`: the stages behind the planner, with fakes around them.

pub mod batch;
mod buffer_loss;
pub mod bulk_paths;
mod cache_history;
mod cache_loss;
mod cache_watch;
pub mod connected;
mod delete;
mod due;
mod error;
mod gather;
mod held;
mod lane;
mod marks;
pub mod noop;
mod open;
mod pass;
pub mod path_sink;
pub mod pipeline;
mod plan_counts;
pub mod plan_item;
mod publish;
mod reconnects;
mod refused_keys;
mod remainder;
mod send;
mod settled;
pub mod settling;
mod settling_queue;
mod store;
mod structures;
mod tag_sets;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod visibility;
mod whereabouts;
mod widening_log;
