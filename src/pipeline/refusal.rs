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
        // Not among the arguments: nobody may be listening, and then they are not evaluated.
        let keys = std::mem::take(&mut self.unlogged);
        tracing::error!(
            key = %String::from_utf8_lossy(&first.key),
            error = first.code,
            reason = first.reason,
            keys,
            "the cache refuses keys for good: they stay as they are, and everything else goes on"
        );
        self.logged_at = Some(Instant::now());
    }

    fn is_due(&self) -> bool {
        self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(count: usize) -> Vec<Refused> {
        let one = Refused {
            key: b"user:1".to_vec(),
            code: "no-permission",
            reason: "NOPERM".to_owned(),
        };
        vec![one; count]
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_line_every_ten_seconds_with_the_number_of_keys() {
        let mut refusals = Refusals::default();
        refusals.report(&[]);
        assert_eq!(refusals.logged_at, None, "nothing happened");
        refusals.report(&refused(3));
        assert!(refusals.logged_at.is_some());
        assert_eq!(refusals.unlogged, 0, "the first is logged at once");
        for _ in 0..100 {
            refusals.report(&refused(2));
        }
        assert_eq!(refusals.unlogged, 200);
        tokio::time::advance(LOG_INTERVAL).await;
        refusals.report(&refused(1));
        assert_eq!(refusals.unlogged, 0);
    }
}
