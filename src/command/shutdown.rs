//! The shutdown that an operator or a service manager asks for.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Time that work in flight may take after SIGTERM: less than the 30 s after
/// which ECS kills a task, and the 90 s of systemd.
pub(super) const GRACE: Duration = Duration::from_secs(20);

/// Time that the last records of the ledger may take after the grace period.
pub(super) const LEDGER_GRACE: Duration = Duration::from_secs(2);

/// A token that the first SIGTERM or SIGINT cancels.
pub(super) fn on_signal() -> std::io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "finishing what is in flight");
        token.cancel();
    });
    Ok(shutdown)
}

/// The outcome of `starting`, or `None` if `shutdown` comes first. A dependency
/// that does not answer must not keep a daemon from ending.
pub(super) async fn unless<T>(
    shutdown: &CancellationToken,
    starting: impl Future<Output = T>,
) -> Option<T> {
    shutdown.run_until_cancelled(starting).await
}
