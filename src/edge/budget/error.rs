//! Why the counts could not be read or written.

/// Why the counts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file or its directory.
    #[error(
        "cannot {action} the budget file {path}: {reason}; \
         check that the directory exists and evictd's user may write to it"
    )]
    Io {
        /// The file.
        path: String,
        /// The operation that failed.
        action: &'static str,
        /// The system's words.
        reason: String,
    },
    /// It holds something else.
    #[error(
        "the budget file {path} is damaged ({reason}); \
         a drain sets it aside when it starts or counts, and an earlier copy of it can be put back"
    )]
    Malformed {
        /// The file.
        path: String,
        /// The fault found in it.
        reason: String,
    },
}
