//! When keys are deleted for the second time.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::visibility::Visible;
use crate::binlog::server::replica_lag::ReadersApplied;

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
    /// When keys are deleted again that are deleted now. `None` if no fill of an
    /// old row can be under way any more.
    ///
    /// Only an instant of visibility tells that. Without one the changes count
    /// as visible since now: a commit may be long past, and its rows be held up.
    pub(super) fn due(&self, visible: Visible) -> Option<Due> {
        let now = Instant::now();
        match visible {
            Visible::By(visible_by) => self.after(visible_by).filter(|due| due.at > now),
            Visible::Unnamed | Visible::Open => self.after(now),
        }
    }

    /// When keys are deleted again whose changes were visible by `visible_by`.
    pub(super) fn after(&self, visible_by: Instant) -> Option<Due> {
        let at = self.at(visible_by)?;
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

    const AFTER: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn what_is_not_known_is_fresh_and_what_is_counts_from_when_it_was_visible() {
        let settling = Settling::After(AFTER);
        let began = Instant::now();
        for (visible, ago_s, expected) in [
            (Visible::By(began), 0, Some(AFTER)),
            (Visible::By(began), 1, Some(AFTER)),
            (Visible::By(began), 2, None),
            (Visible::By(began), 3_600, None),
        ] {
            let ago = Duration::from_secs(ago_s);
            tokio::time::advance(ago.saturating_sub(began.elapsed())).await;
            let due = settling.due(visible).map(|due| due.at - began);
            assert_eq!(due, expected, "after {ago:?}");
        }
        for visible in [Visible::Unnamed, Visible::Open] {
            let due = settling.due(visible).unwrap();
            assert_eq!(due.at, Instant::now() + AFTER);
            assert_eq!(Settling::Off.due(visible), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_settles_once_it_was_visible_on_every_reader() {
        let (publish, applied) = watch::channel(None);
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(10));
        let settling = Settling::Readers { min, max, applied };
        let visible_by = Instant::now();
        let at = || settling.due(Visible::By(visible_by)).map(|due| due.at);
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
