//! What this machine's drains have had invalidated lately, on disk.
//!
//! A drain that is killed leaves messages behind whose invalidations are made.
//! Its successor reads here what they cover, and so do other drains of the same
//! machine: without a call, of which CloudFront grants few. What was made on
//! other machines, or in the moment before a record was written, is in
//! CloudFront's own list.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::durable::{self, DirectoryLock, atomic_file, line_file};

/// Messages of a drain that was killed come back after their visibility
/// timeout, and those that its successor did not finish after another.
const KEPT_FOR_TIMEOUTS: u32 = 4;
const KEPT_FOR_MIN: Duration = Duration::from_secs(15 * 60);

/// The quota grants a few megabytes in a quarter of an hour. Beyond this the
/// oldest records go first (Bounded).
const BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// A file is worth cleaning up when it has doubled, and not below this.
const CLEANED_FROM_BYTES: u64 = 1_024 * 1_024;

/// Room that is left on the disk for the checkpoint, which is replaced as a
/// whole. The set of GTIDs makes it more than a few hundred bytes.
const CHECKPOINT_BYTES: usize = 64 * 1_024;

/// An invalidation that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The distribution's name in the configuration.
    pub distribution: String,
    /// The tenant, for one of a tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The invalidation's id.
    pub id: String,
    /// What names the request.
    pub caller_reference: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// Its paths.
    pub paths: Vec<String>,
}

/// Why something could not be put on record, or read.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} the record of invalidations {path}: {reason}; \
     check that its disk has room and that evictd's user may write to the directory"
)]
pub struct HistoryError {
    path: String,
    action: &'static str,
    reason: String,
}

/// The record of one configuration's drains on this machine.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// `None`: nothing is kept.
    file: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    kept_for: Duration,
    /// The file's size after it was last cleaned up by this process.
    clean_bytes: Mutex<u64>,
}

impl History {
    /// Keeps nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Keeps it in the file at `path`, which need not be there yet, for as long
    /// as messages with this visibility timeout may come back.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub async fn open_file(
        path: impl Into<PathBuf>,
        visibility: Duration,
    ) -> Result<Self, HistoryError> {
        let kept = Arc::new(Kept {
            path: path.into(),
            kept_for: KEPT_FOR_MIN.max(visibility.saturating_mul(KEPT_FOR_TIMEOUTS)),
            clean_bytes: Mutex::default(),
        });
        let history = Self {
            file: Some(Arc::clone(&kept)),
        };
        blocking(&kept.path, "clean up", {
            let kept = Arc::clone(&kept);
            move || {
                let lock = DirectoryLock::take(&kept.path)?;
                match kept.clean_up(&lock) {
                    Err(error) if is_full(&error) => kept.give_room_back(&lock),
                    cleaned => cleaned,
                }
            }
        })
        .await?;
        Ok(history)
    }

    /// Puts an invalidation on record.
    ///
    /// # Errors
    ///
    /// It is not on record. A successor finds it in the edge's own list.
    pub async fn made(&self, past: Past) -> Result<(), HistoryError> {
        let Some(kept) = self.file.clone() else {
            return Ok(());
        };
        let path = kept.path.clone();
        blocking(&path, "write", move || kept.append(&past)).await
    }

    /// Reads what is on record for a distribution, from the beginning on.
    pub fn reader(&self, distribution: &str) -> Reader {
        let path = self.file.as_ref().map(|kept| kept.path.clone());
        Reader {
            distribution: distribution.into(),
            path,
            place: Arc::default(),
        }
    }
}

impl Kept {
    fn append(&self, past: &Past) -> io::Result<()> {
        let mut line = serde_json::to_vec(past)?;
        line.push(b'\n');
        let lock = DirectoryLock::take(&self.path)?;
        // Not synced: it is the process that gets killed. After a power cut
        // the edge's own list is asked.
        let appended = line_file::append(&self.path, &line, &lock).and_then(|bytes| {
            if bytes > CLEANED_FROM_BYTES.max(self.clean_bytes().saturating_mul(2)) {
                self.clean_up(&lock)?;
            }
            atomic_file::try_replacing(&self.path, CHECKPOINT_BYTES)
        });
        if let Err(error) = &appended
            && is_full(error)
        {
            self.give_room_back(&lock)?;
        }
        appended
    }

    /// Empties the file. The checkpoint may be on the same disk, and without it
    /// evictd makes no progress; what the record held is in the edge's own list.
    fn give_room_back(&self, lock: &DirectoryLock) -> io::Result<()> {
        line_file::empty(&self.path, lock)?;
        *self.clean_bytes() = 0;
        Ok(())
    }

    fn clean_bytes(&self) -> MutexGuard<'_, u64> {
        self.clean_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what is too old to matter. The lock has to be held.
    fn clean_up(&self, _lock: &DirectoryLock) -> io::Result<()> {
        let Some(bytes) = atomic_file::read(&self.path)? else {
            return Ok(());
        };
        let kept_for = SignedDuration::try_from(self.kept_for).unwrap_or(SignedDuration::MAX);
        let oldest = Timestamp::now().checked_sub(kept_for);
        let oldest = oldest.unwrap_or(Timestamp::MIN);
        let mut kept: VecDeque<&[u8]> = VecDeque::new();
        let mut size = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // What is no record is half a line that a crash left behind.
            if past(line).is_some_and(|past| past.at >= oldest) {
                kept.push_back(line);
                size += line.len();
            }
        }
        while size > BYTES_MAX {
            size -= kept.pop_front().map_or(size, <[u8]>::len);
        }
        if size != bytes.len() {
            let kept: Vec<u8> = kept.into_iter().flatten().copied().collect();
            atomic_file::replace(&self.path, &kept)?;
        }
        *self.clean_bytes() = u64::try_from(size).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// Reads what was added since it read last.
#[derive(Clone, Debug)]
pub struct Reader {
    distribution: Arc<str>,
    path: Option<PathBuf>,
    place: Arc<Mutex<ReadUpTo>>,
}

/// How far a file was read. It is held open, so that no other file can take its
/// number.
#[derive(Debug, Default)]
struct ReadUpTo {
    file: Option<File>,
    offset: u64,
}

impl Reader {
    /// What was put on record since the last call, by whichever process. Some
    /// of it may have been returned before.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn news(&self) -> Result<Vec<Past>, HistoryError> {
        let Some(path) = self.path.clone() else {
            return Ok(Vec::new());
        };
        let (distribution, place) = (Arc::clone(&self.distribution), Arc::clone(&self.place));
        blocking(&path.clone(), "read", move || {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = place.read_on(&path)?;
            let lines = bytes.split(|byte| *byte == b'\n');
            let pasts = lines.filter_map(past);
            Ok(pasts
                .filter(|past| *past.distribution == *distribution)
                .collect())
        })
        .await
    }
}

impl ReadUpTo {
    /// Whole lines from here on.
    fn read_on(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let found = match path.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let known = match &self.file {
            Some(file) => file.metadata()?.ino() == found.ino() && found.len() >= self.offset,
            None => false,
        };
        if !known {
            *self = Self {
                file: Some(File::open(path)?),
                offset: 0,
            };
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)?;
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |last| last + 1));
        self.offset += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(bytes)
    }
}

fn past(line: &[u8]) -> Option<Past> {
    serde_json::from_slice(line).ok()
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, HistoryError> {
    durable::blocking(work)
        .await
        .flatten()
        .map_err(|error| HistoryError {
            path: path.display().to_string(),
            action,
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests;
