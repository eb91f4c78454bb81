//! The position up to which everything is invalidated, kept across restarts.
//!
//! - `contract`: what is stored, and what a store promises.
//! - `file`: a file on this machine.
//! - `redis`: a key in Redis.

mod contract;
pub mod file;
pub mod redis;

pub use self::contract::{Checkpoint, CheckpointError, FORMAT_VERSION, Stored};
pub use self::file::FileCheckpoint;
pub use self::redis::RegisterCheckpoint;
