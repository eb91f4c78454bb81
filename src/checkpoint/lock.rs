//! One daemon for each checkpoint.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checkpoint::CheckpointError;

/// `checkpoint show` holds the lock for a moment, to see whether it is free: a
/// daemon that starts just then waits that moment.
const GLANCE: Duration = Duration::from_millis(10);
const GLANCES: u32 = 10;

/// Held for as long as a process uses a checkpoint. The lock belongs to the
/// open file, so that the system lets go of it however the process ends; the
/// file stays, since removing it would let two processes lock two files of one
/// name.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Whether another process has the lock. Leaves nothing behind.
    pub fn is_taken(path: &Path) -> bool {
        let file = File::open(beside(path));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Takes the lock beside the checkpoint at `path`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Held`] if another process has it.
    pub fn take(path: &Path) -> Result<Self, CheckpointError> {
        let beside = beside(path);
        let io_error = |action, error: std::io::Error| CheckpointError::Io {
            path: beside.display().to_string(),
            action,
            reason: error.to_string(),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&beside)
            .map_err(|error| io_error("open it", error))?;
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
                // Who holds it is good to know and no more.
                file.read_to_string(&mut holder).ok();
                return Err(CheckpointError::Held {
                    path: path.display().to_string(),
                    holder: holder.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io_error("lock it", error)),
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(|error| io_error("write it", error))?;
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
    fn a_checkpoint_belongs_to_one_and_is_free_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.checkpoint.json");
        assert!(!Lock::is_taken(&path));
        let held = Lock::take(&path).unwrap();
        assert!(Lock::is_taken(&path));
        let error = Lock::take(&path).unwrap_err();
        let me = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&me), "{error}");
        drop(held);
        Lock::take(&path).unwrap();
    }
}
