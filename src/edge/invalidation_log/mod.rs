//! The invalidations that the drains of this machine have made lately, on disk.
//!
//! A drain that is killed leaves messages behind whose invalidations are made.
//! Its successor, and other drains of the same machine, read here which paths
//! they cover. That takes no calls to CloudFront, which allows few. Invalidations
//! that other machines made, or that were made in the moment before a record was
//! written, are in CloudFront's own list.
//!
//! - `tests`: several processes, torn lines, and what is dropped.

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

/// Visibility timeouts for which records are kept. The messages of a drain that
/// was killed come back after one, and those that its successor did not finish
/// after another.
const KEPT_FOR_TIMEOUTS: u32 = 4;
const KEPT_FOR_MIN: Duration = Duration::from_secs(15 * 60);

/// Size beyond which the oldest records are dropped (Bounded). The quota allows a
/// few megabytes in a quarter of an hour.
const BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// Size from which a file is cleaned up each time that it has doubled.
const CLEANED_FROM_BYTES: u64 = 1_024 * 1_024;

/// Room that is left on the disk for the checkpoint, which is replaced as a
/// whole. The set of GTIDs makes it more than a few hundred bytes.
const CHECKPOINT_BYTES: usize = 64 * 1_024;

/// An invalidation that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The distribution's name in the configuration.
    pub distribution: String,
    /// The tenant, for an invalidation of a tenant's paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The id of the invalidation.
    pub id: String,
    /// The caller reference of the request.
    pub caller_reference: String,
    /// Time at which it was accepted.
    pub at: Timestamp,
    /// The paths.
    pub paths: Vec<String>,
}

/// Why the record cannot be written or read.
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

/// The record that the drains of one configuration keep on this machine.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// `None` if nothing is kept.
    file: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    kept_for: Duration,
    /// The size of the file after this process last cleaned it up.
    clean_bytes: Mutex<u64>,
}

impl History {
    /// A record that keeps nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// A record in the file at `path`, which need not exist yet. It keeps
    /// invalidations for as long as messages with this visibility timeout may come
    /// back.
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
    /// The invalidation is not on record. A successor finds it in the edge's own
    /// list.
    pub async fn made(&self, past: Past) -> Result<(), HistoryError> {
        let Some(kept) = self.file.clone() else {
            return Ok(());
        };
        let path = kept.path.clone();
        blocking(&path, "write", move || kept.append(&past)).await
    }

    /// A reader of what is on record for a distribution, from its beginning on.
    pub fn reader(&self, distribution: &str) -> Reader {
        let path = self.file.as_ref().map(|kept| kept.path.clone());
        Reader {
            distribution: distribution.into(),
            path,
            read_up_to: Arc::default(),
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

    /// Drops records that are too old to matter.
    fn clean_up(&self, _lock: &DirectoryLock) -> io::Result<()> {
        let Some(bytes) = atomic_file::read(&self.path)? else {
            return Ok(());
        };
        let kept_for = SignedDuration::try_from(self.kept_for).unwrap_or(SignedDuration::MAX);
        let oldest = Timestamp::now()
            .checked_sub(kept_for)
            .unwrap_or(Timestamp::MIN);
        let mut kept: VecDeque<&[u8]> = VecDeque::new();
        let mut size = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // A line that is not a record was torn by a crash.
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

/// Reads records that were added since it last read.
#[derive(Clone, Debug)]
pub struct Reader {
    distribution: Arc<str>,
    path: Option<PathBuf>,
    read_up_to: Arc<Mutex<ReadUpTo>>,
}

/// The place up to which a file was read. The file is held open, so that no other
/// file can get its inode number.
#[derive(Debug, Default)]
struct ReadUpTo {
    file: Option<File>,
    offset: u64,
}

impl Reader {
    /// Invalidations that any process put on record since the last call. Some may
    /// have been returned before.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn news(&self) -> Result<Vec<Past>, HistoryError> {
        let Some(path) = self.path.clone() else {
            return Ok(Vec::new());
        };
        let distribution = Arc::clone(&self.distribution);
        let read_up_to = Arc::clone(&self.read_up_to);
        blocking(&path.clone(), "read", move || {
            let bytes = read_up_to
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read_on(&path)?;
            Ok(bytes
                .split(|byte| *byte == b'\n')
                .filter_map(past)
                .filter(|past| *past.distribution == *distribution)
                .collect())
        })
        .await
    }
}

impl ReadUpTo {
    /// Reads whole lines from here on. A file that is another one by now, or
    /// shorter, is read from its beginning.
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
