//! The pace of a scan, by the latency that it causes.
//!
//! A server does one thing at a time. What a step of a scan takes beyond an idle
//! round trip is what it takes from others, who may have to wait for that long. So
//! steps grow and shrink to take about [`STEP`], and between them the server is
//! left alone for [`PAUSES`] times as long.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Time that others may have to wait for one step.
const STEP: Duration = Duration::from_millis(1);

/// Pauses against steps: others have at least three quarters of the server's time.
const PAUSES: u32 = 3;

/// Longest pause, should a step have waited for something else.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Keys that one SCAN looks at.
const COUNT_FIRST: u32 = 100;
const COUNT_MIN: u32 = 100;
const COUNT_MAX: u32 = 1_000;

/// Number of the latest measurements that count.
const SAMPLES: usize = 16;

/// The pace of a scan.
#[derive(Debug)]
pub(super) struct Pace {
    /// Idle round trips.
    idle: Latest,
    /// What steps took, without as many idle round trips, or would have taken with
    /// the most keys.
    caused: Latest,
    count: u32,
    /// When the step in hand began.
    began: Option<Instant>,
    /// Round trips of the step in hand.
    trips: u32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            idle: Latest::default(),
            caused: Latest::default(),
            count: COUNT_FIRST,
            began: None,
            trips: 0,
        }
    }

    /// An idle round trip took this long, and a step begins.
    pub(super) fn begin(&mut self, idle: Duration) {
        self.idle.add(idle);
        self.began = Some(Instant::now());
        self.trips = 1;
    }

    /// The step takes another round trip.
    pub(super) fn trip(&mut self) {
        self.trips += 1;
    }

    /// Keys that the step looks at.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The step in hand is over, if there is one. Returns the pause before the next.
    pub(super) fn end(&mut self) -> Duration {
        let Some(began) = self.began.take() else {
            return Duration::ZERO;
        };
        let idle = self.idle.low() * self.trips;
        self.ended(began.elapsed().saturating_sub(idle))
    }

    fn ended(&mut self, caused: Duration) -> Duration {
        self.caused.add(caused * COUNT_MAX / self.count);
        let most = self.caused.low();
        let pause = most * self.count / COUNT_MAX * PAUSES;
        let fits = STEP.as_nanos() * u128::from(COUNT_MAX) / most.as_nanos().max(1);
        let fits = u32::try_from(fits).unwrap_or(COUNT_MAX);
        self.count = fits.clamp(COUNT_MIN, COUNT_MAX);
        pause.min(PAUSE_MAX)
    }
}

/// The latest measurements.
#[derive(Debug, Default)]
struct Latest(VecDeque<Duration>);

impl Latest {
    fn add(&mut self, sample: Duration) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The lower quartile: a machine that is busy with other things delays many
    /// round trips, and not each of them.
    fn low(&self) -> Duration {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 4).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_take_about_a_millisecond_and_pauses_three_times_as_long() {
        let mut pace = Pace::new();
        // Two microseconds a key: 500 keys are a millisecond.
        for _ in 0..100 {
            let caused = Duration::from_micros(2) * pace.count();
            assert_eq!(pace.ended(caused), caused * PAUSES);
        }
        assert_eq!(pace.count(), 500);
        for _ in 0..100 {
            pace.ended(Duration::from_secs(1));
        }
        assert_eq!(pace.count(), COUNT_MIN);
        for _ in 0..100 {
            pace.ended(Duration::ZERO);
        }
        assert_eq!(pace.count(), COUNT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn round_trips_that_are_as_slow_when_idle_are_not_caused() {
        let mut pace = Pace::new();
        let far = Duration::from_millis(40);
        pace.begin(far);
        pace.trip();
        tokio::time::advance(2 * far).await;
        assert_eq!(pace.end(), Duration::ZERO);
        assert_eq!(pace.end(), Duration::ZERO, "there is no step in hand");
    }
}
