//! Files that the processes of one machine share.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Keeps the other processes out until it is dropped.
///
/// The lock is the directory's, so that no file is left behind for it.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let lock = File::open(directory(path))?;
    lock.lock()?;
    Ok(lock)
}

/// Writes beside the file, then renames, as the checkpoint does.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = directory(path);
    let mut temporary = tempfile::Builder::new()
        .prefix(".evictd-")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// What is in the file; nothing if there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
