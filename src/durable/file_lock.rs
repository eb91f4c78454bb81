//! A lock that one process holds for as long as it runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::room::is_full;

/// [`FileLock::is_taken`] holds the lock for a moment. A process that takes the
/// lock just then waits for that moment to pass.
const GLANCE: Duration = Duration::from_millis(10);
const GLANCES: u32 = 10;

/// The exclusive use of a file.
///
/// What is locked is another file beside it, whose name ends in `.lock` and
/// which names the process. The lock belongs to the open file, so that the system
/// releases it however the process ends. The lock file stays, because removing it
/// would let two processes lock two files of one name.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

/// Why a lock cannot be taken.
#[derive(Debug)]
pub(crate) enum FileLockError {
    /// Another process holds it, with this id if that is known.
    Held { holder: Option<u32> },
    Io {
        lock_file: PathBuf,
        action: &'static str,
        error: io::Error,
    },
}

impl FileLock {
    /// Whether another process has the lock of the file at `path`. Leaves
    /// nothing behind.
    pub(crate) fn is_taken(path: &Path) -> bool {
        File::open(beside(path))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Takes the lock of the file at `path`, which need not exist.
    pub(crate) fn take(path: &Path) -> Result<Self, FileLockError> {
        let lock_file = beside(path);
        let failed = |action, error| FileLockError::Io {
            lock_file: lock_file.clone(),
            action,
            error,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_file)
            .map_err(|error| failed("open it", error))?;
        let mut attempt = file.try_lock();
        for _ in 0..GLANCES {
            if !matches!(attempt, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(GLANCE);
            attempt = file.try_lock();
        }
        match attempt {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder is for the message only.
                file.read_to_string(&mut holder).ok();
                return Err(FileLockError::Held {
                    holder: holder.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock it", error)),
        }
        // For the message of others only: a full disk has no room for it.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })
            .map_err(|error| failed("write it", error))?;
        Ok(Self { _file: file })
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_one_process_and_is_free_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.checkpoint.json");
        assert!(!FileLock::is_taken(&path));
        let held = FileLock::take(&path).unwrap();
        assert!(FileLock::is_taken(&path));
        let error = FileLock::take(&path).unwrap_err();
        let own = std::process::id();
        assert!(
            matches!(error, FileLockError::Held { holder: Some(id) } if id == own),
            "{error:?}"
        );
        drop(held);
        FileLock::take(&path).unwrap();
    }
}
