//! Files that are not binlogs or cannot be read.

use std::path::PathBuf;

/// A file of which nothing, or nothing more, can be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Opening or reading failed.
    #[error("{}: {reason}", path.display())]
    Io {
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
    #[error("{} is not a binlog file: {reason}", path.display())]
    NotBinlog {
        path: PathBuf,
        /// The fault, and what to do.
        reason: &'static str,
    },
}
