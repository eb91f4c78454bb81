//! From the binlog to the cache, the buffer and the checkpoint. Knows the
//! contracts of what it writes to, never a vendor.
//!
//! - `pipeline`: the tasks, and the channels that join them.
//! - `tail`: the source with its reconnects, gaps and undecodable parts.
//! - `plan_item`: what one item of the binlog asks for.
//! - `gather`: the batch that forms while the one before is on its way.
//! - `batch`: a batch, and the stages that it goes through.
//! - `visibility`: keys are deleted once their rows are visible.
//! - `settling`: when keys are deleted a second time.
//! - `structures`: guards, tag sets and fields of hashes in a batch.
//! - `tag_sets`: the keys that tag sets name.
//! - `publish`: deletions told to subscribers.
//! - `refused_keys`: keys that the cache refuses for good.
//! - `path_sink`: where paths go once their keys are deleted.
//! - `bulk_paths`: when a rule's paths go as its wildcards.
//! - `plan_counts`: what planning a batch came upon, for metrics and logs.
//! - `noop`: one half of the work without the other.

pub mod batch;
pub mod bulk_paths;
mod gather;
pub mod noop;
pub mod path_sink;
pub mod pipeline;
mod plan_counts;
pub mod plan_item;
mod publish;
mod refused_keys;
pub mod settling;
mod structures;
mod tag_sets;
pub mod tail;
pub mod visibility;
