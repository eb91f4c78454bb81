//! Requests that a process which is gone had counted as open: its *orphans*.
//!
//! Whether they were made decides what the month has cost, and whether their paths
//! are paid for again. The edge's list tells, once it must have them.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::counter;
use tokio::time::Instant;

use super::distribution::{CLOCKS_DIFFER, Doubt, started_at};
use super::poller::Poller;
use crate::edge::cover::caller_reference;
use crate::edge::{Edge, Scope};
use crate::telemetry::{metric, repeating};

impl<E: Edge> Poller<E> {
    /// Lets the first look find out which requests were made that a process
    /// which is gone had counted, unless they are in the log. Returns when the
    /// oldest of them was counted.
    pub(super) async fn look_for_orphans(&self) -> Option<SystemTime> {
        let made = self.distribution.read_log().await;
        let made: HashSet<String> = made.into_iter().collect();
        let mut oldest: Option<SystemTime> = None;
        for (reference, opened_at) in self.budget.orphans(&self.name) {
            // The distribution's list does not show a tenant's: it stays counted.
            if made.contains(&reference) || caller_reference::is_of_tenant(&reference) {
                self.settle(&reference, true).await;
                continue;
            }
            let since = SystemTime::from(opened_at)
                .checked_sub(CLOCKS_DIFFER)
                .unwrap_or(UNIX_EPOCH);
            let horizon = caller_reference::horizon(&reference, &Scope::of(&self.id));
            let opened_at = started_at(opened_at.into());
            let mut state = self.distribution.lock();
            state.recall_since(since);
            state.doubt(reference, horizon, opened_at);
            oldest = Some(oldest.map_or(since, |known| known.min(since)));
        }
        oldest
    }

    /// Settles the orphans in the month's count, once a look that began at
    /// `looked_at` must have seen those that were made. One of which it cannot be
    /// known whether it was made stays counted.
    pub(super) async fn settle_orphans(&self, looked_at: Instant, complete: bool) {
        let known: Vec<(String, bool)> = {
            let mut state = self.distribution.lock();
            let missing = state.missing;
            let known =
                |doubt: &Doubt| doubt.found || !complete || !missing && looked_at >= doubt.until;
            state
                .in_doubt
                .extract_if(|_, doubt| known(doubt))
                .map(|(orphan, doubt)| (orphan, doubt.found || !complete))
                .collect()
        };
        for (orphan, made) in known {
            self.settle(&orphan, made).await;
        }
    }

    /// Settles a request in the month's count.
    async fn settle(&self, reference: &str, made: bool) {
        let settled = if made {
            self.budget.made(&self.name, reference).await
        } else {
            self.budget.not_made(&self.name, reference).await
        };
        if let Err(error) = settled {
            counter!(metric::BUDGET_ERRORS).increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "could not settle the month's count");
        }
    }
}
