//! Settled: a fill that read the old row before the commit may still store it
//! after the deletion, so that keys without a version are deleted once more.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::batch::{Deleted, Settled};
use super::invalidate::Trouble;
use crate::binlog::barrier::Visible;
use crate::cache::Cache;
use crate::telemetry::metric;

/// How much may wait to be deleted again, in bytes; beyond that the stages
/// before have to wait (Bounded).
const SETTLING_BYTES_MAX: usize = 16 << 20;

/// How far the source's clock and ours may be apart, where nothing but clocks
/// tells whether a change is fresh.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);

/// When keys are deleted for the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Never.
    Off,
    /// This long after the commit.
    After(Duration),
}

impl Settling {
    /// When the keys of a change that was committed then are deleted again;
    /// `None` for a change so old that no fill from before it can be under way.
    ///
    /// Readers see the old row until the new one is visible, which can be long
    /// after the time that the commit bears: what the server had to be asked
    /// for counts as committed now.
    pub(super) fn due(self, visible: Visible, committed_at_us: u64) -> Option<Instant> {
        let Settling::After(after) = self else {
            return None;
        };
        if visible == Visible::Now {
            return Some(Instant::now() + after);
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let age = now.saturating_sub(Duration::from_micros(committed_at_us));
        let left = (after + CLOCK_SKEW_MAX).checked_sub(age)?;
        Some(Instant::now() + left.min(after))
    }
}

/// Deletes each batch's keys again when they are due, and only then hands its
/// paths and its position on (Cache before edge, Nothing lost).
pub(super) async fn settle(
    mut cache: impl Cache,
    mut batches: mpsc::Receiver<Deleted>,
    settled: mpsc::Sender<Settled>,
) {
    let mut trouble = Trouble::new("the cache", metric::CACHE_RETRIES);
    let mut waiting: VecDeque<Deleted> = VecDeque::new();
    let mut bytes = 0;
    let mut open = true;
    while open || !waiting.is_empty() {
        let due = waiting
            .front()
            .map(|batch| batch.due.unwrap_or_else(Instant::now));
        tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some(batch) = waiting.pop_front() else { continue };
                bytes -= batch.size();
                if batch.due.is_some() {
                    while let Err(error) = batch.delete_again(&mut cache).await {
                        trouble.wait(error.code(), &error).await;
                    }
                    trouble.over();
                }
                if settled.send(batch.settled()).await.is_err() {
                    return;
                }
            }
            batch = batches.recv(), if open && bytes < SETTLING_BYTES_MAX => match batch {
                Some(batch) => {
                    bytes += batch.size();
                    waiting.push_back(batch);
                }
                None => open = false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_change_settles_and_an_old_one_does_not() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = |age: Duration| u64::try_from((now - age).as_micros()).unwrap();
        let after = Duration::from_secs(2);
        let due = |age| {
            let due = Settling::After(after).due(Visible::Already, at(age))?;
            Some(due.saturating_duration_since(Instant::now()).as_secs_f64())
        };
        let fresh = due(Duration::ZERO).unwrap();
        assert!((1.9..=2.0).contains(&fresh), "{fresh}");
        let older = due(Duration::from_millis(6_500)).unwrap();
        assert!((0.4..=0.5).contains(&older), "{older}");
        assert_eq!(due(Duration::from_secs(8)), None);
        let off = Settling::Off.due(Visible::Now, at(Duration::ZERO));
        assert_eq!(off, None);
        // Committed long ago, and visible only now.
        let stalled = Settling::After(after).due(Visible::Now, at(Duration::from_secs(60)));
        let stalled = stalled.unwrap() - Instant::now();
        assert!(stalled > Duration::from_millis(1_900), "{stalled:?}");
        // A source whose clock is ahead: never longer than after the deletion.
        let ahead = u64::try_from((now + Duration::from_secs(60)).as_micros()).unwrap();
        let wait = Settling::After(after).due(Visible::Already, ahead).unwrap() - Instant::now();
        assert!(wait <= after, "{wait:?}");
    }
}
