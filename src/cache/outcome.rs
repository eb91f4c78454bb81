//! The outcome of a call to the cache.

pub use crate::redis::RequestError as CacheError;

/// The outcome of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The number of keys that existed.
    pub existed: u64,
    /// The keys that stay as they are however often the call is repeated.
    pub refused: Vec<Refused>,
}

/// A key that the server refuses to change, for a reason that does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key, or a glob that stands for more keys that it matches.
    pub key: Vec<u8>,
    /// A short name for the reason, for logs and metrics.
    pub code: &'static str,
    /// The reason in the server's words.
    pub reason: String,
}

impl Outcome {
    /// Adds the outcome of another call.
    pub fn add(&mut self, other: Outcome) {
        self.existed += other.existed;
        self.refused.extend(other.refused);
    }
}
