//! The directory of a file.

use std::fs::File;
use std::io;
use std::path::Path;

/// The directory that the file at `path` is in.
pub(crate) fn of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Lets a new, renamed or removed name of the file survive a power loss.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(of(path))?.sync_all()
}
