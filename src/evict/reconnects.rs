//! The pace of reconnects to the source.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::progress::backoff::Backoff;
use crate::telemetry::metric;

/// A connection that ends sooner counts as a failed attempt. Two readers with
/// one server_id, for example, both connect and are thrown out at once, for
/// ever.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// A reader that is thrown out twice within this time shares its server_id with
/// another; once may be a hand-over.
const CLASH_WITHIN: Duration = Duration::from_secs(60);

/// The record of the connections so far.
#[derive(Debug)]
pub(super) struct Reconnects {
    backoff: Backoff,
    connected_at: Instant,
    /// Whether the last connection broke so soon that the next one has to wait.
    hasty: bool,
    /// When the server last ended the connection for another replica with the
    /// same id.
    replaced_at: Option<Instant>,
}

impl Default for Reconnects {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            connected_at: Instant::now(),
            hasty: false,
            replaced_at: None,
        }
    }
}

impl Reconnects {
    /// The number of attempts since the last steady connection.
    pub(super) fn attempts(&self) -> u32 {
        self.backoff.attempts()
    }

    pub(super) fn connected(&mut self) {
        self.connected_at = Instant::now();
    }

    /// The connection broke.
    pub(super) fn broke(&mut self) {
        self.hasty = self.connected_at.elapsed() < STEADY_AFTER;
        if !self.hasty {
            self.backoff.reset();
        }
    }

    /// Waits before the first attempt, if the last connection was a short one.
    pub(super) async fn pause_if_hasty(&mut self, shutdown: &CancellationToken) {
        if std::mem::take(&mut self.hasty) {
            self.pause(shutdown).await;
        }
    }

    /// Waits before the next attempt.
    pub(super) async fn pause(&mut self, shutdown: &CancellationToken) {
        let delay = tokio::time::sleep(self.backoff.next_delay());
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = delay => {}
        }
    }

    /// Notes that another replica took this one's place. Once may be an evictd
    /// that takes over; twice is a replica that reconnects as this one does.
    pub(super) fn replaced(&mut self, server_id: u32) {
        let before = self.replaced_at.replace(Instant::now());
        if before.is_some_and(|before| before.elapsed() < CLASH_WITHIN) {
            metrics::counter!(metric::SERVER_ID_CLASHES).increment(1);
            tracing::error!(
                server_id,
                "another replica connects with the same server_id, and the two throw each other out: \
                 give one of them another source.server_id (SHOW REPLICAS on the server lists who has which)"
            );
        }
    }
}
