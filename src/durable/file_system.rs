//! Whether a file system outlives the machine or the container.

use std::io;
use std::path::Path;

use super::directory;

/// The magic numbers of file systems that go with their machine or container
/// (Linux manual, statfs(2)).
const FLEETING: [(u64, &str); 3] = [
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlayfs"),
];

/// The name of the file system that the file at `path` is on, if that goes with
/// the machine or the container. The file need not exist.
pub(crate) fn fleeting(path: &Path) -> io::Result<Option<&'static str>> {
    let found = u64::try_from(rustix::fs::statfs(directory::of(path))?.f_type).unwrap_or(0);
    let known = FLEETING.iter().find(|(magic, _)| *magic == found);
    Ok(known.map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_does_not_last_and_processes_are_no_container() {
        let on = |path: &str| fleeting(Path::new(path));
        assert_eq!(on("/dev/shm/queue.redb").unwrap(), Some("tmpfs"));
        assert_eq!(on("/proc/queue.redb").unwrap(), None);
        assert!(on("/nonexistent/evictd/queue.redb").is_err());
    }
}
