//! The file kept open: it is opened again after an error, compared with how far it
//! had come, and replaced when it is damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Error, WriteTransaction};
use tokio::sync::watch;

use super::checksum::seal;
use super::file::{self, MESSAGES, NEXT, NUMBERS, OPENINGS, SoundFile};
use super::location;
use super::openings::Opening;
use crate::durable::{atomic_file, is_full};
use crate::model::cast::to_u64;
use crate::model::{BufferMark, BufferState, CommitTime};

/// The file of a queue.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    /// Whether a queue was in use here before: another file in its place is damage.
    was_in_use: bool,
    /// Closed after an I/O error: `redb` then refuses everything until the
    /// file is opened again.
    file: Option<SoundFile>,
    /// Whether the newest opening is this one. It is drawn with its first message.
    has_drawn: bool,
    /// Numbers before it were given out by this process, in whatever file.
    given_out: u64,
    /// The mark that the file has to go on from.
    mark: Option<BufferMark>,
    state: watch::Sender<BufferState>,
    reopened: Option<Reopened>,
}

/// A file that was opened again, compared with the one of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reopened {
    /// The one of before, as it was.
    Same,
    /// Another file, or an earlier copy.
    Another,
}

impl KeptFile {
    /// A file on a full disk is opened by the first use that finds room.
    pub(super) fn open(path: &Path, was_in_use: bool) -> Result<Self, Error> {
        let mut kept = Self {
            path: path.to_owned(),
            was_in_use,
            file: None,
            has_drawn: false,
            given_out: 0,
            mark: None,
            state: watch::Sender::new(BufferState::default()),
            reopened: None,
        };
        match kept.ensure_open() {
            Err(Error::Io(error)) if is_full(&error) => Ok(kept),
            opened => opened.map(|()| kept),
        }
    }

    /// The state of the messages, which is told to whoever asked for it.
    pub(super) fn state(&self) -> watch::Sender<BufferState> {
        self.state.clone()
    }

    /// Compares the file with how far it had come, once it is open.
    pub(super) fn continue_from(&mut self, stored: BufferMark) {
        if self.state.borrow().losses > 0 {
            // That stands for whatever was accepted before.
            return;
        }
        self.mark = Some(stored);
        self.compare();
        self.publish();
    }

