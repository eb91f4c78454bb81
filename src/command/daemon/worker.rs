//! One turn, from the configuration that it begins with to its end.

use std::path::Path;

use super::display::Display;
use super::inheritance;
use super::reload::{Done, Reload, Takeover};
use super::turn::{Checked, Term};
use crate::buffer::Sender;
use crate::cli::Role;
use crate::command::CommandError;
use crate::command::misfits::Misfits;
use crate::command::shutdown::unless;
use crate::config::Config;
use crate::progress::board::Component;

/// What the turns of a process share.
pub(super) struct Worker<'a> {
    pub(super) config_path: &'a Path,
    pub(super) role: Role,
    /// The configuration in use.
    pub(super) config: Config,
    pub(super) display: Display,
    pub(super) reload: Reload,
    /// Whether the position is there that a leader before has stored.
    pub(super) inherited: bool,
    /// Numbers what is sent.
    pub(super) sender: Sender,
    /// Whether a turn has begun to work.
    pub(super) has_worked: bool,
    /// Is told once the configuration of the reload that the turn began with is
    /// in use, or that it is not.
    pub(super) taken_over: Option<Done>,
}

impl Worker<'_> {
    /// Works one turn: checks the configuration, unless `takeover` brings a checked
    /// one, opens the parts, and runs them.
    ///
    /// Returns the configuration that the next turn is to begin with, if `reread`
    /// asks to read the file again and it holds another one. Then this turn has
    /// not begun.
    pub(super) async fn turn(
        &mut self,
        takeover: Option<Takeover>,
        reread: bool,
        term: &Term,
    ) -> Result<Option<Takeover>, CommandError> {
        if reread && takeover.is_none() {
            let again = Box::pin(self.reload.again(&self.config.text));
            match until(term, again).await {
                Some(None) => {}
                Some(Some(takeover)) => return Ok(Some(takeover)),
                None => return Ok(None),
            }
        }
        let taken_over = match takeover {
            Some(takeover) => Some(Box::pin(self.take_over(takeover)).await?),
            None => None,
        };
        let inherited = Box::pin(inheritance::is_there(
            &self.config,
            self.role,
            term.superseded,
        ));
        let Some(inherited) = until(term, inherited).await.transpose()? else {
            return Ok(None);
        };
        self.inherited = inherited;
        let worked_before = |error: CommandError| {
            if inherited {
                error.of_what_worked_before()
            } else {
                error
            }
        };
        let mut checked = match taken_over {
            Some(checked) => checked,
            None => {
                let checked = until(term, self.check(inherited)).await.transpose();
                match checked.map_err(worked_before)? {
                    Some(checked) => checked,
                    None => return Ok(None),
                }
            }
        };
        let refused = until(term, Box::pin(checked.refuse_another_source()));
        if refused.await.transpose()?.is_none() {
            return Ok(None);
        }
        for misfit in &checked.misfits {
            tracing::error!(
                "a rule does not fit the tables as they are, and widens wherever it does not: {misfit}; correct the rule or the table, then send SIGHUP"
            );
        }
        self.display.misfits(std::mem::take(&mut checked.misfits));
        let reports = self.display.reports();
        let opening = until(
            term,
            Box::pin(checked.open(term, &reports, self.sender.clone())),
        );
        let Some(opened) = opening.await.transpose().map_err(worked_before)? else {
            return Ok(None);
        };
        if let Some(done) = self.taken_over.take() {
            done.send(Ok(opened.position)).ok();
        }
        self.has_worked = true;
        let board = self.display.reports().board;
        board.recovered(&Component::Leadership);
        opened.work.await.map(|()| None)
    }

    /// Checks the configuration in use. Where a leader has stored a position, it
    /// has worked before, and rules that do not fit any more hold nothing up.
    pub(super) async fn check(&self, inherited: bool) -> Result<Checked, CommandError> {
        let misfits = if inherited {
            Misfits::Degraded
        } else {
            Misfits::Refused
        };
        let checking = Checked::new(self.config.clone(), self.config_path, self.role, misfits);
        Box::pin(checking).await
    }

    /// Begins with the configuration of a reload.
    async fn take_over(&mut self, takeover: Takeover) -> Result<Checked, CommandError> {
        let Takeover {
            checked,
            listener,
            done,
        } = takeover;
        self.taken_over = Some(done);
        self.display
            .show(&self.config, &checked.config, listener)
            .await?;
        if self.config.buffer.is_some() && self.config.buffer != checked.config.buffer {
            tracing::warn!(
                "[buffer] is another one now: paths that wait in the previous one do not go to CloudFront, and every path that any rule covers is invalidated instead"
            );
        }
        self.config.clone_from(&checked.config);
        Ok(checked)
    }

    /// Shows and keeps the configuration of before a reload, whose own could not
    /// be opened.
    pub(super) async fn give_back(&mut self, before: Config) -> Result<(), CommandError> {
        let listener = self.display.bind(&before).await.ok().flatten();
        self.display.show(&self.config, &before, listener).await?;
        self.config = before;
        Ok(())
    }
}

/// The outcome of `starting`, or `None` if the term ends first.
async fn until<T>(term: &Term, starting: impl Future<Output = T>) -> Option<T> {
    unless(&term.lost, unless(&term.shutdown, starting))
        .await
        .flatten()
}
