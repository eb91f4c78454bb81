//! The barrier: waits until the rows of transactions are visible to other
//! sessions (Visible before evicted).
//!
//! The problem: MySQL sends a transaction to its replicas before its rows become
//! visible. A key that is deleted in between is filled again from the old row,
//! and stays stale.
//!
//! The idea: a transaction is visible once its GTID is in the server's executed
//! set. A connection of its own asks `WAIT_FOR_EXECUTED_GTID_SET` (MySQL manual),
//! which returns as soon as that is so. The answer brings the whole executed set
//! along, so that catching up with a backlog costs no further questions.
//!
//! What could go wrong: the answer can be about other transactions than those
//! that were read. Another server behind the same address, or one that was
//! reset, may never execute them, or execute others of the same numbers. So an
//! answer counts for the transactions of one [`StreamId`] only, and "not yet"
//! only while that stream lives: a stream that ended is followed by one that has
//! compared the executed set with the position, or by a gap. Every other answer,
//! and one that does not come, is [`NotVisible::Unknown`]: the caller must not
//! take it for "visible", and not wait for it for ever.

use std::time::Duration;

use tokio::time::Instant;

use super::stream_id::StreamId;
use crate::binlog::connection::client::Client;
use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;
use crate::model::GtidSet;

/// Time beyond the wait itself after which a connection without an answer
/// counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection that waits for transactions to be visible.
#[derive(Debug)]
pub struct Barrier {
    connector: Connector,
    conn: Option<Client>,
    known: Executed,
}

/// The transactions that a server is known to have executed.
#[derive(Debug)]
struct Executed {
    gtids: GtidSet,
    /// When the server said so.
    at: Instant,
    /// The stream whose numbers they are.
    stream: StreamId,
}

/// Why transactions do not count as visible.
#[derive(Debug, thiserror::Error)]
pub enum NotVisible {
    /// The server answered that they are not visible.
    #[error("the server has not made them visible yet")]
    NotYet,
    /// The server cannot be asked, or its answer is about other transactions: why.
    #[error("{0}")]
    Unknown(String),
}

impl From<SourceError> for NotVisible {
    fn from(error: SourceError) -> Self {
        NotVisible::Unknown(error.to_string())
    }
}

impl Barrier {
    /// Does not connect before the first question.
    pub fn new(connector: Connector) -> Self {
        Self {
            connector,
            conn: None,
            known: Executed {
                gtids: GtidSet::default(),
                at: Instant::now(),
                stream: StreamId::default(),
            },
        }
    }

    /// Another one to the same server, with a connection of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(self.connector.clone())
    }

    /// Waits until every transaction of `gtids`, which came over `stream`, is
    /// visible, and returns a moment by which all were. Gives up after
    /// `at_most`, in whole seconds. After an error it can be called again.
    pub async fn wait(
        &mut self,
        gtids: &GtidSet,
        stream: &StreamId,
        at_most: Duration,
    ) -> Result<Instant, NotVisible> {
        if self.known.stream != *stream {
            self.known.gtids = GtidSet::default();
            self.known.stream = stream.clone();
        }
        if self.known.gtids.includes(gtids) {
            return Ok(self.known.at);
        }
        let ended = stream.ended();
        if ended {
            // Readers go to the server that is at the address now.
            self.conn = None;
        }
        let (server_uuid, in_time, executed) = self.ask(gtids, at_most).await?;
        let answered_at = Instant::now();
        if server_uuid != stream.server_uuid() && !ended {
            // A new connection may reach the server that is read.
            self.conn = None;
            return Err(self.unknown(&format!(
                "server {server_uuid} answers about what is visible, and the binlog comes from {}",
                stream.server_uuid()
            )));
        }
        let visible = in_time || executed.includes(gtids);
        let kept = executed.includes(&self.known.gtids);
        if visible || kept {
            self.known.gtids = executed;
            self.known.at = answered_at;
        }
        if visible {
            return Ok(answered_at);
        }
        if ended {
            return Err(self.unknown(
                "the stream that the transaction came over has ended, and it is not executed",
            ));
        }
        if kept {
            return Err(NotVisible::NotYet);
        }
        Err(self.unknown("its gtid_executed lacks transactions that it had: it was reset"))
    }

    /// The UUID of the server that answers, whether `gtids` were executed within
    /// `at_most`, and everything that is.
    async fn ask(
        &mut self,
        gtids: &GtidSet,
        at_most: Duration,
    ) -> Result<(String, bool, GtidSet), SourceError> {
        // Taken out, so that a connection in the middle of a question is not
        // used again, however this ends.
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connector.connect().await?,
        };
        let question = conn.exec_first(
            // With GTIDs switched off the function is an error; the set tells. A
            // timeout of zero would mean to wait for ever.
            "SELECT @@GLOBAL.server_uuid, IF(@@GLOBAL.gtid_mode = 'OFF', 1, WAIT_FOR_EXECUTED_GTID_SET(?, ?)), @@GLOBAL.gtid_executed",
            (gtids.to_string(), at_most.as_secs().max(1)),
        );
        let answer: Option<(String, i64, String)> =
            match tokio::time::timeout(at_most + PATIENCE, question).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    let doing = "wait for a transaction to become visible";
                    return Err(self.connector.statement_error(&error, doing, "USAGE"));
                }
                Err(_) => return Err(self.connector.unreachable("no answer about visibility")),
            };
        self.conn = Some(conn);
        let (server_uuid, timed_out, executed) =
            answer.ok_or_else(|| self.connector.unreachable("an empty answer"))?;
        Ok((
            server_uuid,
            timed_out == 0,
            executed.parse().unwrap_or_default(),
        ))
    }

    fn unknown(&self, reason: &str) -> NotVisible {
        NotVisible::Unknown(format!(
            "MySQL at {} cannot say whether rows are visible: {reason}; it can again once the binlog is read from the server that is there now",
            self.connector.address()
        ))
    }
}
