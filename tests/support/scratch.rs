//! Scratch directories that are gone when the process is.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

/// A directory that is removed when dropped, and at the latest when the process has ended.
pub fn scratch(name: &str) -> TempDir {
    static ROOT: LazyLock<Root> = LazyLock::new(Root::new);
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(ROOT.dir.path())
        .expect("a scratch directory can be made")
}

/// The directory of this process, and the process that outlives it to remove it.
///
/// A static is never dropped, and a killed process drops nothing: so a shell waits for the end of its standard
/// input, which comes when this process is gone, however it went, and then removes the directory.
struct Root {
    dir: TempDir,
    /// Holds the write end of the pipe open.
    _remover: Child,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("evictd-")
            .tempdir()
            .expect("a scratch directory can be made");
        let script = "trap '' INT TERM HUP; cat; tries=100; until rm -rf \"$1\" || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done";
        let remover = Command::new("sh")
            .args(["-c", script, "remover"])
            .arg(dir.path())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be run");
        Self {
            dir,
            _remover: remover,
        }
    }
}
