//! Steps through sets whose members name keys.

use super::outcome::Refused;

/// What a tag set is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// A SET, as Symfony keeps it.
    Set,
    /// A ZSET, as Laravel keeps it.
    SortedSet,
}

/// A tag set, and where to go on in it.
#[derive(Clone, Copy, Debug)]
pub struct TagScan<'s> {
    /// Its key.
    pub key: &'s [u8],
    /// What an earlier step found it to be.
    pub kind: Option<TagKind>,
    /// 0 to begin with, then what the step before gave.
    pub cursor: u64,
}

/// What one step through a tag set found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagStep {
    /// Some members.
    Members {
        /// What the set is.
        kind: TagKind,
        /// The members.
        members: Vec<Vec<u8>>,
        /// Where the next step begins; 0 after the last.
        next: u64,
    },
    /// There is no such set.
    End,
    /// Its key holds something else, or may not be read.
    Refused(Refused),
}

/// Members to be taken out of a tag set.
#[derive(Clone, Debug)]
pub struct MembersOut<'s> {
    /// The set's key.
    pub key: &'s [u8],
    /// What it is.
    pub kind: TagKind,
    /// The members.
    pub members: Vec<Vec<u8>>,
}

/// A place in the walk through all keys that match a glob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScanPlace {
    /// Its beginning.
    #[default]
    Begin,
    /// Where the step before ended.
    Further,
}

/// Keys found by one step of that walk.
#[derive(Debug, Default)]
pub struct FoundKeys {
    /// The keys; some may come twice.
    pub keys: Vec<Vec<u8>>,
    /// Where to go on; `None` at the end.
    pub next: Option<ScanPlace>,
}
