//! The files of records, one record a line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::record::{GapEvent, LetterEvent, Redrive};
use super::summary::LedgerSummary;
use crate::durable::line_file::Rotation;
use crate::durable::{self, line_file};

/// Size at which a file becomes the old one, of which there is one (Bounded).
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("ledger {path}: cannot {action}: {reason}; {remedy}")]
pub struct LedgerError {
    path: String,
    action: &'static str,
    reason: String,
    remedy: &'static str,
}

impl LedgerError {
    fn io(path: &Path, action: &'static str, error: &io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            action,
            reason: error.to_string(),
            remedy: "check that its disk has room and that evictd's user may use the file",
        }
    }
}

/// The files in which an evictd of one name keeps its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerFiles {
    /// `<name>.gaps.jsonl`.
    pub gaps: PathBuf,
    /// `<name>.dead-letters.jsonl`.
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

    /// Reads what is on record. Lines that are not records are skipped and
    /// counted: a crash can leave half a line behind.
    ///
    /// # Errors
    ///
    /// A file exists and cannot be read.
    pub async fn read(&self) -> Result<LedgerSummary, LedgerError> {
        let Self { gaps, dead_letters } = self.clone();
        blocking(move || {
            let mut summary = LedgerSummary::default();
            let of_gaps = read(&gaps, |event: GapEvent| summary.add_gap(event))?;
            let of_letters = read(&dead_letters, |event: LetterEvent| {
                summary.add_letter_event(event);
            })?;
            summary.unreadable = of_gaps + of_letters;
            Ok(summary)
        })
        .await
    }

    /// Puts on record that all dead letters of before `at` were made messages again, or
    /// that they were `missed`: the buffer held none.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub async fn redriven(&self, at: Timestamp, missed: bool) -> Result<(), LedgerError> {
        let path = self.dead_letters.clone();
        let redrive = Redrive {
            redriven_at: at,
            of: None,
            missed,
        };
        blocking(move || {
            let mut line = serde_json::to_vec(&redrive)
                .map_err(|error| LedgerError::io(&path, "write it", &error.into()))?;
            line.push(b'\n');
            append(&path, &line).map(|_| ())
        })
        .await
    }
}

/// Refuses a directory that does not exist: that is a mistake in the
/// configuration, while a full disk passes.
///
/// # Errors
///
/// The path does not lead to a directory.
pub fn check_directory(dir: &Path) -> Result<(), LedgerError> {
    let found = if dir.as_os_str().is_empty() {
        fs::metadata(".")
    } else {
        fs::metadata(dir)
    };
    match found {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(unusable(dir, "it is not a directory")),
        Err(error) => Err(unusable(dir, &error.to_string())),
    }
}

fn unusable(dir: &Path, reason: &str) -> LedgerError {
    LedgerError {
        path: dir.display().to_string(),
        action: "be kept there",
        reason: reason.to_owned(),
        remedy: "make the directory, or set ledger.dir",
    }
}

/// Reads every record, those of the old file first. Returns how many lines are
/// not records.
fn read<T: DeserializeOwned>(path: &Path, mut record: impl FnMut(T)) -> Result<u64, LedgerError> {
    let mut unreadable = 0;
    let each = |line: &[u8]| match serde_json::from_slice(line) {
        Ok(value) => record(value),
        Err(_) if line.trim_ascii().is_empty() => {}
        Err(_) => unreadable += 1,
    };
    line_file::read_rotated(path, 2 * FILE_BYTES_MAX, each)
        .map_err(|error| LedgerError::io(path, "read it", &error))?;
    Ok(unreadable)
}

/// Appends whole lines and syncs them.
pub(super) fn append(path: &Path, lines: &[u8]) -> Result<Rotation, LedgerError> {
    line_file::append_rotated(path, lines, FILE_BYTES_MAX)
        .map_err(|error| LedgerError::io(path, "write it", &error))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    durable::blocking(work)
        .await
        .unwrap_or_else(|panicked| Err(LedgerError::io(Path::new("?"), "be used", &panicked)))
}
