//! A lock that the processes of a machine take for moments.

use std::fs::File;
use std::io;
use std::path::Path;

use super::directory;

/// Keeps the other processes of this machine, and other threads of this one,
/// from files of one directory until it is dropped.
///
/// The lock is on the directory itself, so that it leaves no file behind.
/// Taking it twice in one thread waits for ever.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Waits for the lock of the directory that the file at `path` is in.
    pub(crate) fn take(path: &Path) -> io::Result<Self> {
        let directory = File::open(directory::of(path))?;
        directory.lock()?;
        Ok(Self {
            _directory: directory,
        })
    }
}
