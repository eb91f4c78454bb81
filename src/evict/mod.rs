//! From the binlog to the cache, the buffer and the checkpoint. Knows the
//! contracts of what it writes to, never a vendor.
//!
//! - `pipeline`: the tasks, and the channels that join them.
//! - `error`: why the pipeline ends before it was asked to.
//! - `tail`: the source with its reconnects, gaps and undecodable parts.
//! - `plan_item`: what one item of the binlog asks for.
//! - `widening_log`: changes that are not known row by row, logged and on record.
//! - `gather`: the batch that forms while the one before is on its way.
//! - `batch`: a batch, and the stages that it goes through.
//! - `pass`: which of its deletions a batch is at.
//! - `visibility`: keys are deleted once their rows are visible.
//! - `delete`: first deletions.
//! - `due`: when keys are deleted a second time.
//! - `settling`: second deletions.
//! - `send`: paths on their way to the buffer.
//! - `store`: positions on their way to the checkpoint.
//! - `structures`: guards, tag sets and fields of hashes in a batch.
//! - `tag_sets`: the keys that tag sets name.
//! - `publish`: deletions told to subscribers.
//! - `refused_keys`: keys that the cache refuses for good.
//! - `path_sink`: where paths go once their keys are deleted.
//! - `bulk_paths`: when a rule's paths go as its wildcards.
//! - `plan_counts`: what planning a batch came upon, for metrics and logs.
//! - `noop`: one half of the work without the other.
//! - `tests`: the stages behind the planner, with fakes around them.

pub mod batch;
pub mod bulk_paths;
mod delete;
mod due;
mod error;
mod gather;
pub mod noop;
mod pass;
pub mod path_sink;
pub mod pipeline;
mod plan_counts;
pub mod plan_item;
mod publish;
mod refused_keys;
mod send;
pub mod settling;
mod store;
mod structures;
mod tag_sets;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod visibility;
mod widening_log;
