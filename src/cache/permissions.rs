//! The permissions of an account in Redis.

/// What the account may do of that.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Commands that the account may not use.
    pub missing: Vec<MissingPermission>,
    /// Commands that the server does not know, whatever is granted.
    pub absent: Vec<MissingPermission>,
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
