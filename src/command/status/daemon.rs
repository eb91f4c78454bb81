//! A daemon's name, role and configuration: what is known of it apart from what
//! its tasks report.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// A daemon, apart from what its tasks report.
#[derive(Clone, Debug)]
pub struct Daemon {
    pub name: String,
    /// Which half of the work it does: `all`, `tail`, `drain` or `dry-run`.
    pub role: String,
    pub started_at: Timestamp,
    /// Longest lag at which it is still ready (`metrics.lag_max`).
    pub lag_max: Duration,
    pub loaded: Loaded,
}

/// The configuration in use.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// When it was read.
    pub at: Timestamp,
    /// The beginning of its SHA-256, in hexadecimal.
    pub hash: String,
    /// When a newer configuration was last refused, and why.
    pub refused: Option<(Timestamp, String)>,
    /// Why rules of it do not fit the tables that they are about.
    pub misfits: Vec<String>,
}

impl Loaded {
    /// A configuration that was read just now.
    pub fn of(text: &str) -> Self {
        Self {
            at: Timestamp::now(),
            hash: hash(text),
            refused: None,
            misfits: Vec::new(),
        }
    }
}

/// The beginning of the SHA-256 of a configuration's text.
pub fn hash(text: &str) -> String {
    let mut hash = hex::encode(Sha256::digest(text));
    hash.truncate(12);
    hash
}
