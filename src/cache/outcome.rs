//! The outcome of a call to the cache.

pub use crate::redis::RequestError as CacheError;

/// The outcome of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The number of keys that existed.
    pub existed: u64,
    /// The keys that stay as they are however often the call is repeated.
    pub refused: Vec<Refused>,
    /// The part that failed, if one did. Everything else is done.
    pub unfinished: Option<Unfinished>,
}

/// The part of a call that failed, to be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Keys that are not deleted; or hashes, counters or channels, as the call had
    /// it. With guards, also the keys that may have to be deleted again because
    /// their guard was not raised before.
    pub keys: Vec<Vec<u8>>,
    /// The keys of guards that are not raised.
    pub guards: Vec<Vec<u8>>,
    /// Why; the last of several reasons.
    pub error: CacheError,
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
    /// The outcome where everything had to be done.
    ///
    /// # Errors
    ///
    /// A part failed.
    pub fn whole(self) -> Result<Self, CacheError> {
        match self.unfinished {
            Some(unfinished) => Err(unfinished.error),
            None => Ok(self),
        }
    }

    /// Notes keys that failed, if `failure` says that some did.
    pub(super) fn unfinished(&mut self, keys: Vec<Vec<u8>>, failure: Option<CacheError>) {
        if let Some(error) = failure {
            let unfinished = self.unfinished.get_or_insert_with(|| Unfinished {
                keys: Vec::new(),
                guards: Vec::new(),
                error: error.clone(),
            });
            unfinished.keys.extend(keys);
            unfinished.error = error;
        }
    }

    /// Adds the outcome of another call.
    pub fn add(&mut self, other: Outcome) {
        self.existed += other.existed;
        self.refused.extend(other.refused);
        if let Some(unfinished) = other.unfinished {
            self.unfinished(unfinished.keys, Some(unfinished.error));
        }
    }
}
