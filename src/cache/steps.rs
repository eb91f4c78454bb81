//! Steps through tag sets, whose members name keys, and through matching keys.

use super::outcome::{CacheError, Refused};

/// The type of a tag set in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// A SET, as Symfony keeps it.
    Set,
    /// A ZSET, as Laravel keeps it.
    SortedSet,
}

/// A tag set, and the place at which to go on in it.
#[derive(Clone, Copy, Debug)]
pub struct TagScan<'s> {
    /// The key of the set.
    pub key: &'s [u8],
    /// The type that an earlier step found.
    pub kind: Option<TagKind>,
    /// 0 for the first step, then what the step before returned.
    pub cursor: u64,
}

/// The findings of a step through a tag set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagStep {
    Members {
        /// The type of the set.
        kind: TagKind,
        members: Vec<Vec<u8>>,
        /// The cursor of the next step; 0 after the last.
        next: u64,
    },
    /// There is no such set.
    End,
    /// The key holds another type, or may not be read.
    Refused(Refused),
    /// The part of the cache that has it failed.
    Failed(CacheError),
}

/// Members to remove from a tag set.
#[derive(Clone, Debug)]
pub struct MemberRemoval<'s> {
    /// The key of the set.
    pub key: &'s [u8],
    /// The type of the set.
    pub kind: TagKind,
    pub members: Vec<Vec<u8>>,
}

/// A place in the scan of all keys that match a glob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScanPlace {
    /// The first key.
    #[default]
    Begin,
    /// The place at which the step before ended.
    Further,
}

/// Keys found by one step of such a scan.
#[derive(Debug, Default)]
pub struct FoundKeys {
    /// The keys, some of which may come twice.
    pub keys: Vec<Vec<u8>>,
    /// The place at which to go on; `None` at the end.
    pub next: Option<ScanPlace>,
}
