//! The order of messages in a buffer, and how far a buffer has come.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A message's place in the order of its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePosition {
    /// Identity of the buffer. Of a local file, it is that of the opening that
    /// wrote the message.
    pub buffer: u64,
    /// Time or count by the buffer's own clock, never by this machine's.
    pub at: u64,
    /// The place from which on messages certainly came after this one: `at`, and
    /// the difference that the clocks of a shared buffer may have.
    pub certain_from: u64,
    /// Later openings of the same file, which held this message from the start.
    pub followed_by: Arc<[u64]>,
}

/// How far a buffer has come: what it has accepted up to here it has to have at
/// the next start, unless it was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BufferMark {
    /// A queue, by its URL.
    Queue(String),
    /// A local file.
    File {
        /// Its newest opening.
        opening: String,
        /// The first sequence number that was not given out.
        next: u64,
    },
}

/// What became of the messages that a buffer has accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferState {
    /// How far it has come; `None` if it has accepted nothing yet.
    pub mark: Option<BufferMark>,
    /// Number of times that it was found to have lost messages.
    pub losses: u64,
    /// What happened the last time, and what was done.
    pub reason: Option<Arc<str>>,
}
