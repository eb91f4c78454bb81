//! A server's binlog from a position on, and what is known of its reading.

use std::time::Duration;

use tokio::time::Instant;

use super::generation::Generation;
use crate::binlog::connection::Dump;
use crate::binlog::connection::connector::Connector;
use crate::binlog::events::heartbeat::Heartbeat;
use crate::binlog::reader::{Assembler, Interest, TransactionsRead};
use crate::binlog::server::stream_id::{StreamId, StreamLife};
use crate::binlog::server::{Server, ServerFacts};
use crate::model::gtid::Gtid;
use crate::model::position::Bound;
use crate::model::{CommitTime, Position};

/// A server's binlog from a position on. Every item comes at least once; after
/// an error, [`Source::reconnect`] goes on at the last whole transaction, so
/// that the rows of an unfinished one come again.
pub struct Source<I: Interest> {
    pub(super) connector: Connector,
    pub(super) settings: StreamSettings,
    pub(super) assembler: Assembler<I>,
    /// The file being read, told from another of the same name.
    pub(super) generation: Option<Generation>,
    pub(super) open: Option<OpenStream>,
    /// Why wanted changes are not in the server's binlog, as it was found last.
    pub(super) left_out: Option<String>,
    /// The stream that is open, or was last.
    pub(super) stream: StreamId,
    /// Whether the position is the server's end, which was just asked for: nothing can
    /// have been written since that GTIDs do not tell of.
    pub(super) at_end: bool,
    /// A server has accepted the position.
    pub(super) begun: bool,
    /// A server has sent some of its binlog.
    pub(super) heard: bool,
    pub(super) until: Vec<Bound>,
    /// A bound was reached, and what follows is read only for the statements that
    /// changed columns.
    pub(super) beyond: bool,
}

/// Settings of the request for the stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamSettings {
    /// The replica's id. Two replicas with the same id throw each other out.
    pub server_id: u32,
    /// Time after which an idle server says that it is alive.
    pub heartbeat: Duration,
}

pub(super) struct OpenStream {
    #[expect(dead_code, reason = "it is dropped with the connection")]
    pub(super) life: StreamLife,
    pub(super) dump: Dump,
    pub(super) server: Server,
    pub(super) heard_at: Instant,
    /// When an event was last waited for.
    pub(super) asked_at: Instant,
    /// Events came without waiting since `heard_at`.
    pub(super) busy: bool,
    /// The last event had to be waited for.
    pub(super) drained: bool,
    /// The last heartbeat, and where the server wrote then, if nothing else
    /// came since.
    pub(super) idle: Option<(Heartbeat, Position)>,
}

impl<I: Interest> Source<I> {
    /// Prepares reading from `position`; nothing is connected yet.
    pub fn new(
        connector: Connector,
        settings: StreamSettings,
        interest: I,
        position: Position,
    ) -> Self {
        Self {
            connector,
            settings,
            assembler: Assembler::new(interest, position),
            generation: None,
            open: None,
            left_out: None,
            stream: StreamId::default(),
            at_end: false,
            begun: false,
            heard: false,
            until: Vec::new(),
            beyond: false,
        }
    }

    /// Tells that the position is the server's end, and was just asked for. The server
    /// is then asked by GTIDs, and passes over by itself what they name.
    pub fn begin_at_end(&mut self) {
        self.at_end = true;
    }

    /// Ends at the first of these bounds.
    #[must_use]
    pub fn until(mut self, bounds: Vec<Bound>) -> Self {
        self.until = bounds;
        self
    }

    /// Whether a bound is reached, and every statement is read that may have
    /// changed the columns that rows before it were read with.
    pub fn ended(&self) -> bool {
        self.at_bound() && self.columns_known()
    }

    /// Whether the columns of what was read are known to be those of then. A
    /// server that is asked by GTIDs may have nothing to send that reaches the
    /// offset.
    fn columns_known(&self) -> bool {
        let read = self.assembler.position().gtids.as_ref();
        self.assembler.columns_of().is_none_or(|place| {
            let wanted = place.gtids.as_ref().filter(|set| !set.is_empty());
            matches!((read, wanted), (Some(read), Some(wanted)) if read.includes(wanted))
        })
    }

    /// Whether a bound is reached. Only between transactions: one that began
    /// before the bound is read to its end. Never before a server accepted the
    /// position: one that lies behind the binlog's end is a gap, and not an end.
    pub(super) fn at_bound(&self) -> bool {
        let position = self.assembler.position();
        let reached = self.until.iter().any(|bound| bound.reached(position));
        self.begun && reached && !self.in_transaction()
    }

    /// The place after the last whole transaction that was delivered.
    pub fn position(&self) -> &Position {
        self.assembler.position()
    }

    /// [`Assembler::columns_of`].
    pub fn columns_of(&self) -> Option<&Position> {
        self.assembler.columns_of()
    }

    /// [`Assembler::read_with_columns_of`], of the server that is named to
    /// [`Source::reconnect`].
    pub fn read_with_columns_of(&mut self, place: Position) {
        self.assembler.read_with_columns_of(place);
    }

    /// [`Assembler::take_transactions`], and the stream that they came over.
    pub fn take_transactions(&mut self) -> (TransactionsRead, StreamId) {
        (self.assembler.take_transactions(), self.stream.clone())
    }

    /// Whether a transaction was begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.assembler.in_transaction()
    }

    /// [`Assembler::committed_at`].
    pub fn committed_at(&self) -> Option<CommitTime> {
        self.assembler.committed_at()
    }

    /// The transaction being read, or the one just ended, where the server has
    /// GTIDs.
    pub fn gtid(&self) -> Option<&Gtid> {
        self.assembler.gtid()
    }

    /// The file and offset where reading stands, within transactions too.
    pub fn reading(&self) -> (&str, u64) {
        self.assembler.reading()
    }

    /// Whether everything that the server sent was read when it was last asked
    /// for more.
    pub fn drained(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.drained)
    }

    /// Whether any of the binlog was ever received: a server refuses a position
    /// only after it was asked for the binlog.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// Why wanted changes are not in the server's binlog; `None` if all are.
    pub fn left_out(&self) -> Option<&str> {
        self.left_out.as_deref()
    }

    /// Host and port, for messages.
    pub fn address(&self) -> &str {
        self.connector.address()
    }

    /// Where reading stands, for errors.
    pub fn reading_at(&self) -> String {
        self.assembler.reading_at()
    }

    /// The server that is read from, while connected.
    pub fn facts(&self) -> Option<&ServerFacts> {
        self.open.as_ref().map(|open| open.server.facts())
    }
}
