//! The rate at which the edge may be called.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most calls that an idle time saves up.
const BURST: f64 = 3.0;

/// A token bucket that all distributions of an account share: CloudFront
/// throttles by account, at a rate that it does not publish.
#[derive(Debug)]
pub struct RateLimit {
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimit {
    /// A full bucket. A rate of zero or less counts as one call a minute.
    pub fn new(per_second: f64) -> Self {
        Self {
            per_second: per_second.max(1.0 / 60.0),
            bucket: Mutex::new(Bucket {
                tokens: BURST,
                at: Instant::now(),
            }),
        }
    }

    /// Waits for this caller's turn. Cancelling gives the turn away.
    pub async fn turn(&self) {
        tokio::time::sleep(self.reserve(Instant::now())).await;
    }

    /// Time that this many calls take.
    pub fn time_of(&self, calls: u32) -> Duration {
        Duration::from_secs_f64(f64::from(calls) / self.per_second)
    }

    fn reserve(&self, now: Instant) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.tokens = (bucket.tokens + gained).min(BURST) - 1.0;
        bucket.at = now;
        let missing = (-bucket.tokens).max(0.0);
        Duration::from_secs_f64(missing / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_keep_to_the_rate_once_what_was_saved_up_is_spent() {
        let rate_limit = RateLimit::new(2.0);
        let start = Instant::now();
        for _ in 0..3 {
            rate_limit.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            rate_limit.turn().await;
        }
        assert_eq!(start.elapsed().as_secs(), 5);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let later = Instant::now();
        for _ in 0..5 {
            rate_limit.turn().await;
        }
        assert_eq!(
            later.elapsed().as_secs(),
            1,
            "an idle hour saves up three calls"
        );
    }
}
