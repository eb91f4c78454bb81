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
//! that were read. A server that was reset, or another server behind the same
//! address, may never execute them; its set then lacks transactions that it had
//! before. Such an answer, and one that does not come, is
//! [`NotVisible::Unknown`]: the caller must not take it for "visible", and not
//! wait for it for ever.

use std::time::Duration;

use tokio::time::Instant;

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
    /// The transactions that the server is known to have executed.
    executed: GtidSet,
    /// When the server said so.
    executed_at: Instant,
}

/// Why transactions do not count as visible.
#[derive(Debug, thiserror::Error)]
pub enum NotVisible {
    /// The server answered that they are not visible.
    #[error("the server has not made them visible yet")]
    NotYet,
    /// The server cannot be asked, or its answer is about other transactions.
    #[error(transparent)]
    Unknown(#[from] SourceError),
}

impl Barrier {
    /// Does not connect before the first question.
    pub fn new(connector: Connector) -> Self {
        Self {
            connector,
            conn: None,
            executed: GtidSet::default(),
            executed_at: Instant::now(),
        }
    }

    /// Waits until every transaction of `gtids` is visible, and returns a moment
    /// by which all were. Gives up after `at_most`, in whole seconds. After an
    /// error it can be called again.
    pub async fn wait(
        &mut self,
        gtids: &GtidSet,
        at_most: Duration,
    ) -> Result<Instant, NotVisible> {
        if self.executed.includes(gtids) {
            return Ok(self.executed_at);
        }
        // Taken out, so that a connection in the middle of a question is not
        // used again, however this ends.
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connector.connect().await?,
        };
        let question = conn.exec_first(
            // With GTIDs switched off the function is an error, and every
            // transaction that has one was executed before. A timeout of zero
            // would mean to wait for ever.
            "SELECT IF(@@GLOBAL.gtid_mode = 'OFF', 0, WAIT_FOR_EXECUTED_GTID_SET(?, ?)), @@GLOBAL.gtid_executed",
            (gtids.to_string(), at_most.as_secs().max(1)),
        );
        let answer: Option<(i64, String)> =
            match tokio::time::timeout(at_most + PATIENCE, question).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    let doing = "wait for a transaction to become visible";
                    let error = self.connector.statement_error(&error, doing, "USAGE");
                    return Err(error.into());
                }
                Err(_) => {
                    let error = self.connector.unreachable("no answer about visibility");
                    return Err(error.into());
                }
            };
        let answered_at = Instant::now();
        self.conn = Some(conn);
        let (timed_out, executed) = answer.unwrap_or((1, String::new()));
        let executed: GtidSet = executed.parse().unwrap_or_default();
        if timed_out == 0 || executed.includes(gtids) {
            self.executed = executed;
            self.executed_at = answered_at;
            return Ok(answered_at);
        }
        // A set that lost transactions was reset, or is that of another server,
        // which may never execute these.
        if executed.includes(&self.executed) {
            self.executed = executed;
            self.executed_at = answered_at;
            return Err(NotVisible::NotYet);
        }
        let error = self.connector.unreachable(
            "its gtid_executed lacks transactions that it had: it was reset, or is another server",
        );
        Err(error.into())
    }
}
