//! A process that would lead: it waits for the lock, and says whether there is
//! another turn after a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::binlog::server::leader::LeaderLock;
use crate::checkpoint::CheckpointError;
use crate::command::shutdown::unless;
use crate::command::{CommandError, Exit, preflight};
use crate::config::Config;
use crate::progress::backoff::Backoff;
use crate::progress::board::Board;

/// Time that one wait for the lock takes. The lock is had as soon as it is free,
/// and the server looks after those who wait.
const ONE_WAIT: Duration = Duration::from_secs(5);

/// Time that a failure which may pass holds up the next turn, at least and at
/// most: a standby has to be there when it has passed.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// A process that would lead.
pub(super) struct Candidate {
    board: Arc<Board>,
    pub(super) lock: LeaderLock,
    /// It has waited for another process, or led before: it is needed, and gives
    /// up for nothing that may pass.
    pub(super) stood_by: bool,
    /// The source did not answer when it was asked last.
    failing: bool,
    backoff: Backoff,
}

/// How a wait for the lock ended.
pub(super) enum Waited {
    /// With the lock, granted at this time in ms since the epoch.
    Granted(u64),
    /// Another process leads, as it turned out for the first time.
    StandsBy,
    Shutdown,
}

pub(super) fn lock(config: &Config) -> Result<LeaderLock, CommandError> {
    let connector = preflight::connector(&config.source)?;
    Ok(LeaderLock::new(connector, &config.name))
}

impl Candidate {
    pub(super) fn new(config: &Config, board: Arc<Board>) -> Result<Self, CommandError> {
        Ok(Self {
            board,
            lock: lock(config)?,
            stood_by: false,
            failing: false,
            backoff: Backoff::new(RETRY_AFTER.0, RETRY_AFTER.1),
        })
    }

    /// Waits for the lock. Cancelling it loses nothing.
    pub(super) async fn wait(
        &mut self,
        shutdown: &CancellationToken,
    ) -> Result<Waited, CommandError> {
        loop {
            let at_most = if self.stood_by {
                ONE_WAIT
            } else {
                Duration::ZERO
            };
            let Some(answer) = unless(shutdown, self.lock.take(at_most)).await else {
                return Ok(Waited::Shutdown);
            };
            match answer {
                Ok(Some(granted_at_ms)) => return Ok(Waited::Granted(granted_at_ms)),
                Ok(None) if self.stood_by => {
                    self.backoff.reset();
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the source answers again; standing by");
                    }
                }
                Ok(None) => {
                    self.stood_by = true;
                    tracing::info!(
                        lock = self.lock.name(),
                        "another evictd leads; standing by until it ends"
                    );
                    self.board.stands_by();
                    return Ok(Waited::StandsBy);
                }
                Err(error) if !self.stood_by => return Err(error.into()),
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "cannot wait for the leader's lock; trying again until it can");
                    }
                    self.pause(shutdown).await;
                }
            }
        }
    }

    /// Whether there is a next turn after one that ended so.
    pub(super) async fn after(
        &mut self,
        outcome: Result<(), CommandError>,
        shutdown: &CancellationToken,
    ) -> Result<(), CommandError> {
        let Err(error) = outcome else {
            self.stood_by = true;
            return Ok(());
        };
        let cause = error.cause.downcast_ref();
        let superseded = matches!(cause, Some(CheckpointError::Superseded { .. }));
        // By a leader that is paused, or by the last write of this process.
        let held = matches!(cause, Some(CheckpointError::Held { .. }));
        let passes = superseded || self.stood_by && (held || error.exit == Exit::Unreachable);
        if !passes {
            return Err(error);
        }
        self.stood_by = true;
        tracing::error!(
            error = format!("{:#}", error.cause),
            "cannot lead; this one stands by"
        );
        self.pause(shutdown).await;
        Ok(())
    }

    async fn pause(&mut self, shutdown: &CancellationToken) {
        let delay = tokio::time::sleep(self.backoff.next_delay());
        unless(shutdown, delay).await;
    }
}
