//! The position up to which everything is invalidated, kept across restarts.
//!
//! - `contract`: what is stored, and what a store promises.
//! - `file`: a file of this machine.
//! - `redis`: a key in Redis, changed by `begin_epoch.lua` and `store.lua`.
//! - `store`: one of the two.

mod contract;
mod file;
mod redis;
mod store;

pub use self::contract::{Checkpoint, CheckpointError, FORMAT_VERSION, Stored, StoredBy};
pub use self::file::FileCheckpoint;
pub use self::redis::RedisCheckpoint;
pub use self::store::CheckpointStore;