    /// The number of messages in it.
    pub(super) fn held(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.held)
    }

    /// Why the open file is not where the next start looks for it, if it is not.
    pub(super) fn displaced(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        file.opened.displaced(&self.path, file.held)
    }

    /// The id of the message with this number.
    pub(super) fn id(&self, sequence: u64) -> Arc<str> {
        let file = self.file.as_ref();
        file.map_or_else(Arc::default, |file| file.openings.id(sequence))
    }

    /// What was found since the last call, if the file was opened since.
    pub(super) fn reopened(&mut self) -> Option<Reopened> {
        self.reopened.take()
    }

    /// Stores bodies under the next numbers, in one durable transaction. `bodies`
    /// may take them from elsewhere in the file.
    pub(super) fn append<T>(
        &mut self,
        bodies: impl FnOnce(&WriteTransaction) -> Result<(Vec<String>, T), Error>,
    ) -> Result<T, Error> {
        self.ensure_open()?;
        let at_least = self.given_out.max(CommitTime::now().micros());
        let identity = (!self.has_drawn).then(rand::random::<u128>);
        let (stored, drawn, next, answer) = self.write(|transaction| {
            let (bodies, answer) = bodies(transaction)?;
            let mut messages = transaction.open_table(MESSAGES)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let from = file::next_number(&numbers)?;
            let drawn = identity.filter(|_| !bodies.is_empty());
            if let Some(identity) = drawn {
                transaction.open_table(OPENINGS)?.insert(from, identity)?;
            }
            let mut next = from.max(at_least);
            for body in &bodies {
                messages.insert(next, seal(next, body.as_bytes()).as_slice())?;
                next = next.checked_add(1).ok_or_else(|| {
                    Error::Corrupted("the sequence numbers are used up".to_owned())
                })?;
            }
            numbers.insert(NEXT, u128::from(next))?;
            let drawn = drawn.map(|identity| Opening { from, identity });
            Ok((to_u64(bodies.len()), drawn, next, answer))
        })?;
        self.has_drawn |= drawn.is_some();
        self.given_out = next;
        if let Some(file) = &mut self.file {
            file.openings.extend(drawn);
            file.next = next;
            file.held = file.held.saturating_add(stored);
        }
        self.publish();
        Ok(answer)
    }

    /// Takes in that so many messages were deleted.
    pub(super) fn deleted(&mut self, messages: u64) {
        if let Some(file) = &mut self.file {
            file.held = file.held.saturating_sub(messages);
        }
    }

    fn publish(&mut self) {
        if let Some(file) = &self.file {
            self.mark = file.openings.mark(file.next, &location::named(&self.path));
            let mark = self.mark.clone();
            self.state.send_modify(|state| state.mark = mark);
        }
    }

    /// Opens the file if it is not open. A damaged one is set aside, and another
    /// one takes its place.
    pub(super) fn ensure_open(&mut self) -> Result<(), Error> {
        if self.file.is_some() {
            return Ok(());
        }
        match self.opened() {
            Ok(opened) => self.adopt(opened),
            Err(error) => match file::damage(&error, self.was_in_use) {
                Some(damage) => self.replace(&damage)?,
                None => return Err(error),
            },
        }
        Ok(())
    }

    /// Sets the damaged file aside, and makes another one.
    fn replace(&mut self, damage: &str) -> Result<(), Error> {
        let aside = atomic_file::set_aside(&self.path)?;
        let aside = aside.display();
        tracing::error!(
            file = %self.path.display(), damage, %aside,
            "the buffer's file is damaged: it is set aside, and a new one takes its place"
        );
        // It has nothing to go on from.
        self.mark = None;
        self.lost(format!(
            "the buffer's file is damaged ({damage}), and was set aside as {aside}"
        ));
        self.reopened = Some(Reopened::Another);
        self.adopt(file::open(&self.path)?);
        Ok(())
    }

    /// Leaves a file as it is that may be another's.
    fn opened(&self) -> Result<SoundFile, Error> {
        if !self.was_in_use {
            file::examine(&self.path)?;
        }
        file::open(&self.path)
    }

    fn adopt(&mut self, opened: SoundFile) {
        self.file = Some(opened);
        self.has_drawn = false;
        self.was_in_use = true;
        let lost = self.compare();
        self.reopened = match self.reopened {
            Some(Reopened::Another) => self.reopened,
            _ if lost => Some(Reopened::Another),
            _ => Some(Reopened::Same),
        };
        self.publish();
    }

    /// Compares the file, if it is open, with how far it had come. Returns whether
    /// messages are lost.
    fn compare(&mut self) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let mark = self.mark.take();
        let lack = mark.and_then(|mark| file.openings.lacks(file.next, &mark));
        if let Some(lack) = &lack {
            let path = self.path.display();
            self.lost(format!("buffer {path}: {lack}"));
        }
        lack.is_some()
    }

    fn lost(&mut self, reason: String) {
        self.state.send_modify(|state| {
            state.losses += 1;
            state.reason = Some(reason.into());
        });
    }

    /// Does `work` in one transaction, which survives once this returns.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.with_database(|database| {
            let transaction = file::write(database)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    pub(super) fn with_database<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.ensure_open()?;
        let Some(file) = self.file.take() else {
            return Err(Error::DatabaseClosed);
        };
        let worked = AssertUnwindSafe(|| work(&file.database));
        let result = catch_unwind(worked).unwrap_or_else(file::panicked);
        match &result {
            Err(Error::Corrupted(damage)) => {
                catch_unwind(AssertUnwindSafe(|| drop(file))).ok();
                self.replace(damage)?;
            }
            Err(Error::Io(_) | Error::PreviousIo | Error::LockPoisoned(_)) => {}
            _ => self.file = Some(file),
        }
        result
    }
}
