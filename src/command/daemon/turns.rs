//! One turn after another. Of all evictds with one name, one leads and has a
//! turn; the others stand by.
//!
//! A turn ends when the process is asked to end, when another process leads, or
//! when a reload (SIGHUP) brings another configuration. In the last case the
//! next turn of this process begins with that configuration, under the same
//! lock. What was in flight has settled, or is read again from the stored
//! position: nothing is lost between two turns, and no part changes while it
//! works.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::candidate::{Candidate, Waited, lock};
use super::display::Display;
use super::inheritance;
use super::reload::{Reload, Takeover};
use super::turn::Term;
use super::worker::Worker;
use crate::buffer::Sender;
use crate::cli::Role;
use crate::command::CommandError;
use crate::command::shutdown::unless;
use crate::config::Config;

/// The turns of a process.
pub(super) struct Turns<'a> {
    worker: Worker<'a>,
    reloads: mpsc::Receiver<Takeover>,
    /// The configuration that the next turn begins with, after a reload.
    takeover: Option<Takeover>,
    shutdown: CancellationToken,
}

/// The way in which the lock was granted.
#[derive(Clone, Copy)]
struct Granted {
    /// When, in ms since the epoch by the source's clock.
    at_ms: u64,
    /// Whether another process may have led until then.
    stood_by: bool,
    /// Whether a later epoch ended this process's last turn.
    superseded: bool,
}

/// The end of the turns under one lock.
enum Ended {
    /// The process was asked to end.
    Shutdown(Result<(), CommandError>),
    /// Another process leads.
    Lost(Result<(), CommandError>),
    /// A turn failed.
    Failed(CommandError),
    /// The next configuration names another source, which has another lock.
    Moved,
}

