//! What a call to the cache did, and why it failed.

pub use crate::redis::RequestError as CacheError;

/// What a call did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many of the keys existed.
    pub existed: u64,
    /// Those that stay as they are however often the call is repeated.
    pub refused: Vec<Refused>,
}

/// A key that the server refuses to change, for a reason that does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key; a glob stands for further keys that it matches.
    pub key: Vec<u8>,
    /// A short name for the reason, for logs and metrics.
    pub code: &'static str,
    /// The server's words.
    pub reason: String,
}

impl Outcome {
    /// Adds what another call did.
    pub fn add(&mut self, other: Outcome) {
        self.existed += other.existed;
        self.refused.extend(other.refused);
    }
}
