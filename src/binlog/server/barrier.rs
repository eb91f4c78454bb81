//! Whether a transaction's rows are visible to other sessions yet.
//!
//! MySQL hands a transaction to its replicas before its rows become visible: a
//! key deleted in between is filled again from the old row, and stays. A
//! transaction is visible once its GTID is in the server's executed set
//! (MySQL manual, `WAIT_FOR_EXECUTED_GTID_SET`).

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;
use crate::model::GtidSet;

/// When the answer is later than this, the connection counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection that waits for transactions to be visible.
#[derive(Debug)]
pub struct Barrier {
    connector: Connector,
    conn: Option<Conn>,
    /// What the server is known to have executed: catching up with a backlog
    /// costs no questions.
    executed: GtidSet,
    /// When it said so.
    executed_at: Instant,
}

/// Why transactions do not count as visible.
#[derive(Debug, thiserror::Error)]
pub enum NotVisible {
    /// The server answered that they are not.
    #[error("the server has not made them visible yet")]
    NotYet,
    /// It cannot be asked, or what it answers is about other transactions.
    #[error(transparent)]
    Unknown(#[from] SourceError),
}

impl Barrier {
    /// Nothing is connected yet.
    pub fn new(connector: Connector) -> Self {
        Self {
            connector,
            conn: None,
            executed: GtidSet::default(),
            executed_at: Instant::now(),
        }
    }

    /// Returns once every transaction of `gtids` is visible, with a moment by
    /// which they were; or after `at_most`, in whole seconds. Ask again after an
    /// error.
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
            // Where GTIDs were switched off it would be an error, and whatever
            // had one was executed before. Zero would mean for ever.
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
        // A set that shrank was reset, or is another server's: it need never
        // include these transactions.
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
