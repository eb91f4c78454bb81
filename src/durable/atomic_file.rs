//! A file that is read, replaced and removed as a whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::directory;

/// Refuses what is not a file, before it is opened: that may wait for ever, as at a
/// named pipe, or do anything, as at a device.
pub(crate) fn refuse_special(path: &Path) -> io::Result<()> {
    let kind = match fs::metadata(path) {
        Ok(found) if !found.is_file() => found.file_type(),
        // Whoever opens it says what is wrong.
        _ => return Ok(()),
    };
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        format!("{what} is there, and not a file"),
    ))
}

/// Reads the whole file; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    refuse_special(path)?;
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the file, or makes it. A crash leaves the old or the new content,
/// and once this returns, the new one survives a power loss.
///
/// The bytes go to another file, which is then renamed. That file is synced
/// before, so that the name never leads to missing bytes; the directory is
/// synced after, so that the rename lasts.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new()
        .prefix(".evictd-")
        .tempfile_in(directory::of(path))?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    directory::sync(path)
}

/// Writes as much as a replacement of `bytes` bytes would, and takes it away again.
///
/// # Errors
///
/// The file could not be replaced now: its disk is full, say.
pub(crate) fn try_replacing(path: &Path, bytes: usize) -> io::Result<()> {
    nameless(path)?.write_all(&vec![0; bytes])
}

/// Makes a file beside this one that has no name, and goes with whoever holds it.
pub(crate) fn nameless(path: &Path) -> io::Result<File> {
    tempfile::tempfile_in(directory::of(path))
}

/// Renames a damaged file to the first free one of `NAME.damaged-1`, `-2`, …, for
/// whoever wants to look at it, and returns that name.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = (1_u32..)
        .map(|number| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".damaged-{number}"));
            PathBuf::from(name)
        })
        .find(|name| !name.exists())
        .ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(path, &aside)?;
    directory::sync(path)?;
    Ok(aside)
}

/// Removes the file for good; `false` if there is no such file.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => directory::sync(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_removed_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        assert_eq!(read(&path).unwrap(), None);
        assert!(!remove(&path).unwrap());
        for content in ["old", "", "new"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), content.as_bytes());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(remove(&path).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("directory");
        fs::create_dir(&path).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
        replace(&path, b"new").unwrap_err();
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
