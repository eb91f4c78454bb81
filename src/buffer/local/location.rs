//! Where the file is: by its path, as positions name it, and whether the path still
//! leads to the file that is open.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};

use crate::durable::directory;
use crate::model::BufferMark;

/// The path as positions name it, wherever the process was started.
pub(super) fn named(path: &Path) -> String {
    let absolute = path::absolute(path);
    let absolute = absolute.unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}

/// Whether a queue was in use at this path when a position was `stored`. One of an
/// earlier version does not say at which.
pub(super) fn was_in_use(path: &Path, stored: Option<&BufferMark>) -> bool {
    match stored {
        Some(BufferMark::File { path: at, .. }) => at.as_ref().is_none_or(|at| *at == named(path)),
        Some(BufferMark::Queue(_)) | None => false,
    }
}

/// The target of the path, if it is a symbolic link into a directory that does not
/// exist.
pub(super) fn dangling(path: &Path) -> Option<PathBuf> {
    let target = fs::read_link(path).ok()?;
    let there = directory::of(path).join(&target);
    (fs::metadata(path).is_err() && !directory::of(&there).is_dir()).then_some(target)
}

/// A file that is open, as the system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    descriptor: RawFd,
}

impl FileIdentity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            descriptor: file.as_raw_fd(),
        })
    }

    /// Says that the path does not lead to this file any more, with the cost and the
    /// remedy; `None` if it does. `messages` wait in the file.
    pub(super) fn displaced(self, path: &Path, messages: u64) -> Option<String> {
        let (happened, first) = match fs::metadata(path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => return None,
            Ok(_) => (
                "another file took its place",
                "move away what is there now, then ",
            ),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                ("it was removed, or moved away", "")
            }
            // Nothing is known of it now.
            Err(_) => return None,
        };
        let (path, process, descriptor) = (path.display(), std::process::id(), self.descriptor);
        Some(format!(
            "buffer {path}: {happened} while evictd has it open. What waits in the open file is sent still (messages: \
             {messages}), but once evictd ends that file is gone: what waits then is lost, and the next start \
             invalidates every path that any rule covers. To keep it, {first}`kill -STOP {process}`, \
             `cp /proc/{process}/fd/{descriptor} {path}`, `kill -KILL {process}`, and start evictd; do not restart it before"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_told_from_one_that_leads_to_the_open_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.redb");
        let file = File::create(&path).unwrap();
        let open = FileIdentity::of(&file).unwrap();
        assert_eq!(open.displaced(&path, 0), None);
        let aside = directory.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        let gone = open.displaced(&path, 7).unwrap();
        assert!(gone.contains("was removed"), "{gone}");
        assert!(gone.contains("messages: 7"), "{gone}");
        fs::write(&path, "").unwrap();
        let replaced = open.displaced(&path, 0).unwrap();
        assert!(replaced.contains("another file"), "{replaced}");
        fs::rename(&aside, &path).unwrap();
        assert_eq!(open.displaced(&path, 0), None, "it is back");
    }

    #[test]
    fn a_position_says_at_which_path_a_queue_was_in_use() {
        let mark = |path: Option<&str>| BufferMark::File {
            opening: "a".to_owned(),
            next: 1,
            path: path.map(str::to_owned),
        };
        for (stored, expected) in [
            (None, false),
            (Some(BufferMark::Queue("https://sqs".to_owned())), false),
            (Some(mark(Some("/var/lib/evictd/other.redb"))), false),
            (Some(mark(Some("/var/lib/evictd/queue.redb"))), true),
            (Some(mark(None)), true),
        ] {
            let found = was_in_use(Path::new("/var/lib/evictd/queue.redb"), stored.as_ref());
            assert_eq!(found, expected, "{stored:?}");
        }
    }
}
