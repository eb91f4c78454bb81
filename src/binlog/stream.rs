//! The live binlog: one connection that streams events, one for questions.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use mysql_async::binlog::events::Event;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Sid};
use tokio::time::Instant;

use super::assemble::{Assembler, Interest, Item, Step};
use super::connect::Connector;
use super::reach::Reach;
use super::server::{Facts, Server};
use super::source_error::SourceError;
use super::statement::Dml;
use crate::model::position::{Bound, FIRST_EVENT_OFFSET, Gtid, Start};
use crate::model::{GtidSet, Position, TableName};

/// A server's binlog from a position on. Every item comes at least once; after
/// an error, [`Source::reconnect`] goes on at the last whole transaction, so
/// that the rows of an unfinished one come again.
pub struct Source<I: Interest> {
    connector: Connector,
    settings: StreamSettings,
    assembler: Assembler<I>,
    open: Option<Open>,
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

struct Open {
    stream: BinlogStream,
    server: Server,
    heard_at: Instant,
    /// When an event was waited for last.
    asked_at: Instant,
    /// Events came without waiting since `heard_at`.
    busy: bool,
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
            open: None,
            until: Vec::new(),
        }
    }

    /// Ends at the first of these bounds.
    #[must_use]
    pub fn until(mut self, bounds: Vec<Bound>) -> Self {
        self.until = bounds;
        self
    }

    /// Whether a bound is reached. Only between transactions: one that began
    /// before the bound is read to its end.
    pub fn ended(&self) -> bool {
        let position = self.assembler.position();
        let mut bounds = self.until.iter();
        bounds.any(|bound| bound.reached(position)) && !self.in_transaction()
    }

    /// The place after the last whole transaction that was delivered.
    pub fn position(&self) -> &Position {
        self.assembler.position()
    }

    /// Every transaction read so far, the one being read included; `None` where
    /// the server has no GTIDs.
    pub fn reading_gtids(&self) -> Option<GtidSet> {
        let mut set = self.assembler.position().gtids.clone()?;
        if self.in_transaction()
            && let Some(gtid) = self.assembler.gtid()
        {
            set.insert(gtid);
        }
        Some(set)
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

    /// Where reading stands, for errors.
    pub fn reading_at(&self) -> String {
        self.assembler.reading_at()
    }

    /// The server that is read from, while connected.
    pub fn facts(&self) -> Option<&Facts> {
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
        let by_gtid = position.gtids.is_some() && server.facts().gtids;
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
        server.check_resumable(position).await?;
        let stream = self.open_stream(by_gtid).await?;
        self.assembler.rewind();
        self.open = Some(Open {
            stream,
            server,
            heard_at: Instant::now(),
            asked_at: Instant::now(),
            busy: false,
        });
        Ok(())
    }

    /// Gives up what lies between the position and the server's current end.
    /// [`Source::reconnect`] goes on from there.
    pub async fn skip_to_current(&mut self) -> Result<(), SourceError> {
        self.open = None;
        let current = answered(&self.connector, async {
            let mut server = Server::connect(&self.connector).await?;
            server.locate(&Start::Current).await
        });
        let current = current.await?;
        self.assembler.restart(current);
        Ok(())
    }

    async fn open_stream(&self, by_gtid: bool) -> Result<BinlogStream, SourceError> {
        let mut conn = self.connector.connect().await?;
        let nanos = self.settings.heartbeat.as_nanos();
        // MySQL 8.4 reads the new name and falls back to the old.
        conn.query_drop(format!(
            "SET @source_heartbeat_period = {nanos}, @master_heartbeat_period = {nanos}"
        ))
        .await
        .map_err(|error| {
            self.connector
                .statement_error(&error, "ask for heartbeats", "USAGE")
        })?;
        let position = self.assembler.position();
        let mut request = BinlogStreamRequest::new(self.settings.server_id);
        let sids = match &position.gtids {
            Some(gtids) if by_gtid => self.sids(gtids)?,
            _ => Vec::new(),
        };
        if by_gtid {
            request = request.with_gtid().with_gtid_set(sids);
        } else {
            let offset = match u32::try_from(position.offset) {
                Ok(offset) => u64::from(offset),
                Err(_) => FIRST_EVENT_OFFSET,
            };
            request = request
                .with_filename(position.file.as_bytes())
                .with_pos(offset);
        }
        conn.get_binlog_stream(request)
            .await
            .map_err(|error| self.stream_error(&error))
    }

    fn sids(&self, gtids: &GtidSet) -> Result<Vec<Sid<'static>>, SourceError> {
        gtids
            .to_string()
            .split(',')
            .filter(|sid| !sid.is_empty())
            .map(|sid| {
                sid.parse()
                    .map_err(|error| self.connector.unfit(format!("GTID set {sid}: {error}")))
            })
            .collect()
    }

    /// The next item. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// Any error ends the connection; the caller decides when to reconnect.
    pub async fn next(&mut self) -> Result<Next<I::Table>, SourceError> {
        loop {
            // Quiet events can lead there too.
            if self.ended() {
                return Ok(Next::End);
            }
            let event = self.next_event().await?;
            match self.assembler.feed(event) {
                Step::Quiet => {}
                Step::Item(item) => return Ok(Next::Item(item)),
                Step::NeedsCatalog(table, event) => {
                    return Ok(Next::LookUp(LookUp { table, event }));
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
    pub async fn reach(&mut self, dml: &Dml) -> Result<Reach, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        answered(&self.connector, open.server.reach(dml)).await
    }

    async fn next_event(&mut self) -> Result<Event, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        // Under load events are there already, and no clock is needed.
        if let Some(ready) = open.stream.next().now_or_never() {
            open.busy = true;
            return self.received(ready);
        }
        // What was not listened to cannot count as silence: under backpressure
        // nobody asks for events.
        let now = Instant::now();
        if std::mem::take(&mut open.busy) || now - open.asked_at > self.settings.heartbeat {
            open.heard_at = now;
        }
        open.asked_at = now;
        let patience = self.settings.heartbeat * HEARTBEATS_MISSED_MAX;
        let deadline = open.heard_at + patience;
        match tokio::time::timeout_at(deadline, open.stream.next()).await {
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
        received: Option<Result<Event, mysql_async::Error>>,
    ) -> Result<Event, SourceError> {
        let error = match received {
            Some(Ok(event)) => return Ok(event),
            Some(Err(error)) => self.stream_error(&error),
            None => ended(&self.connector),
        };
        self.open = None;
        Err(error)
    }

    fn stream_error(&self, error: &mysql_async::Error) -> SourceError {
        match error {
            // ER_MASTER_FATAL_ERROR_READING_BINLOG: purged, diverged, or a
            // replica of the same id took over.
            mysql_async::Error::Server(server)
                if server.code == 1236 && !server.message.contains("server_uuid/server_id") =>
            {
                SourceError::gap(self.assembler.position(), server.message.clone())
            }
            mysql_async::Error::Server(server) if server.code == 1236 => SourceError::Ended {
                address: self.connector.address().to_owned(),
            },
            error => self
                .connector
                .statement_error(error, "read the binlog", "REPLICATION SLAVE"),
        }
    }
}

/// What [`Source::next`] came upon.
#[derive(Debug)]
pub enum Next<T> {
    /// Something to act on.
    Item(Item<T>),
    /// A table whose columns must be looked up first.
    LookUp(LookUp),
    /// The bound of [`Source::until`] is reached.
    End,
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
