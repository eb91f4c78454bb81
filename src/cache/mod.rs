//! The cache that keys are deleted from: its contract, and Redis behind it.
//!
//! - `contract`: what a cache does, and what its caller may rely on.
//! - `outcome`: what a call did, and why it failed.
//! - `steps`: scans that go on from call to call.
//! - `permissions`: what an account may do, as `check` reports it.
//! - `redis`: the contract, kept with Redis.
//! - `run`: what a server says of its process, and of what it saved.
//! - `unlink`: keys deleted by name.
//! - `scan`: keys found and deleted by glob.
//! - `pace`: how fast a scan goes.
//! - `guard`: guards, which `raise.lua` raises before keys are deleted.
//! - `tag_sets`: members read from tag sets and removed.
//! - `hash`: fields deleted from hashes.
//! - `refusal`: keys that Redis refuses to change.
//! - `acl`: what Redis says about an account.

mod acl;
mod contract;
mod guard;
mod hash;
mod outcome;
mod pace;
mod permissions;
mod redis;
mod refusal;
mod run;
mod scan;
mod steps;
mod tag_sets;
mod unlink;

pub use self::contract::Cache;
pub use self::outcome::{CacheError, Outcome, Refused, Unfinished};
pub use self::permissions::{MemoryPolicy, MissingPermission, Permissions};
pub use self::redis::Redis;
pub use self::run::ServerRun;
pub use self::steps::{FoundKeys, MemberRemoval, ScanPlace, TagKind, TagScan, TagStep};
pub use crate::redis::error::UNKNOWN_COMMAND_REMEDY;
