//! The live binlog: one connection that streams events, one for questions.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::connection::Dump;
use super::connection::connector::Connector;
use super::error::SourceError;
use super::events::cutter::Arrival;
use super::events::event::Event;
use super::events::heartbeat::Heartbeat;
use super::reader::{Assembler, Interest, Item, Step};
use super::server::reach::StatementReach;
use super::server::{Server, ServerFacts};
use super::statement::Dml;
use crate::model::position::{Bound, Gtid, Start};
use crate::model::{GtidSet, Position, TableName};

mod begin;
mod reset;

use self::reset::Generation;
pub use self::reset::Idle;

/// A server's binlog from a position on. Every item comes at least once; after
/// an error, [`Source::reconnect`] goes on at the last whole transaction, so
/// that the rows of an unfinished one come again.
pub struct Source<I: Interest> {
    connector: Connector,
    settings: StreamSettings,
    assembler: Assembler<I>,
    /// The file being read, told from another of the same name.
    generation: Option<Generation>,
    /// Transactions without GTIDs are ahead: a server sends them to who asks
    /// by file and offset only.
    anonymous_ahead: bool,
    open: Option<OpenStream>,
    /// A server agreed to the position.
    begun: bool,
    /// A server sent something of its binlog.
    heard: bool,
    until: Vec<Bound>,
}

/// How the stream is asked for.
#[derive(Clone, Copy, Debug)]
pub struct StreamSettings {
    /// The replica's id; two with the same throw each other out.
    pub server_id: u32,
    /// How often the server says that it is alive while nothing happens.
    pub heartbeat: Duration,
}

struct OpenStream {
    dump: Dump,
    server: Server,
    heard_at: Instant,
    /// When an event was waited for last.
    asked_at: Instant,
    /// Events came without waiting since `heard_at`.
    busy: bool,
    /// The last event had to be waited for.
    drained: bool,
    /// The last heartbeat, and where the server wrote then, if nothing else
    /// came since.
    idle: Option<(Heartbeat, Position)>,
}

