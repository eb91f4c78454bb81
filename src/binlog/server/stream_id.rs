//! The stream that transactions were read from.

use std::sync::{Arc, Weak};

/// One connection that the binlog comes over, and its server. What is learnt of
/// a transaction holds for those of the same stream: after it, the same numbers
/// may be others.
#[derive(Clone, Debug, Default)]
pub struct StreamId {
    server_uuid: Arc<str>,
    alive: Weak<()>,
}

/// Keeps a stream's [`StreamId`] alive.
#[derive(Debug)]
pub(in crate::binlog) struct StreamLife {
    _alive: Arc<()>,
}

impl StreamId {
    /// A new stream from this server, which ends when the second value is
    /// dropped.
    pub(in crate::binlog) fn begin(server_uuid: &str) -> (Self, StreamLife) {
        let alive = Arc::new(());
        let id = Self {
            server_uuid: server_uuid.into(),
            alive: Arc::downgrade(&alive),
        };
        (id, StreamLife { _alive: alive })
    }

    /// The server that the stream comes from.
    pub fn server_uuid(&self) -> &str {
        &self.server_uuid
    }

    /// Whether its connection is gone.
    pub fn ended(&self) -> bool {
        self.alive.strong_count() == 0
    }
}

/// No two streams are equal, whatever server they come from.
impl PartialEq for StreamId {
    fn eq(&self, other: &Self) -> bool {
        self.alive.ptr_eq(&other.alive)
    }
}
