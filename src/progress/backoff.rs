//! Delays between attempts.

use std::time::Duration;

/// Exponential backoff with full jitter.
///
/// The n-th delay is uniform between zero and `min * 2^n`, capped at `max`:
/// processes that failed together do not come back together. It never gives up:
/// the caller also watches for the shutdown.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Delays that begin below `min`, and double up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        // Never zero: a failing loop must not spin.
        let min = min.max(Duration::from_millis(1));
        Self {
            min,
            max: max.max(min),
            attempts: 0,
        }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(rand::random::<f64>())
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Delays given since the start or the last [`reset`](Self::reset).
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    fn ceiling(&self) -> Duration {
        let factor = 2_u32.checked_pow(self.attempts).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let mut backoff = Backoff::new(MIN, MAX);
        let mut ceilings = Vec::new();
        for _ in 0..11 {
            ceilings.push(backoff.ceiling().as_millis());
            backoff.next_delay();
        }
        assert_eq!(
            ceilings,
            [
                100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000
            ]
        );
        assert_eq!(backoff.attempts(), 11);
        backoff.reset();
        assert_eq!((backoff.attempts(), backoff.ceiling()), (0, MIN));
    }

    #[test]
    fn delays_stay_below_the_ceiling_and_differ() {
        let mut backoff = Backoff::new(MIN, MAX);
        let mut delays = Vec::new();
        for _ in 0..10_000 {
            let ceiling = backoff.ceiling();
            let delay = backoff.next_delay();
            assert!(delay <= ceiling);
            delays.push(delay);
        }
        delays.sort();
        delays.dedup();
        assert!(delays.len() > 1_000);
        assert!(delays.first() < Some(&Duration::from_secs(1)));
        assert!(delays.last() > Some(&Duration::from_secs(29)));
    }

    #[test]
    fn a_maximum_below_the_minimum_is_raised_to_it() {
        let mut backoff = Backoff::new(MAX, MIN);
        assert!(backoff.next_delay() <= MAX);
        assert_eq!(backoff.ceiling(), MAX);
        let zero = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(zero.ceiling(), Duration::from_millis(1));
    }
}
