//! Work on files in async code.

use std::io;

/// Runs `work` on a thread that may block.
///
/// Cancelling the future does not stop work that has begun.
///
/// # Errors
///
/// The work panicked. Its own errors are in its return value.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}