/// How long the server may take over a question, several statements long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// After this many heartbeats without a byte the connection counts as dead.
const HEARTBEATS_MISSED_MAX: u32 = 3;

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
            anonymous_ahead: false,
            open: None,
            begun: false,
            heard: false,
            until: Vec::new(),
        }
    }

    /// Wants other tables from now on, or the same for other reasons. Only
    /// between transactions.
    pub fn set_interest(&mut self, interest: I) {
        self.assembler.set_interest(interest);
    }

    /// Ends at the first of these bounds.
    #[must_use]
    pub fn until(mut self, bounds: Vec<Bound>) -> Self {
        self.until = bounds;
        self
    }

    /// Whether a bound is reached. Only between transactions: one that began
    /// before the bound is read to its end. Never before a server agreed to the
    /// position: one that lies behind the binlog's end is a gap, and no end.
    pub fn ended(&self) -> bool {
        let position = self.assembler.position();
        let mut bounds = self.until.iter();
        self.begun && bounds.any(|bound| bound.reached(position)) && !self.in_transaction()
    }

    /// The place after the last whole transaction that was delivered.
    pub fn position(&self) -> &Position {
        self.assembler.position()
    }

    /// [`Assembler::reading_gtids`].
    pub fn reading_gtids(&self) -> Option<GtidSet> {
        self.assembler.reading_gtids()
    }

    /// Whether a transaction was begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.assembler.in_transaction()
    }

    /// When the transaction being read was committed, µs since the epoch.
    pub fn committed_at_us(&self) -> u64 {
        self.assembler.committed_at_us()
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

    /// Whether anything was ever received: a server refuses a position only
    /// after it was asked for the binlog.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// Where reading stands, for errors.
    pub fn reading_at(&self) -> String {
        self.assembler.reading_at()
    }

    /// The server that is read from, while connected.
    pub fn facts(&self) -> Option<&ServerFacts> {
        self.open.as_ref().map(|open| open.server.facts())
    }

    /// Connects at the last whole transaction.
    ///
    /// # Errors
    ///
    /// [`SourceError::Gap`] if the server no longer has what comes next.
    pub async fn reconnect(&mut self, expected_uuid: Option<&str>) -> Result<(), SourceError> {
        self.open = None;
        let connector = self.connector.clone();
        answered(&connector, self.connect(expected_uuid)).await
    }

    async fn connect(&mut self, expected_uuid: Option<&str>) -> Result<(), SourceError> {
        let mut server = Server::connect(&self.connector).await?;
        let position = self.assembler.position();
        let same_server = expected_uuid == Some(server.facts().server_uuid.as_str());
        let by_offset = self.anonymous_ahead && same_server && !position.file.is_empty();
        let by_gtid = position.gtids.is_some() && server.facts().gtids && !by_offset;
        if let Some(uuid) = expected_uuid
            && uuid != server.facts().server_uuid
            && !by_gtid
        {
            let reason = format!(
                "it was read from server {uuid} and this is {}, where the same file holds other data",
                server.facts().server_uuid
            );
            return Err(SourceError::gap(position, reason));
        }
        if !same_server {
            self.generation = None;
        }
        server.check_resumable(position).await?;
        let dump = self.open_dump(by_gtid).await?;
        self.assembler.rewind();
        self.begun = true;
        self.open = Some(OpenStream {
            dump,
            server,
            heard_at: Instant::now(),
            asked_at: Instant::now(),
            busy: false,
            drained: false,
            idle: None,
        });
        Ok(())
    }

    /// Gives up what lies between the position and the server's current end,
    /// and returns the UUID of the server that it is the end of.
    /// [`Source::reconnect`] goes on from there.
    pub async fn skip_to_current(&mut self) -> Result<String, SourceError> {
        self.open = None;
        let current = answered(&self.connector, async {
            let mut server = Server::connect(&self.connector).await?;
            let position = server.locate(&Start::Current).await?;
            Ok((position, server.facts().server_uuid.clone()))
        });
        let (position, uuid) = current.await?;
        self.generation = None;
        self.anonymous_ahead = false;
        self.assembler.restart(position);
        Ok(uuid)
    }

    /// The next item. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// Any error ends the connection; the caller decides when to reconnect.
    pub async fn next(&mut self) -> Result<Came<I::Table>, SourceError> {
        loop {
            // Quiet events can lead there too.
            if self.ended() {
                return Ok(Came::End);
            }
            let step = match self.next_arrival().await? {
                Arrival::Event(event) => {
                    if let Some(heartbeat) = Heartbeat::read(&event) {
                        let step = self.assembler.feed(event);
                        return Ok(Came::Idle(Idle { heartbeat, step }));
                    }
                    self.came(&event)?;
                    self.assembler.feed(event)
                }
                Arrival::Unreadable { event_type, reason } => {
                    self.assembler.feed_unreadable(event_type, reason)
                }
            };
            match step {
                // The first event after a pause: what is known of the reading
                // is no longer so.
                Step::Quiet if self.drained() => return Ok(Came::Quiet),
                Step::Quiet => {}
                Step::Item(item) => return Ok(Came::Item(item)),
                Step::NeedsCatalog(table, event) => {
                    return Ok(Came::LookUp(LookUp { table, event }));
                }
            }
        }
    }

    /// Looks up a table's columns and goes on with the event that needed them.
    /// Must not be cancelled: the event would be lost.
    pub async fn look_up(&mut self, needed: LookUp) -> Result<Option<Item<I::Table>>, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        let columns = answered(&self.connector, open.server.columns(&needed.table)).await?;
        self.assembler.learn(needed.table, columns);
        match self.assembler.feed(needed.event) {
            Step::Item(item) => Ok(Some(item)),
            Step::Quiet | Step::NeedsCatalog(..) => Ok(None),
        }
    }

    /// Looks up how far a statement's changes reach.
    pub async fn reach(&mut self, dml: &Dml) -> Result<StatementReach, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        answered(&self.connector, open.server.reach(dml)).await
    }

    async fn next_arrival(&mut self) -> Result<Arrival, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        // Under load events are there already, and no clock is needed.
        if let Some(ready) = open.dump.next().now_or_never() {
            open.busy = true;
            open.drained = false;
            return self.received(ready);
        }
        // What was not listened to cannot count as silence: under backpressure
        // nobody asks for events.
        let now = Instant::now();
        if std::mem::take(&mut open.busy) || now - open.asked_at > self.settings.heartbeat {
            open.heard_at = now;
        }
        open.asked_at = now;
        open.drained = true;
        let patience = self.settings.heartbeat * HEARTBEATS_MISSED_MAX;
        let deadline = open.heard_at + patience;
        match tokio::time::timeout_at(deadline, open.dump.next()).await {
            Ok(received) => {
                open.heard_at = Instant::now();
                self.received(received)
            }
            Err(_) => {
                self.open = None;
                Err(SourceError::Silent {
                    address: self.connector.address().to_owned(),
                    seconds: patience.as_secs_f64(),
                })
            }
        }
    }

    fn received(
        &mut self,
        received: Result<Option<Arrival>, mysql_async::Error>,
    ) -> Result<Arrival, SourceError> {
        let error = match received {
            Ok(Some(arrival)) => {
                self.heard = true;
                return Ok(arrival);
            }
            Err(error) => {
                let error = self.stream_error(&error);
                self.anonymous_ahead |= matches!(error, SourceError::Anonymous { .. });
                error
            }
            Ok(None) => ended(&self.connector),
        };
        self.open = None;
        Err(error)
    }
}

/// What [`Source::next`] came upon.
#[derive(Debug)]
pub enum Came<T> {
    /// Something to act on.
    Item(Item<T>),
    /// A table whose columns must be looked up first.
    LookUp(LookUp),
    /// The bound of [`Source::until`] is reached.
    End,
    /// Reading goes on after everything was read; nothing to act on.
    Quiet,
    /// Nothing happens; a good time to compare.
    Idle(Idle<T>),
}

/// For [`Source::look_up`].
#[derive(Debug)]
pub struct LookUp {
    table: TableName,
    event: Event,
}

/// A server that freezes in the middle of a question would hold up the stream
/// for ever.
async fn answered<T>(
    connector: &Connector,
    question: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, question).await {
        Ok(answer) => answer,
        Err(_) => {
            Err(connector.unreachable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
        }
    }
}

fn ended(connector: &Connector) -> SourceError {
    SourceError::Ended {
        address: connector.address().to_owned(),
    }
}
