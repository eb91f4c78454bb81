//! One evictd of a name leads, all others stand by: whose turn it is, and what
//! a turn is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::unless;
use crate::binlog::server::leader::LeaderLock;
use crate::cache::Redis;
use crate::checkpoint::CheckpointError;
use crate::command::{CommandError, Exit, preflight};
use crate::config::Config;
use crate::progress::backoff::Backoff;
use crate::progress::board::{Board, Reports};

/// How long one wait for the lock takes. The lock is had as soon as it is free,
/// and the server looks after those who wait.
const ONE_WAIT: Duration = Duration::from_secs(5);

/// How long what may pass holds up the next turn: a standby has to be there
/// when it does.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// For how long this process works.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// The work is to end in order.
    pub(super) shutdown: CancellationToken,
    /// Another one leads: what is in flight is dropped.
    pub(super) lost: CancellationToken,
    /// When the lock was granted, ms since the epoch by the source's clock. No
    /// epoch is earlier than that, whatever a store remembers.
    pub(super) granted_at_ms: u64,
}

impl Term {
    /// Of a process that works beside all others.
    pub(super) fn without_end(shutdown: CancellationToken) -> Self {
        Self {
            shutdown,
            lost: CancellationToken::new(),
            granted_at_ms: 0,
        }
    }
}

/// Does `work` whenever this process leads, until `shutdown`, or until it fails
/// in a way that waiting does not help.
pub(super) async fn take_turns<W: Future<Output = Result<(), CommandError>>>(
    config: &Config,
    config_path: &Path,
    reports: &Reports,
    shutdown: &CancellationToken,
    work: impl Fn(Term) -> W,
) -> Result<(), CommandError> {
    let mut candidate = Candidate::new(config, config_path, reports)?;
    while let Some(granted_at_ms) = candidate.wait(shutdown).await? {
        if candidate.stood_by {
            tracing::info!(
                lock = candidate.lock.name(),
                "no other evictd leads: taking over"
            );
            reports.ledger.reread().await;
        }
        reports.board.leads();
        let term = Term {
            shutdown: shutdown.child_token(),
            lost: CancellationToken::new(),
            granted_at_ms,
        };
        let outcome = {
            let working = work(term.clone());
            tokio::pin!(working);
            tokio::select! {
                outcome = &mut working => outcome,
                () = candidate.lock.lost() => {
                    tracing::error!(lock = candidate.lock.name(),
                        "another evictd has the leader's lock: this one stops and stands by");
                    term.lost.cancel();
                    working.await
                }
            }
        };
        // What it did is over, and who is next need not wait.
        candidate.lock.release().await;
        if shutdown.is_cancelled() || outcome.is_ok() && !term.lost.is_cancelled() {
            return outcome;
        }
        reports.board.stands_by();
        candidate.after(outcome, shutdown).await?;
    }
    Ok(())
}

/// A process that would lead.
struct Candidate<'a> {
    config: &'a Config,
    config_path: &'a Path,
    board: Arc<Board>,
    lock: LeaderLock,
    /// It has waited for another one, or led before: it is needed, and gives up
    /// for nothing that may pass.
    stood_by: bool,
    backoff: Backoff,
}

impl<'a> Candidate<'a> {
    fn new(
        config: &'a Config,
        config_path: &'a Path,
        reports: &Reports,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            config,
            config_path,
            board: Arc::clone(&reports.board),
            lock: LeaderLock::new(preflight::connector(&config.source)?, &config.name),
            stood_by: false,
            backoff: Backoff::new(RETRY_AFTER.0, RETRY_AFTER.1),
        })
    }

    /// Waits for the lock; `None` once `shutdown` comes.
    async fn wait(&mut self, shutdown: &CancellationToken) -> Result<Option<u64>, CommandError> {
        let mut failing = false;
        loop {
            let at_most = match self.stood_by {
                true => ONE_WAIT,
                false => Duration::ZERO,
            };
            let Some(answer) = unless(shutdown, self.lock.take(at_most)).await else {
                return Ok(None);
            };
            match answer {
                Ok(Some(granted_at_ms)) => return Ok(Some(granted_at_ms)),
                Ok(None) if self.stood_by => {
                    self.backoff.reset();
                    if std::mem::take(&mut failing) {
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
                    let Some(fit) = unless(shutdown, Box::pin(self.fits())).await else {
                        return Ok(None);
                    };
                    fit?;
                }
                Err(error) if !self.stood_by => return Err(error.into()),
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot wait for the leader's lock; trying again until it can");
                    }
                    self.pause(shutdown).await;
                }
            }
        }
    }

    /// Refuses at its start what could not take over later.
    async fn fits(&self) -> Result<(), CommandError> {
        let connector = preflight::connector(&self.config.source)?;
        let mut config = self.config.clone();
        preflight::server(&connector, &mut config, self.config_path).await?;
        let target = preflight::redis_target(&self.config.redis)?;
        Redis::new(&target)?.check().await?;
        Ok(())
    }

    /// Whether there is a next turn after one that ended so.
    async fn after(
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
