//! What must be on record: gaps, and dead letters (Retried or reported).
//!
//! Two files of JSON lines beside the checkpoint, each appended to and synced:
//!
//! - `<name>.gaps.jsonl`: where changes were lost, from where to where, and
//!   whether everything that they may have touched is invalidated by now.
//! - `<name>.dead-letters.jsonl`: what cannot be done however often it is
//!   tried.
//!
//! Invalidations never wait for a record. One that cannot be written is kept
//! in memory, logged, counted and tried again.

pub mod entry;
mod file;
mod journal;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use self::entry::{BinlogPlace, DeadLetter, Gap};
use self::entry::{GapEvent, GapId};
pub use self::file::{LedgerError, check_directory};
use self::journal::Journal;
pub use self::journal::WriteFailure;
use crate::telemetry::metric;

/// How many of the newest records are kept in memory, for the status.
const RECENT_MAX: usize = 20;

/// Where an evictd of this name keeps its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerFiles {
    /// Gaps.
    pub gaps: PathBuf,
    /// Dead letters.
    pub dead_letters: PathBuf,
}

impl LedgerFiles {
    /// The files in `dir` for the configuration called `name`.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self {
            gaps: dir.join(format!("{name}.gaps.jsonl")),
            dead_letters: dir.join(format!("{name}.dead-letters.jsonl")),
        }
    }

    /// Reads what is on record.
    ///
    /// # Errors
    ///
    /// A file is there and cannot be read. Lines that are no records are
    /// skipped and counted: a crash can leave half a line behind.
    pub async fn read(&self) -> Result<LedgerSummary, LedgerError> {
        let Self { gaps, dead_letters } = self.clone();
        file::blocking(move || {
            let mut book = LedgerSummary::default();
            book.unreadable += file::read(&gaps, |event| book.gap(event))?;
            let mut count = 0;
            let mut recent = VecDeque::new();
            book.unreadable += file::read(&dead_letters, |letter| {
                count += 1;
                keep_recent(&mut recent, letter);
            })?;
            (book.dead_letters, book.recent_dead_letters) = (count, recent);
            Ok(book)
        })
        .await
    }
}

/// What is on record: how much, and the newest of it.
#[derive(Clone, Debug, Default)]
pub struct LedgerSummary {
    /// How many gaps.
    pub gaps: u64,
    /// The newest of them, oldest first.
    pub recent_gaps: VecDeque<Gap>,
    /// How many dead letters.
    pub dead_letters: u64,
    /// The newest of them, oldest first.
    pub recent_dead_letters: VecDeque<DeadLetter>,
    /// Lines that are no records.
    pub unreadable: u64,
}

impl LedgerSummary {
    fn gap(&mut self, event: GapEvent) {
        match event {
            GapEvent::Begun(gap) => {
                // The position did not pass it, so that it was met again.
                for before in &mut self.recent_gaps {
                    before.repeated |= before.is_open() && before.from == gap.from;
                }
                self.gaps += 1;
                keep_recent(&mut self.recent_gaps, gap);
            }
            GapEvent::Halted(mut gap) => {
                gap.halted = true;
                self.gaps += 1;
                keep_recent(&mut self.recent_gaps, gap);
            }
            GapEvent::Done { id, at } => {
                let gap = self.recent_gaps.iter_mut().find(|gap| gap.id == id);
                if let Some(gap) = gap {
                    gap.done_at = Some(at);
                }
            }
        }
    }

    fn dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters += 1;
        keep_recent(&mut self.recent_dead_letters, letter);
    }
}

fn keep_recent<T>(recent: &mut VecDeque<T>, newest: T) {
    recent.push_back(newest);
    if recent.len() > RECENT_MAX {
        recent.pop_front();
    }
}

/// The records of one daemon. Cloning gives another handle to the same.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    book: Arc<Mutex<LedgerSummary>>,
    journals: Option<Arc<Journals>>,
}

#[derive(Debug)]
struct Journals {
    files: LedgerFiles,
    gaps: Journal,
    dead_letters: Journal,
}

