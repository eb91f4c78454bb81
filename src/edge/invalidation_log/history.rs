//! The file, appended to and cleaned up.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::error::{HistoryError, blocking};
use super::past::Past;
use super::reader::Reader;
use crate::durable::{DirectoryLock, atomic_file, is_full, line_file};

/// Visibility timeouts for which records are kept. The messages of a drain that
/// was killed come back after one, and those that its successor did not finish
/// after another.
const KEPT_FOR_TIMEOUTS: u32 = 4;
const KEPT_FOR_MIN: Duration = Duration::from_secs(15 * 60);

/// Size beyond which the oldest records are dropped (Bounded). The quota allows a
/// few megabytes in a quarter of an hour.
const BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// Size from which a file is cleaned up each time that it has doubled.
pub(super) const CLEANED_FROM_BYTES: u64 = 1_024 * 1_024;

/// Room that is left on the disk for the checkpoint, which is replaced as a
/// whole. The set of GTIDs makes it more than a few hundred bytes.
const CHECKPOINT_BYTES: usize = 64 * 1_024;

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

    /// A reader of what is on record for the distribution with this id, from its
    /// beginning on.
    pub fn reader(&self, distribution: &str) -> Reader {
        Reader::new(
            distribution,
            self.file.as_ref().map(|kept| kept.path.clone()),
        )
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
            if Past::parse(line).is_some_and(|past| past.at >= oldest) {
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
