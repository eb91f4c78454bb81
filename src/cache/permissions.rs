//! The permissions of an account in Redis.

/// What the account is needed for, by example. Nothing is at the names in `keys`;
/// whatever is at the other names stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// Keys to delete.
    pub keys: Vec<Vec<u8>>,
    /// Whether keys are looked for by globs.
    pub globs: bool,
    /// Counters to increment.
    pub generations: Vec<Vec<u8>>,
    /// Guards to raise.
    pub guards: Vec<Vec<u8>>,
    /// Tag sets to read and to remove members from.
    pub tag_sets: Vec<Vec<u8>>,
    /// Hashes to delete fields from.
    pub hashes: Vec<Vec<u8>>,
    /// Channels to publish on.
    pub channels: Vec<Vec<u8>>,
}

/// What the account may do of that.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Commands that the account may not use.
    pub missing: Vec<MissingPermission>,
    /// Commands that cannot be tried without taking effect, and of which this
    /// server does not tell whether the account may run them.
    pub unknown: Vec<&'static str>,
    /// Number of commands that were allowed, each with one name.
    pub allowed: usize,
}

/// A command that the account may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPermission {
    pub command: &'static str,
    /// The key or channel that it was tried with.
    pub on: Vec<u8>,
    /// The reason in the server's words.
    pub reason: String,
}

/// The policy of a server for a full memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// The setting `maxmemory-policy`.
    pub policy: String,
    /// Whether `maxmemory` sets a limit.
    pub limited: bool,
}
