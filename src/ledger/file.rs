//! Records in a file, one a line, and where the files may be kept.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::durable::line_file::Rotation;
use crate::durable::{self, line_file};

/// How large a file grows before it becomes the old one, of which there is
/// one (Bounded).
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

/// Refuses a directory that is none: that is a mistake in the configuration,
/// while a full disk passes.
///
/// # Errors
///
/// There is no such directory.
pub fn check_directory(dir: &Path) -> Result<(), LedgerError> {
    let found = if dir.as_os_str().is_empty() {
        fs::metadata(".")
    } else {
        fs::metadata(dir)
    };
    match found {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(unusable(dir, "it is no directory")),
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
pub(super) fn read<T: DeserializeOwned>(
    path: &Path,
    mut record: impl FnMut(T),
) -> Result<u64, LedgerError> {
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
