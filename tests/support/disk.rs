//! A tiny file system for evictd's files, which can be full.
//!
//! A `tmpfs` in a mount namespace of its own needs no privileges where user namespaces are allowed. evictd runs in
//! that namespace; the harness looks into it through `/proc`.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{EvictdOptions, Process};

/// No run lasts longer.
const HOLD_SECONDS: &str = "14400";

/// The file system, or a plain directory where there can be none.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    /// Keeps the namespace.
    holder: Option<Process>,
}

impl Disk {
    /// With room for `size`, as `mount` has it.
    pub async fn mount(scratch: &Path, size: &str) -> Self {
        let directory = scratch.join("disk");
        std::fs::create_dir(&directory).unwrap();
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && touch \"$2/mounted\" && \
                      exec setpriv --pdeathsig KILL sleep \"$3\"";
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .args(["disk", size])
            .arg(&directory)
            .arg(HOLD_SECONDS);
        let mut disk = Self {
            holder: Some(Process::spawn("disk", &command, scratch)),
            directory,
        };
        let mounted = |disk: &mut Self| {
            let ended = disk
                .holder
                .as_mut()
                .is_none_or(|holder| holder.exited().is_some());
            (ended, disk.path().join("mounted").exists())
        };
        loop {
            match mounted(&mut disk) {
                (true, _) => {
                    disk.holder = None;
                    return disk;
                }
                (false, true) => return disk,
                (false, false) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Whether it can be full.
    pub fn is_tiny(&self) -> bool {
        self.holder.is_some()
    }

    /// As evictd sees it.
    pub fn inside(&self) -> &Path {
        &self.directory
    }

    /// As the harness sees it.
    pub fn path(&self) -> PathBuf {
        match &self.holder {
            Some(holder) => {
                let root = PathBuf::from(format!("/proc/{}/root", holder.pid()));
                root.join(self.directory.strip_prefix("/").unwrap())
            }
            None => self.directory.clone(),
        }
    }

    /// Runs a program where the file system is.
    pub fn on_it(&self, mut options: EvictdOptions) -> EvictdOptions {
        if let Some(holder) = &self.holder {
            let pid = holder.pid().to_string();
            let enter = ["-t", &pid, "-U", "-m", "--preserve-credentials", "--"];
            let again = ["setpriv", "--pdeathsig", "KILL", "--"];
            let mut args: Vec<String> = [&enter[..], &again[..]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect();
            args.push(options.binary.display().to_string());
            args.append(&mut options.args);
            options.binary = "nsenter".into();
            options.args = args;
        }
        options
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        let mut filler = std::fs::File::create(self.path().join("filler")).unwrap();
        let full = loop {
            if let Err(error) = filler.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Gives it back.
    pub fn empty(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

/// Zeroes the pages of a file that hold `text`, in place, as a disk that lies does.
pub fn zero_pages(path: &Path, text: &str) {
    let bytes = std::fs::read(path).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    for (number, page) in (0..).zip(bytes.chunks(4096)) {
        if page.windows(text.len()).any(|part| part == text.as_bytes()) {
            file.write_all_at(&vec![0; page.len()], number * 4096)
                .unwrap();
        }
    }
}
