//! When keys are deleted for the second time.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::binlog::server::replica_lag::ReadersApplied;
use crate::model::CommitTime;

/// Largest difference to expect between the source's clock and this machine's,
/// where only clocks can say whether a change is fresh.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);

/// When keys are deleted for the second time.
#[derive(Clone, Debug)]
pub enum Settling {
    Off,
    /// This long after the change was visible.
    After(Duration),
    /// Once the change was visible on every reader too.
    Readers {
        /// This long after the slowest reader had the change.
        min: Duration,
        /// This long after the change was visible on the writer at the latest,
        /// even where it is not known to be visible on the readers.
        max: Duration,
        /// The newest changes known to be visible on every reader.
        applied: watch::Receiver<Option<ReadersApplied>>,
    },
}

/// When a batch's keys are deleted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// A moment by which its changes were visible on the writer.
    pub(super) visible_by: Instant,
    pub(super) at: Instant,
}

impl Settling {
    /// When keys are deleted again whose changes were visible by `visible_by`
    /// or, where that is not known, of which the newest was committed at
    /// `committed_at`; no time counts as long ago. `None` if no fill of an old
    /// row can be under way any more.
    ///
    /// Where visibility is known the commit does not count: a commit that was
    /// held up would leave too little time to a reader that fetched the old
    /// row just before the new one was visible.
    pub(super) fn due(
        &self,
        visible_by: Option<Instant>,
        committed_at: Option<CommitTime>,
    ) -> Option<Due> {
        let now = Instant::now();
        let visible_by = match visible_by {
            Some(visible_by) => visible_by,
            // None: committed before this machine's clock began to count.
            None => now.checked_sub(committed_at?.age().saturating_sub(CLOCK_SKEW_MAX))?,
        };
        let at = self.at(visible_by).filter(|at| *at > now)?;
        Some(Due { visible_by, at })
    }

    /// When keys are deleted again whose changes were visible by `visible_by`.
    pub(super) fn at(&self, visible_by: Instant) -> Option<Instant> {
        match self {
            Settling::Off => None,
            Settling::After(after) => Some(visible_by + *after),
            Settling::Readers { min, max, applied } => {
                let latest = visible_by + *max;
                let everywhere = applied
                    .borrow()
                    .filter(|applied| applied.through >= visible_by);
                Some(everywhere.map_or(latest, |applied| latest.min(applied.seen_at + *min)))
            }
        }
    }

    /// Returns when the answer of [`Self::at`] may have changed.
    pub(super) async fn changed(&mut self) {
        if let Settling::Readers { applied, .. } = self
            && applied.changed().await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(ago: Duration) -> Option<CommitTime> {
        let ago_us = u64::try_from(ago.as_micros()).unwrap();
        CommitTime::from_micros(CommitTime::now().micros() - ago_us)
    }

    const AFTER: Duration = Duration::from_secs(2);

    #[test]
    fn a_fresh_change_settles_and_an_old_one_does_not() {
        let due = |age| {
            let due = Settling::After(AFTER).due(None, committed(age))?;
            Some(
                due.at
                    .saturating_duration_since(Instant::now())
                    .as_secs_f64(),
            )
        };
        let fresh = due(Duration::ZERO).unwrap();
        assert!((1.9..=2.0).contains(&fresh), "{fresh}");
        let older = due(Duration::from_millis(6_500)).unwrap();
        assert!((0.4..=0.5).contains(&older), "{older}");
        assert_eq!(due(Duration::from_secs(8)), None);
        assert_eq!(due(Duration::from_secs(1_000_000_000)), None);
        assert_eq!(Settling::Off.due(None, committed(Duration::ZERO)), None);
        // A source whose clock is ahead: never longer than after the deletion.
        let ahead = CommitTime::from_micros(CommitTime::now().micros() + 60_000_000);
        let wait = Settling::After(AFTER).due(None, ahead).unwrap().at - Instant::now();
        assert!(wait <= AFTER, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn visibility_counts_and_not_the_commit_where_it_is_known() {
        let settling = Settling::After(AFTER);
        let now = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        // Committed long ago and visible for a second: a reader may have the old row still.
        let long_ago = committed(Duration::from_secs(3_600));
        let due = settling.due(Some(now), long_ago).unwrap();
        assert_eq!(due.at, now + AFTER);
        tokio::time::advance(AFTER).await;
        assert_eq!(settling.due(Some(now), committed(Duration::ZERO)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_settles_once_it_was_visible_on_every_reader() {
        let (publish, applied) = watch::channel(None);
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(10));
        let settling = Settling::Readers { min, max, applied };
        let visible_by = Instant::now();
        let at = || settling.due(Some(visible_by), None).map(|due| due.at);
        assert_eq!(at(), Some(visible_by + max), "nothing is known");
        tokio::time::advance(Duration::from_secs(3)).await;
        let seen_at = Instant::now();
        let through = visible_by - Duration::from_millis(1);
        publish.send_replace(Some(ReadersApplied { through, seen_at }));
        assert_eq!(at(), Some(visible_by + max), "a reader is not that far");
        let through = visible_by;
        publish.send_replace(Some(ReadersApplied { through, seen_at }));
        assert_eq!(at(), Some(seen_at + min));
        tokio::time::advance(min).await;
        assert_eq!(at(), None, "no fill from before can be under way");
        let seen_at = visible_by + max;
        publish.send_replace(Some(ReadersApplied { through, seen_at }));
        assert_eq!(at(), Some(visible_by + max), "never later than that");
    }
}
