//! Why the file cannot be used.

use std::io;
use std::path::Path;

use crate::durable;

/// Why the record cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} the record of invalidations {path}: {reason}; \
     check that its disk has room and that evictd's user may write to the directory"
)]
pub struct HistoryError {
    path: String,
    action: &'static str,
    reason: String,
}

/// Works on the file at `path` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, HistoryError> {
    durable::blocking(work)
        .await
        .flatten()
        .map_err(|error| HistoryError {
            path: path.display().to_string(),
            action,
            reason: error.to_string(),
        })
}
