//! Retried or reported: keys that the cache refuses for good.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Refused;
use crate::telemetry::metric;

/// The shortest time between two log lines: a wrong account refuses every key.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts refused keys, and logs the first of them every [`LOG_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct Refusals {
    logged_at: Option<Instant>,
    /// Since the last log line.
    unlogged: usize,
}

impl Refusals {
    pub(super) fn report(&mut self, refused: &[Refused]) {
        for it in refused {
            metrics::counter!(metric::CACHE_KEYS_REFUSED, "error" => it.code).increment(1);
        }
        self.unlogged += refused.len();
        let Some(first) = refused.first().filter(|_| self.is_due()) else {
            return;
        };
        tracing::error!(
            key = %String::from_utf8_lossy(&first.key),
            error = first.code,
            reason = first.reason,
            keys = std::mem::take(&mut self.unlogged),
            "the cache refuses keys for good: they stay as they are, and everything else goes on"
        );
        self.logged_at = Some(Instant::now());
    }

    fn is_due(&self) -> bool {
        self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL)
    }
}
