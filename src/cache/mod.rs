//! The cache that keys are deleted from: its contract, and Redis behind it.
//!
//! - `contract`: what a cache does, and what its caller may rely on.
//! - `permissions`: what an account may do, as the contract has it.
//! - `steps`: scans that go on from call to call.
//! - `redis`: the contract, kept with Redis.
//! - `unlink`, `scan`: keys deleted by name and by glob.
//! - `guard`: guards raised before keys are deleted.
//! - `tag_sets`, `hash`: members of tag sets and fields of hashes.
//! - `acl`: what Redis says about an account.

mod acl;
mod contract;
mod guard;
mod hash;
mod permissions;
mod redis;
mod scan;
mod steps;
mod tag_sets;
mod unlink;

pub use self::contract::{Cache, Outcome, Refused};
pub use self::permissions::{Lacking, MemoryPolicy, Rights, Uses};
pub use self::redis::Redis;
pub use self::steps::{FoundKeys, MembersOut, ScanPlace, TagKind, TagScan, TagStep};
pub use crate::redis::RequestError as CacheError;
