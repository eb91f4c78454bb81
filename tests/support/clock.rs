//! A clock for evictd's process alone, which jumps.
//!
//! `libfaketime` shifts what the C library says the time is, by what stands in a file. The monotonic clock stays
//! as it is: a clock that is set does not change it either.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{provision, scratch};

#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    dir: TempDir,
}

impl Clock {
    /// A clock that goes right. Fetches the library if it is not there yet.
    pub fn new() -> Self {
        let clock = Self {
            library: provision("faketime").into(),
            dir: scratch("clock"),
        };
        clock.set("+0");
        clock
    }

    pub fn env(&self) -> Vec<(String, String)> {
        let file = self.file();
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// By how many seconds it is off, such as `+1`. It shows within a second.
    pub fn set(&self, offset: &str) {
        std::fs::write(self.file(), format!("{offset}\n")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}
