//! The ledger as the tasks of a daemon use it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::files::LedgerFiles;
use super::journal::{Journal, WriteFailure};
use super::record::{BinlogPlace, DeadLetter, Gap, GapEvent, GapId, Redrive};
use super::summary::LedgerSummary;
use crate::telemetry::metric;

/// The records of one daemon. Cloning gives another handle to the same.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    summary: Arc<Mutex<LedgerSummary>>,
    journals: Option<Arc<Journals>>,
}

#[derive(Debug)]
struct Journals {
    files: LedgerFiles,
    gaps: Journal,
    dead_letters: Journal,
}

impl Ledger {
    /// A ledger that counts and keeps nothing on disk, for commands that must
    /// change nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Reads what is on record, and appends to it from now on. Records that
    /// cannot be read are logged and left alone: they must not keep a daemon
    /// from its work.
    pub async fn open(dir: &Path, name: &str) -> Self {
        let files = LedgerFiles::new(dir, name);
        let ledger = Self {
            summary: Arc::default(),
            journals: Some(Arc::new(Journals {
                gaps: Journal::start("gaps", files.gaps.clone()),
                dead_letters: Journal::start("dead-letters", files.dead_letters.clone()),
                files,
            })),
        };
        ledger.reread().await;
        ledger
    }

    /// Reads what is on record once more: while this process stood by, another
    /// process may have written there. No record of this process may be waiting
    /// to be written.
    pub async fn reread(&self) {
        let Some(journals) = &self.journals else {
            return;
        };
        let summary = journals.files.read().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger cannot be read; records from now on are appended to it");
            LedgerSummary::default()
        });
        if summary.unreadable > 0 {
            tracing::warn!(
                lines = summary.unreadable,
                "the ledger has lines that are not records; they are left as they are"
            );
        }
        *self.lock() = summary;
    }

    /// The records, including those that wait to be written.
    pub fn summary(&self) -> LedgerSummary {
        self.lock().clone()
    }

    /// Why records cannot be written, and since when.
    pub fn write_failure(&self) -> Option<WriteFailure> {
        let journals = self.journals.as_ref()?;
        journals
            .gaps
            .failure()
            .or_else(|| journals.dead_letters.failure())
    }

    /// Records that the changes between two places are lost, and that everything
    /// they may have touched is about to be invalidated. [`Ledger::gap_done`]
    /// closes the gap.
    pub fn gap_begun(&self, from: BinlogPlace, to: BinlogPlace, reason: &str) -> GapId {
        let gap = Gap::new(from, Some(to), reason);
        let id = gap.id;
        self.write_gap(GapEvent::Begun(gap));
        id
    }

    /// Records that everything which the gap may have touched is invalidated, and
    /// that the checkpoint has passed it.
    pub fn gap_done(&self, id: GapId) {
        let at = Timestamp::now();
        self.write_gap(GapEvent::Done { id, at });
    }

    /// Records that the daemon ends because of a gap. A service manager may start
    /// it again and again: the same gap is put on record once.
    pub fn halted(&self, from: BinlogPlace, reason: &str) {
        let known = {
            let summary = self.lock();
            let last = summary.recent_gaps.back();
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
        self.lock().add_gap(event);
    }

    /// Records something that cannot be done. Does not wait for the disk.
    pub fn dead_letter(&self, letter: DeadLetter) {
        self.dead_letters(vec![letter]);
    }

    /// Records many dead letters at once.
    pub fn dead_letters(&self, letters: Vec<DeadLetter>) {
        letters.iter().for_each(count);
        if let Some(journals) = &self.journals {
            journals.dead_letters.append(&letters);
        }
        let mut summary = self.lock();
        letters
            .into_iter()
            .for_each(|letter| summary.add_dead_letter(letter));
    }

    /// An operator made a message with these paths one of the buffer again, which was a
    /// dead letter until `at`.
    pub fn redriven(&self, distribution: &str, paths: &[String], at: Timestamp) {
        let redrive = Redrive {
            redriven_at: at,
            of: Some((distribution.to_owned(), paths.to_vec())),
            missed: false,
        };
        if self.lock().redrive(&redrive)
            && let Some(journals) = &self.journals
        {
            journals.dead_letters.append(&[redrive]);
        }
    }

    /// Waits until every record is on disk, but no longer than `within`.
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
                "the ledger could not be written before the process ends; its last records are in this log only"
            );
        }
    }

    /// Locks the summary for a moment, never across an await.
    fn lock(&self) -> MutexGuard<'_, LedgerSummary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(letter: &DeadLetter) {
    metrics::counter!(metric::DEAD_LETTERS, "reason" => letter.reason.clone()).increment(1);
}
