//! The leader among several evictds: the one that has a lock of the source.
//!
//! `GET_LOCK` belongs to a session (MySQL manual, "Locking Functions"): the
//! server gives it back as soon as the leader's connection ends, at once where
//! its process died, and after ten seconds without a word where its machine did.
//! The lock is not in the binlog, and nothing is written for it.
//!
//! The lock decides who works. The epoch of the checkpoint makes sure that nobody
//! else moves the checkpoint on.
//!
//! What could go wrong: the address is switched to another server while the old
//! one stays up and keeps the lock. Whoever connects from then on would get a
//! second lock. So a session counts only as long as its server is the one that new
//! connections reach, and as writable as it was.

use std::time::Duration;

use tokio::time::Instant;

use crate::binlog::connection::client::Client;
use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;

/// After this long without a question the server ends the connection
/// (`wait_timeout`), and the lock is free.
const LEASE: Duration = Duration::from_secs(10);

/// Time between two questions of the leader whether it still has the lock.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Time that the server may take to answer. Together with the interval it is
/// less than the lease.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between two connections that look which server is there now.
const LOOKED_EVERY: Duration = Duration::from_secs(10);

/// Time that one attempt to take the lock again waits for it.
const RETAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Pause between attempts to reach a server that is away.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The lock that evictds of one name on one source take turns with.
#[derive(Debug)]
pub struct LeaderLock {
    connector: Connector,
    /// At most 64 characters, as configured names are at most 48.
    name: String,
    session: Option<LockSession>,
}

#[derive(Debug)]
struct LockSession {
    conn: Client,
    id: u64,
    server_uuid: String,
    /// A writer that became a reader keeps its sessions' locks while the next
    /// leader takes its own on the new writer.
    read_only: u64,
    looked_at: Instant,
}

/// The outcome of an attempt to take the lock again.
enum Retaken {
    Back,
    /// The server still counts this process's lost connection.
    NotYet,
    Others,
}

impl LeaderLock {
    /// Does not connect before the lock is taken.
    pub fn new(connector: Connector, name: &str) -> Self {
        Self {
            connector,
            name: format!("evictd:{name}"),
            session: None,
        }
    }

    /// The lock's name on the source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the lock, in whole seconds, and returns when it was granted by
    /// the source's clock, in milliseconds since the epoch; `None` if another
    /// process has it.
    pub async fn take(&mut self, at_most: Duration) -> Result<Option<u64>, SourceError> {
        // Taken out, so that a connection in the middle of a question is not
        // used again, however this ends.
        let (mut session, waited) = match self.session.take() {
            Some(session) => (session, true),
            None => (self.connect().await?, false),
        };
        let question = session.conn.exec_first(
            "SELECT GET_LOCK(?, ?), CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS UNSIGNED)",
            (self.name.as_str(), at_most.as_secs()),
        );
        // NULL means that the server failed, and grants nothing either.
        let answer: Option<(Option<u64>, u64)> =
            self.answered(at_most + PATIENCE, question).await?;
        let granted_at_ms = match answer {
            Some((Some(1), granted_at_ms)) => granted_at_ms,
            _ => {
                self.session = Some(session);
                return Ok(None);
            }
        };
        // The leader before may have left for the server that is there now.
        if waited
            && (self.leads_elsewhere(&session).await || !self.still_held(&mut session).await?)
        {
            return Ok(None);
        }
        self.session = Some(session);
        Ok(Some(granted_at_ms))
    }

    /// Returns once another process has the lock. A connection that broke is made
    /// again, and the lock is taken again: as long as nobody else has it, nothing
    /// is lost.
    ///
    /// Cancelling this gives the lock up.
    pub async fn lost(&mut self) {
        let mut session = self.session.take();
        loop {
            if let Some(mut held) = session.take() {
                let error = loop {
                    match self.still_held(&mut held).await {
                        Ok(true) if self.is_elsewhere(&mut held).await => {
                            break self.connector.unreachable("another server is there");
                        }
                        Ok(true) => tokio::time::sleep(ASKED_EVERY).await,
                        Ok(false) => {
                            break self.connector.unreachable("the session has lost the lock");
                        }
                        Err(error) => break error,
                    }
                };
                tracing::warn!(%error, lock = self.name, "the leader's connection to the source is lost; taking the lock again");
                let id = held.id;
                // Tells a server that still counts the session that it is over.
                tokio::time::timeout(RETAKEN_WITHIN, held.conn.disconnect())
                    .await
                    .ok();
                session = self.retake(id).await;
            }
            let Some(held) = &session else {
                return;
            };
            tracing::info!(lock = self.name, connection = held.id, "the lock is back");
        }
    }

