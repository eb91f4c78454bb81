//! The order of messages, and how far a buffer has come.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A message's place among all that its sender has sent.
///
/// The keys of a message had settled before the next one was made. So an invalidation
/// that was made with a message in hand is good for every earlier one, wherever it
/// was, and whatever the clocks of a queue's hosts say. A sender begins anew with
/// each turn of a daemon, under a random number: nothing that is set back to an
/// earlier copy makes it give out a place again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sent {
    /// The sender.
    #[serde(rename = "sender")]
    pub by: u64,
    pub number: u64,
}

impl Sent {
    /// The newest of these. Of several senders, one has to do: places of two have no
    /// order.
    pub fn newest(places: impl IntoIterator<Item = Self>) -> Option<Self> {
        places.into_iter().reduce(|known, place| {
            if known.by == place.by && known.number > place.number {
                known
            } else {
                place
            }
        })
    }

    /// Whether what is good for a message here is good for the one at `place`.
    pub fn reaches(self, place: Self) -> bool {
        self.by == place.by && self.number >= place.number
    }
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
        /// Where it was; `None` if an earlier version stored the mark.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
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
