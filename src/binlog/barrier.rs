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

use super::connect::Connector;
use super::source_error::SourceError;
use crate::model::GtidSet;

/// How long the server waits before it answers that it did not happen.
const WAIT: Duration = Duration::from_secs(5);

/// Beyond that the connection counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection that waits for transactions to be visible.
#[derive(Debug)]
pub struct Barrier {
    connector: Connector,
    conn: Option<Conn>,
    /// What the server is known to have executed: catching up with a backlog
    /// costs no questions.
    executed: GtidSet,
    /// When it was known.
    executed_at: Instant,
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
    /// which they were.
    ///
    /// # Errors
    ///
    /// It is not known whether they are: no connection, or none of them came
    /// within five seconds. Ask again.
    pub async fn wait(&mut self, gtids: &GtidSet) -> Result<Instant, SourceError> {
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
            "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?), @@GLOBAL.gtid_executed",
            (gtids.to_string(), WAIT.as_secs()),
        );
        let answer: Option<(i64, String)> =
            match tokio::time::timeout(WAIT + PATIENCE, question).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    let doing = "wait for a transaction to become visible";
                    return Err(self.connector.statement_error(&error, doing, "USAGE"));
                }
                Err(_) => return Err(self.connector.unreachable("no answer about visibility")),
            };
        self.conn = Some(conn);
        let (timed_out, executed) = answer.unwrap_or((1, String::new()));
        let answered_at = Instant::now();
        if let Ok(executed) = executed.parse() {
            self.executed = executed;
            self.executed_at = answered_at;
        }
        if timed_out == 0 || self.executed.includes(gtids) {
            return Ok(answered_at);
        }
        Err(self.connector.unreachable(format!(
            "a transaction was not visible after {} s",
            WAIT.as_secs()
        )))
    }
}
