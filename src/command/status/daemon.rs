//! A daemon, apart from what its tasks report.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// A daemon, apart from what its tasks report.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The configuration's name.
    pub name: String,
    /// Which half of the work it does.
    pub role: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// How far behind it may be and still count as ready.
    pub lag_max: Duration,
    /// The configuration in use.
    pub loaded: Loaded,
}

/// The configuration in use.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// When it was read.
    pub at: Timestamp,
    /// The beginning of its SHA-256, in hexadecimal.
    pub hash: String,
    /// When another one was refused since then, and why.
    pub refused: Option<(Timestamp, String)>,
}

impl Loaded {
    /// One that was read just now.
    pub fn of(text: &str) -> Self {
        Self {
            at: Timestamp::now(),
            hash: hash(text),
            refused: None,
        }
    }
}

/// The beginning of the SHA-256 of a configuration's text.
pub fn hash(text: &str) -> String {
    let mut hash = hex::encode(Sha256::digest(text));
    hash.truncate(12);
    hash
}
