//! A file of lines: appended to, synced, bounded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

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
    match fs::metadata(dir_or_here(dir)) {
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

fn dir_or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    }
}

/// Reads every record, the old file's first. Returns how many lines are none.
pub(super) fn read<T: DeserializeOwned>(
    path: &Path,
    mut record: impl FnMut(T),
) -> Result<u64, LedgerError> {
    let mut unreadable = 0;
    for path in [&old(path), path] {
        let failed = |error: &io::Error| LedgerError::io(path, "read it", error);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&error)),
        };
        // What is no regular file, `/dev/full` say, may never end.
        let mut lines = BufReader::new(file.take(2 * FILE_BYTES_MAX));
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .map_err(|error| failed(&error))?
            > 0
        {
            match serde_json::from_slice(&line) {
                Ok(value) => record(value),
                Err(_) if line.trim_ascii().is_empty() => {}
                Err(_) => unreadable += 1,
            }
            line.clear();
        }
    }
    Ok(unreadable)
}

/// What an append did besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// Nothing.
    Only,
    /// The file was full and is the old one now; what was old before is gone.
    Rotated,
}

/// Appends whole lines and syncs them. The file is opened for every append:
/// it may have been moved away, and appends are rare.
pub(super) fn append(path: &Path, lines: &[u8], bytes_max: u64) -> Result<Appended, LedgerError> {
    try_append(path, lines, bytes_max).map_err(|error| LedgerError::io(path, "write it", &error))
}

fn try_append(path: &Path, lines: &[u8], bytes_max: u64) -> io::Result<Appended> {
    // Several drains of one machine share the file: two that find it full must
    // not both move it away. The lock ends with the handle.
    let directory = File::open(dir_or_here(path.parent().unwrap_or(Path::new(""))))?;
    directory.lock()?;
    let mut appended = Appended::Only;
    let known = match fs::metadata(path) {
        Ok(found) if found.len() > 0 && found.len() + size(lines) > bytes_max => {
            fs::rename(path, old(path))?;
            appended = Appended::Rotated;
            false
        }
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    if known && ends_within_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)?;
    file.sync_data()?;
    if !known {
        directory.sync_all()?;
    }
    Ok(appended)
}

/// A crash or a full disk left half a line: the next record begins after it.
fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// The file that was full.
fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn size(lines: &[u8]) -> u64 {
    u64::try_from(lines.len()).unwrap_or(u64::MAX)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panicked| {
            Err(LedgerError::io(
                Path::new("?"),
                "be used",
                &io::Error::other(panicked),
            ))
        })
}
