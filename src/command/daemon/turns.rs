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

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::candidate::{Candidate, Waited, lock};
use super::display::Display;
use super::reload::Takeover;
use super::turn::{Checked, Term};
use crate::cli::Role;
use crate::command::CommandError;
use crate::command::shutdown::unless;
use crate::config::Config;

/// The turns of a process.
pub(super) struct Turns<'a> {
    config_path: &'a Path,
    role: Role,
    display: Display,
    reloads: mpsc::Receiver<Takeover>,
    /// The configuration that the next turn begins with, after a reload.
    takeover: Option<Takeover>,
    /// Whether a turn has begun to work.
    has_worked: bool,
    shutdown: CancellationToken,
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
        display: Display,
        reloads: mpsc::Receiver<Takeover>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            config_path,
            role,
            display,
            reloads,
            takeover: None,
            has_worked: false,
            shutdown,
        }
    }

    /// Works whenever this process leads, until the shutdown, or until a
    /// failure that does not pass.
    pub(super) async fn run(mut self, mut config: Config) -> Result<(), CommandError> {
        // Any number of drains may work at once, but only one reader of a
        // checkpoint.
        if self.role == Role::Drain {
            return match Box::pin(self.turns(&mut config, pending(), 0)).await {
                Ended::Shutdown(outcome) | Ended::Lost(outcome) => outcome,
                Ended::Failed(error) => Err(error),
                Ended::Moved => Ok(()),
            };
        }
        let board = Arc::clone(&self.display.reports().board);
        let mut candidate = Candidate::new(&config, Arc::clone(&board))?;
        while let Some(granted_at_ms) = self.wait(&mut candidate, &mut config).await? {
            if candidate.stood_by {
                tracing::info!(
                    lock = candidate.lock.name(),
                    "no other evictd leads: taking over"
                );
                self.display.reports().ledger.reread().await;
            }
            board.leads();
            let lost = candidate.lock.lost();
            let ended = Box::pin(self.turns(&mut config, lost, granted_at_ms)).await;
            candidate.stood_by |= self.has_worked;
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
            board.stands_by();
            candidate.waits = true;
            self.take_over_without_a_turn(&mut candidate, &mut config)
                .await?;
            candidate.after(outcome, &self.shutdown).await?;
        }
        Ok(())
    }

    /// Waits for the lock, and takes over reloads meanwhile; `None` once the
    /// shutdown comes.
    async fn wait(
        &mut self,
        candidate: &mut Candidate,
        config: &mut Config,
    ) -> Result<Option<u64>, CommandError> {
        loop {
            let taken = tokio::select! {
                taken = candidate.wait(&self.shutdown) => taken?,
                Some(takeover) = self.reloads.recv(), if self.takeover.is_none() => {
                    self.replace_while_waiting(takeover, candidate, config).await?;
                    continue;
                }
            };
            match taken {
                Waited::Granted(granted_at_ms) => return Ok(Some(granted_at_ms)),
                Waited::Shutdown => return Ok(None),
                Waited::StandsBy => {
                    self.take_over_without_a_turn(candidate, config).await?;
                    if self.has_worked {
                        // Its configuration has proved itself, or its reload has.
                        continue;
                    }
                    // A standby that could not take over later is refused now.
                    let checking = Checked::new(config.clone(), self.config_path, self.role);
                    let checked = unless(&self.shutdown, Box::pin(checking)).await;
                    if checked.transpose()?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes over a configuration that was to come with the next turn, now that
    /// another process has the next turn.
    async fn take_over_without_a_turn(
        &mut self,
        candidate: &mut Candidate,
        config: &mut Config,
    ) -> Result<(), CommandError> {
        match self.takeover.take() {
            Some(takeover) => {
                self.replace_while_waiting(takeover, candidate, config)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Takes over a reload in a process that does not lead.
    async fn replace_while_waiting(
        &mut self,
        takeover: Takeover,
        candidate: &mut Candidate,
        config: &mut Config,
    ) -> Result<(), CommandError> {
        let Takeover {
            checked,
            listener,
            done,
        } = takeover;
        let wanted = checked.config;
        match self.display.show(config, &wanted, listener).await {
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
    async fn turns(
        &mut self,
        config: &mut Config,
        lost: impl Future<Output = ()>,
        granted_at_ms: u64,
    ) -> Ended {
        tokio::pin!(lost);
        loop {
            let term = Term {
                process: self.shutdown.clone(),
                reload: CancellationToken::new(),
                shutdown: self.shutdown.child_token(),
                lost: CancellationToken::new(),
                granted_at_ms,
            };
            let before = config.clone();
            let mut taken_over = None;
            let outcome = {
                let (takeover, reloads) = (self.takeover.take(), &mut self.reloads);
                let working = one_turn(
                    &mut self.display,
                    (self.config_path, self.role),
                    config,
                    takeover,
                    &mut taken_over,
                    &mut self.has_worked,
                    &term,
                );
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
                        Some(next) = reloads.recv(), if self.takeover.is_none() => {
                            self.takeover = Some(next);
                            term.reload.cancel();
                            term.shutdown.cancel();
                        }
                    }
                }
            };
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
                    let listener = self.display.bind(&before).await.ok().flatten();
                    if let Err(error) = self.display.show(config, &before, listener).await {
                        return Ended::Failed(error);
                    }
                    *config = before;
                    refused.send(Err(error)).ok();
                    continue;
                }
                (Err(error), None) => return Ended::Failed(error),
                (Ok(()), _) => {}
            }
            match &self.takeover {
                Some(next)
                    if self.role != Role::Drain
                        && !next.checked.config.source.connects_like(&config.source) =>
                {
                    return Ended::Moved;
                }
                Some(_) => {}
                None => return Ended::Shutdown(Ok(())),
            }
        }
    }
}

/// Works one turn: checks the configuration, unless `takeover` brings a checked
/// one, opens the parts, and runs them. `taken_over` holds the reload's channel
/// until its configuration is in use.
async fn one_turn(
    display: &mut Display,
    (config_path, role): (&Path, Role),
    config: &mut Config,
    takeover: Option<Takeover>,
    taken_over: &mut Option<oneshot::Sender<Result<Option<String>, CommandError>>>,
    has_worked: &mut bool,
    term: &Term,
) -> Result<(), CommandError> {
    let checked = match takeover {
        Some(Takeover {
            checked,
            listener,
            done,
        }) => {
            *taken_over = Some(done);
            display.show(config, &checked.config, listener).await?;
            if config.buffer.is_some() && config.buffer != checked.config.buffer {
                tracing::warn!(
                    "[buffer] is another one now: paths that wait in the previous one go to CloudFront only once evictd runs with it again"
                );
            }
            config.clone_from(&checked.config);
            checked
        }
        None => {
            let checking = Checked::new(config.clone(), config_path, role);
            match until(term, Box::pin(checking)).await.transpose()? {
                Some(checked) => checked,
                None => return Ok(()),
            }
        }
    };
    let reports = display.reports();
    let opening = checked.open(term, &reports);
    let Some(opened) = until(term, Box::pin(opening)).await.transpose()? else {
        return Ok(());
    };
    if let Some(done) = taken_over.take() {
        done.send(Ok(opened.position)).ok();
    }
    *has_worked = true;
    opened.work.await
}

/// The outcome of `starting`, or `None` if the term ends first.
async fn until<T>(term: &Term, starting: impl Future<Output = T>) -> Option<T> {
    unless(&term.lost, unless(&term.shutdown, starting))
        .await
        .flatten()
}