impl<'a> Turns<'a> {
    pub(super) fn new(
        config_path: &'a Path,
        role: Role,
        (config, display): (Config, Display),
        (reload, reloads): (Reload, mpsc::Receiver<Takeover>),
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            worker: Worker {
                config_path,
                role,
                config,
                display,
                reload,
                inherited: false,
                sender: Sender::begin(),
                has_worked: false,
                taken_over: None,
            },
            reloads,
            takeover: None,
            shutdown,
        }
    }

    /// Works whenever this process leads, until the shutdown, or until a
    /// failure that does not pass.
    pub(super) async fn run(mut self) -> Result<(), CommandError> {
        // Any number of drains may work at once, but only one reader of a
        // checkpoint.
        if self.worker.role == Role::Drain {
            let granted = Granted {
                at_ms: 0,
                stood_by: false,
                superseded: false,
            };
            return match Box::pin(self.turns(pending(), granted)).await {
                Ended::Shutdown(outcome) | Ended::Lost(outcome) => outcome,
                Ended::Failed(error) => Err(error),
                Ended::Moved => Ok(()),
            };
        }
        let board = Arc::clone(&self.worker.display.reports().board);
        let config = &self.worker.config;
        let candidate = Candidate::new(config, Arc::clone(&board));
        let mut candidate = inheritance::judged(config, self.worker.role, candidate).await?;
        loop {
            let waited = Box::pin(self.wait(&mut candidate)).await;
            if let Err(error) = &waited
                && error.is_of_a_server_away()
                && let Ok(true) =
                    inheritance::is_there(&self.worker.config, self.worker.role, false).await
            {
                candidate.stood_by = true;
                candidate.pause(&self.shutdown).await;
                continue;
            }
            let Some(at_ms) =
                inheritance::judged(&self.worker.config, self.worker.role, waited).await?
            else {
                return Ok(());
            };
            if candidate.stood_by {
                tracing::info!(
                    lock = candidate.lock.name(),
                    "no other evictd leads: taking over"
                );
                self.worker.display.reports().ledger.reread().await;
            }
            board.leads();
            let granted = Granted {
                at_ms,
                stood_by: candidate.stood_by,
                superseded: candidate.superseded,
            };
            let lost = candidate.lock.lost();
            let ended = Box::pin(self.turns(lost, granted)).await;
            candidate.stood_by |= self.worker.has_worked;
            // The work is over, and the next leader need not wait.
            candidate.lock.release().await;
            let outcome = match ended {
                Ended::Shutdown(outcome) => return outcome,
                Ended::Lost(outcome) => outcome,
                Ended::Failed(error) => Err(error),
                Ended::Moved => {
                    if let Some(next) = &self.takeover {
                        candidate = Candidate::new(&next.checked.config, Arc::clone(&board))?;
                        candidate.stood_by = true;
                    }
                    // Whether this process leads shows when it asks for the lock.
                    continue;
                }
            };
            // What worked before works again once the server is back.
            candidate.stood_by |= self.worker.inherited
                && outcome
                    .as_ref()
                    .is_err_and(CommandError::is_of_a_server_away);
            let pauses = candidate.after(outcome)?;
            self.take_over_without_a_turn(&mut candidate).await?;
            if pauses {
                candidate.pause(&self.shutdown).await;
            }
        }
    }

    /// Waits for the lock, and takes over reloads meanwhile; `None` once the
    /// shutdown comes.
    async fn wait(&mut self, candidate: &mut Candidate) -> Result<Option<u64>, CommandError> {
        loop {
            let taken = tokio::select! {
                taken = candidate.wait(&self.shutdown) => taken?,
                Some(takeover) = self.reloads.recv(), if self.takeover.is_none() => {
                    self.replace_while_waiting(takeover, candidate).await?;
                    continue;
                }
            };
            match taken {
                Waited::Granted(granted_at_ms) => return Ok(Some(granted_at_ms)),
                Waited::Shutdown => return Ok(None),
                Waited::StandsBy => {
                    self.take_over_without_a_turn(candidate).await?;
                    if self.worker.has_worked {
                        // Its configuration has proved itself, or its reload has.
                        continue;
                    }
                    // A standby that could not take over later is refused now.
                    let shutdown = self.shutdown.clone();
                    let checked = unless(&shutdown, self.check_while_waiting()).await;
                    if checked.transpose()?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    async fn check_while_waiting(&self) -> Result<(), CommandError> {
        let worker = &self.worker;
        let inherited = inheritance::is_there(&worker.config, worker.role, false).await?;
        worker.check(inherited).await?;
        if !inherited {
            inheritance::warn_without(&worker.config);
        }
        Ok(())
    }

    /// Takes over a configuration that was to come with the next turn, now that
    /// another process has the next turn.
    async fn take_over_without_a_turn(
        &mut self,
        candidate: &mut Candidate,
    ) -> Result<(), CommandError> {
        match self.takeover.take() {
            Some(takeover) => self.replace_while_waiting(takeover, candidate).await,
            None => Ok(()),
        }
    }

    /// Takes over a reload in a process that does not lead.
    async fn replace_while_waiting(
        &mut self,
        takeover: Takeover,
        candidate: &mut Candidate,
    ) -> Result<(), CommandError> {
        let Takeover {
            checked,
            listener,
            done,
        } = takeover;
        let wanted = checked.config;
        let worker = &mut self.worker;
        let config = &mut worker.config;
        match worker.display.show(config, &wanted, listener).await {
            Ok(()) => {
                if !wanted.source.connects_like(&config.source) {
                    candidate.lock.release().await;
                    candidate.lock = lock(&wanted)?;
                }
                *config = wanted;
                done.send(Ok(None)).ok();
            }
            Err(error) => {
                done.send(Err(error)).ok();
            }
        }
        Ok(())
    }

    /// Works one turn after another under one lock, until `lost` returns.
    async fn turns(&mut self, lost: impl Future<Output = ()>, granted: Granted) -> Ended {
        tokio::pin!(lost);
        // Another process may have led with a file that is newer than what this
        // one has. A file that is refused is not read again before a reload.
        let mut reread = granted.stood_by;
        loop {
            let term = Term {
                process: self.shutdown.clone(),
                reload: CancellationToken::new(),
                shutdown: self.shutdown.child_token(),
                lost: CancellationToken::new(),
                granted_at_ms: granted.at_ms,
                stood_by: granted.stood_by,
                superseded: granted.superseded,
            };
            let before = self.worker.config.clone();
            let outcome = {
                let working =
                    self.worker
                        .turn(self.takeover.take(), std::mem::take(&mut reread), &term);
                tokio::pin!(working);
                loop {
                    tokio::select! {
                        outcome = &mut working => break outcome,
                        () = &mut lost, if !term.lost.is_cancelled() => {
                            tracing::error!(
                                "another evictd has the leader's lock: this one stops and stands by"
                            );
                            term.lost.cancel();
                        }
                        Some(next) = self.reloads.recv(), if self.takeover.is_none() => {
                            self.takeover = Some(next);
                            term.reload.cancel();
                            term.shutdown.cancel();
                        }
                    }
                }
            };
            let taken_over = self.worker.taken_over.take();
            let outcome = outcome.map(|next| {
                // A reload that came meanwhile is newer.
                self.takeover = self.takeover.take().or(next);
            });
            let lost = term.lost.is_cancelled();
            if self.shutdown.is_cancelled() {
                return Ended::Shutdown(outcome);
            }
            match (outcome, taken_over) {
                (outcome, taken_over) if lost => {
                    // In use by a standby, then.
                    if let Some(done) = taken_over {
                        done.send(Ok(None)).ok();
                    }
                    return Ended::Lost(outcome);
                }
                // The previous configuration works, and stays in use.
                (Err(error), Some(refused)) => {
                    if let Err(error) = self.worker.give_back(before).await {
                        return Ended::Failed(error);
                    }
                    refused.send(Err(error)).ok();
                    continue;
                }
                (Err(error), None) => return Ended::Failed(error),
                (Ok(()), _) => {}
            }
            match &self.takeover {
                Some(next)
                    if self.worker.role != Role::Drain
                        && !next
                            .checked
                            .config
                            .source
                            .connects_like(&self.worker.config.source) =>
                {
                    return Ended::Moved;
                }
                Some(_) => {}
                None => return Ended::Shutdown(Ok(())),
            }
        }
    }
}
