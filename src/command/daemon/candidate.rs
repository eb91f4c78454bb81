//! The wait for the leader's lock, and the decision after a failure: to wait
//! for another turn, or to give up.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::binlog::server::leader::LeaderLock;
use crate::checkpoint::CheckpointError;
use crate::command::shutdown::unless;
use crate::command::{CommandError, Exit, preflight};
use crate::config::Config;
use crate::progress::backoff::Backoff;
use crate::progress::board::{Board, Component};

/// Time that one wait for the lock takes at most. The server grants the lock as
/// soon as it is free, and notices when a process that waits is gone.
const ONE_WAIT: Duration = Duration::from_secs(5);

/// Shortest and longest pause after a failure that may pass. A standby has to
/// be there when it has passed.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// A process that wants to lead.
pub(super) struct Candidate {
    board: Arc<Board>,
    pub(super) lock: LeaderLock,
    /// Whether it has waited for another process, has led before, or goes on from a
    /// stored position while a server is away. Then it is needed, and does not give
    /// up for a failure that may pass.
    pub(super) stood_by: bool,
    /// It is known, and shown, that another process leads.
    pub(super) waits: bool,
    /// Whether a later epoch ended its last turn.
    pub(super) superseded: bool,
    /// Whether the source did not answer the last time.
    failing: bool,
    backoff: Backoff,
}

/// The end of a wait for the lock.
pub(super) enum Waited {
    /// It has the lock, granted at this time in ms since the epoch.
    Granted(u64),
    /// Another process leads, which this one sees for the first time.
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
            waits: false,
            superseded: false,
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
            let at_most = if self.waits { ONE_WAIT } else { Duration::ZERO };
            let Some(answer) = unless(shutdown, self.lock.take(at_most)).await else {
                return Ok(Waited::Shutdown);
            };
            match answer {
                Ok(Some(granted_at_ms)) => return Ok(Waited::Granted(granted_at_ms)),
                Ok(None) if self.waits => {
                    self.board.recovered(&Component::Leadership);
                    self.backoff.reset();
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the source answers again; standing by");
                    }
                }
                Ok(None) => {
                    (self.stood_by, self.waits) = (true, true);
                    tracing::info!(
                        lock = self.lock.name(),
                        "another evictd leads; standing by until it ends"
                    );
                    self.board.stands_by();
                    self.board.recovered(&Component::Leadership);
                    self.failing = false;
                    return Ok(Waited::StandsBy);
                }
                Err(error) if !self.stood_by => return Err(error.into()),
                Err(error) => {
                    let trouble = format!("it is not known whether any evictd leads: {error}");
                    self.board.failed(&Component::Leadership, trouble);
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "cannot wait for the leader's lock; trying again until that works");
                    }
                    self.pause(shutdown).await;
                }
            }
        }
    }

    /// Whether this process waits for another turn after one that ended with
    /// `outcome`, and whether it pauses before.
    ///
    /// # Errors
    ///
    /// It does not, because of the failure in `outcome`.
    pub(super) fn after(
        &mut self,
        outcome: Result<(), CommandError>,
    ) -> Result<bool, CommandError> {
        self.waits = true;
        let Err(error) = outcome else {
            self.stood_by = true;
            self.board.stands_by();
            return Ok(false);
        };
        let cause = error.cause.downcast_ref();
        let superseded = matches!(cause, Some(CheckpointError::Superseded { .. }));
        self.superseded = superseded || self.superseded && error.exit == Exit::Unreachable;
        // By a leader that is paused, or by this process's own last write.
        let held = matches!(cause, Some(CheckpointError::Held { .. }));
        let passes = superseded || self.stood_by && error.exit == Exit::Unreachable;
        if !passes {
            return Err(error);
        }
        self.stood_by = true;
        // Said only by one that goes on: whoever stands by is up.
        self.board.stands_by();
        let error = format!("{:#}", error.cause);
        tracing::error!(error, "cannot lead; this one stands by");
        if !(superseded || held) {
            let trouble =
                format!("no evictd leads: this one has the lock and cannot lead: {error}");
            self.board.failed(&Component::Leadership, trouble);
        }
        Ok(true)
    }

    pub(super) async fn pause(&mut self, shutdown: &CancellationToken) {
        let delay = tokio::time::sleep(self.backoff.next_delay());
        unless(shutdown, delay).await;
    }
}