impl Ledger {
    /// Counts, and keeps nothing on disk: for what must touch nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Reads what is on record and appends to it from now on. Records that
    /// cannot be read are said and left alone: they must not keep a daemon
    /// from its work.
    pub async fn open(dir: &Path, name: &str) -> Self {
        let files = LedgerFiles::new(dir, name);
        let ledger = Self {
            book: Arc::default(),
            journals: Some(Arc::new(Journals {
                gaps: Journal::start("gaps", files.gaps.clone()),
                dead_letters: Journal::start("dead-letters", files.dead_letters.clone()),
                files,
            })),
        };
        ledger.reread().await;
        ledger
    }

    /// Reads once more what is on record: while this process stood by, another
    /// one wrote there. Nothing may be about to be written.
    pub async fn reread(&self) {
        let Some(journals) = &self.journals else {
            return;
        };
        let book = journals.files.read().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger cannot be read; what happens from now on is added to it");
            LedgerSummary::default()
        });
        if book.unreadable > 0 {
            tracing::warn!(
                lines = book.unreadable,
                "the ledger has lines that are no records; they are left as they are"
            );
        }
        *self.lock() = book;
    }

    /// What is on record, what is about to be included.
    pub fn book(&self) -> LedgerSummary {
        self.lock().clone()
    }

    /// Since when records cannot be written, and why.
    pub fn trouble(&self) -> Option<WriteFailure> {
        let journals = self.journals.as_ref()?;
        journals
            .gaps
            .trouble()
            .or_else(|| journals.dead_letters.trouble())
    }

    /// Everything between two places is lost and about to be invalidated as a
    /// whole. [`Ledger::gap_done`] closes it.
    pub fn gap_begun(&self, from: BinlogPlace, to: BinlogPlace, reason: &str) -> GapId {
        let gap = Gap::new(from, Some(to), reason);
        let id = gap.id;
        self.write_gap(GapEvent::Begun(gap));
        id
    }

    /// What the gap may have touched is invalidated, and the checkpoint has
    /// passed it.
    pub fn gap_done(&self, id: GapId) {
        let at = Timestamp::now();
        self.write_gap(GapEvent::Done { id, at });
    }

    /// The daemon ends because of a gap. A service manager may start it again
    /// and again: the same gap is put on record once.
    pub fn halted(&self, from: BinlogPlace, reason: &str) {
        let known = {
            let book = self.lock();
            let last = book.recent_gaps.back();
            last.is_some_and(|gap| gap.halted && gap.from == from && gap.reason == reason)
        };
        if !known {
            self.write_gap(GapEvent::Halted(Gap::new(from, None, reason)));
        }
    }

    fn write_gap(&self, event: GapEvent) {
        if let Some(journals) = &self.journals {
            journals.gaps.append(std::slice::from_ref(&event));
        }
        self.lock().gap(event);
    }

    /// Something cannot be done. Does not wait for the disk.
    pub fn dead_letter(&self, letter: DeadLetter) {
        self.dead_letters(vec![letter]);
    }

    /// The same for many at once.
    pub fn dead_letters(&self, letters: Vec<DeadLetter>) {
        letters.iter().for_each(count);
        if let Some(journals) = &self.journals {
            journals.dead_letters.append(&letters);
        }
        let mut book = self.lock();
        letters
            .into_iter()
            .for_each(|letter| book.dead_letter(letter));
    }

    /// Waits until everything is on disk, but no longer than `within`.
    pub async fn flush(&self, within: Duration) {
        let Some(journals) = &self.journals else {
            return;
        };
        let both = async {
            journals.gaps.flush().await;
            journals.dead_letters.flush().await;
        };
        if tokio::time::timeout(within, both).await.is_err() {
            tracing::error!(
                within_s = within.as_secs_f64(),
                "the ledger could not be written before the end; its last records are in this log only"
            );
        }
    }

    /// Locked for moments, never across an await.
    fn lock(&self) -> MutexGuard<'_, LedgerSummary> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(letter: &DeadLetter) {
    metrics::counter!(metric::DEAD_LETTERS, "reason" => letter.reason.clone()).increment(1);
}

#[cfg(test)]
mod tests;