    /// Gives the lock back, if this process has it.
    pub async fn release(&mut self) {
        if let Some(session) = self.session.take() {
            // The server frees it when the connection ends, in whatever way.
            tokio::time::timeout(PATIENCE, session.conn.disconnect())
                .await
                .ok();
        }
    }

    /// Whether any process has the lock.
    pub async fn is_taken(&mut self) -> Result<bool, SourceError> {
        let mut session = self.connect().await?;
        let question = session
            .conn
            .exec_first("SELECT IS_USED_LOCK(?)", (self.name.as_str(),));
        let holder: Option<Option<u64>> = self.answered(PATIENCE, question).await?;
        session.conn.disconnect().await.ok();
        Ok(holder.flatten().is_some())
    }

    async fn connect(&self) -> Result<LockSession, SourceError> {
        let mut conn = self.connector.connect().await?;
        let seconds = LEASE.as_secs();
        let lease = conn.query_drop(format!("SET SESSION wait_timeout = {seconds}"));
        self.answered(PATIENCE, lease).await?;
        let question = conn.query_first(
            "SELECT CONNECTION_ID(), @@GLOBAL.innodb_read_only OR @@GLOBAL.read_only, @@GLOBAL.server_uuid",
        );
        let answer: Option<(u64, u64, String)> = self.answered(PATIENCE, question).await?;
        let (id, read_only, server_uuid) = answer.unwrap_or_default();
        Ok(LockSession {
            conn,
            id,
            server_uuid,
            read_only,
            looked_at: Instant::now(),
        })
    }

    /// Whether a new connection reaches another server than the session's.
    async fn leads_elsewhere(&self, session: &LockSession) -> bool {
        let looking = async {
            let found = self.connect().await.ok()?;
            found.conn.disconnect().await.ok();
            Some(found.server_uuid != session.server_uuid)
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        found.ok().flatten().unwrap_or(false)
    }

    /// Whether new connections reach another server than the session's, if it is
    /// time to look. The stream follows after two looks: the lock is there first.
    async fn is_elsewhere(&self, session: &mut LockSession) -> bool {
        if session.looked_at.elapsed() < LOOKED_EVERY {
            return false;
        }
        session.looked_at = Instant::now();
        self.leads_elsewhere(session).await
    }

    async fn still_held(&self, session: &mut LockSession) -> Result<bool, SourceError> {
        let question = session.conn.exec_first(
            "SELECT IFNULL(IS_USED_LOCK(?) = CONNECTION_ID(), 0) AND (@@GLOBAL.innodb_read_only OR @@GLOBAL.read_only) = ?",
            (self.name.as_str(), session.read_only),
        );
        let answer: Option<u64> = self.answered(PATIENCE, question).await?;
        Ok(answer == Some(1))
    }

    /// Connects, for as long as that takes, and takes the lock unless another
    /// process has it. `lost_id` is the connection that had it.
    async fn retake(&mut self, lost_id: u64) -> Option<LockSession> {
        // A session that the server still counts after a lease is another
        // process's, or is on another server.
        let mut own_until: Option<Instant> = None;
        loop {
            match self.try_retake(lost_id).await {
                Ok(Retaken::Back) => return self.session.take(),
                Ok(Retaken::NotYet) => {
                    let until = *own_until.get_or_insert_with(|| Instant::now() + LEASE + PATIENCE);
                    if Instant::now() > until {
                        return None;
                    }
                    tokio::time::sleep(RETRY_AFTER / 5).await;
                }
                Ok(Retaken::Others) => return None,
                Err(error) => {
                    tracing::debug!(%error, "the leader's lock cannot be asked for");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn try_retake(&mut self, lost_id: u64) -> Result<Retaken, SourceError> {
        if self.take(RETAKEN_WITHIN).await?.is_some() {
            return Ok(Retaken::Back);
        }
        let Some(mut session) = self.session.take() else {
            return Ok(Retaken::NotYet);
        };
        let question = session
            .conn
            .exec_first("SELECT IS_USED_LOCK(?)", (self.name.as_str(),));
        let holder: Option<Option<u64>> = self.answered(PATIENCE, question).await?;
        self.session = Some(session);
        Ok(match holder.flatten() {
            Some(id) if id != lost_id => Retaken::Others,
            _ => Retaken::NotYet,
        })
    }

    async fn answered<T>(
        &self,
        within: Duration,
        question: impl Future<Output = Result<T, mysql_async::Error>>,
    ) -> Result<T, SourceError> {
        match tokio::time::timeout(within, question).await {
            Ok(answer) => answer.map_err(|error| {
                self.connector
                    .statement_error(&error, "take the leader's lock", "USAGE")
            }),
            Err(_) => Err(self.connector.unreachable(format!(
                "no answer about the leader's lock within {} s",
                within.as_secs()
            ))),
        }
    }
}
