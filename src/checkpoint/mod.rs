//! The position up to which everything is invalidated, kept across restarts.
//!
//! - `contract`: what is stored, and what a store promises.
//! - `file`: a file on this machine.
//! - `lock`: a file that one process has to itself.
//! - `redis`: a key in Redis.

mod contract;
pub mod file;
mod lock;
pub mod redis;

pub use self::contract::{Checkpoint, CheckpointError, FORMAT_VERSION, Stored};
pub use self::file::FileCheckpoint;
pub use self::lock::Lock;
pub use self::redis::RegisterCheckpoint;
