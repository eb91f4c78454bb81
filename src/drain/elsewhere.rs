//! Counts what others spend of a distribution's budget, as the edge's list
//! shows it.
//!
//! Whatever is in progress is read for the quota anyway. What completed unseen
//! is read for the count alone, a few at a time, when nothing else is to be
//! asked.

use std::time::SystemTime;

use jiff::Timestamp;
use metrics::counter;
use tracing::warn;

use super::budget_metrics;
use super::distribution::{CLOCKS_DIFFER, DistributionState};
use super::poller::Watch;
use crate::edge::budget::elsewhere::Foreign;
use crate::edge::{Edge, Made, Scope};
use crate::telemetry::{metric, repeating};

/// Reads for the count after each look.
const READS_PER_LOOK: usize = 10;

/// Invalidations that wait to be counted (Bounded).
const WAITING_MAX: usize = 1_000;

impl DistributionState {
    /// It was not read, and counts.
    pub(super) fn count_later(&mut self, id: &str, made_at: SystemTime) {
        if self.to_count.len() < WAITING_MAX {
            self.to_count.insert(id.to_owned(), made_at);
        } else {
            self.not_counted += 1;
        }
    }

    /// It was read, and none of this machine's drains is known to have made it.
    pub(super) fn seems_foreign(&mut self, id: &str, made_at: SystemTime, made: &Made) {
        if self.foreign.len() >= WAITING_MAX {
            self.not_counted += 1;
            return;
        }
        self.foreign.push(Foreign {
            id: id.to_owned(),
            caller_reference: made.caller_reference.clone(),
            made_at: Timestamp::try_from(made_at).unwrap_or_default(),
            paths: u64::try_from(made.paths.len()).unwrap_or(u64::MAX),
        });
    }

    /// One of this machine's drains has made it after all.
    pub(super) fn is_own(&mut self, caller_reference: &str) {
        self.foreign
            .retain(|foreign| foreign.caller_reference != caller_reference);
    }
}

impl<E: Edge> Watch<E> {
    /// From where on the edge's list is to be counted, if it is.
    pub(super) async fn counts_from(&self) -> Option<SystemTime> {
        match self.book.counts_elsewhere_from(&self.name).await {
            Ok(from) => SystemTime::from(from?).checked_sub(CLOCKS_DIFFER),
            Err(error) => {
                counter!(metric::BUDGET_ERRORS).increment(1);
                repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                    "what others have invalidated is not counted");
                None
            }
        }
    }

    /// Counts what the last look has found. It began at `looked_at`.
    pub(super) async fn count_elsewhere(&self, looked_at: Timestamp) {
        let all_read = self.read_to_count().await;
        // In this order: a request leaves the open ones only after it is on
        // record, so that one that is in neither is nobody's here.
        let open = self.book.open_references(&self.name).await;
        self.standing.hear().await;
        let (mut foreign, missed) = {
            let mut state = self.standing.lock();
            let foreign = std::mem::take(&mut state.foreign);
            (foreign, std::mem::take(&mut state.not_counted))
        };
        if missed > 0 {
            warn!(distribution = %self.name, invalidations = missed, "too many invalidations of others to count them all; the month's count is too low");
        }
        let counted = match open {
            Ok(open) => {
                foreign.retain(|foreign| !open.contains(&foreign.caller_reference));
                let until = all_read.then_some(looked_at);
                self.book.elsewhere(&self.name, foreign, until).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = counted {
            counter!(metric::BUDGET_ERRORS).increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "what others have invalidated is counted in memory only, if at all");
        }
        budget_metrics::publish(&self.book, &self.name);
    }

    /// Reads what is only to be counted. Returns whether that is all of it.
    async fn read_to_count(&self) -> bool {
        let scope = Scope::of(&self.distribution);
        for _ in 0..READS_PER_LOOK {
            let next = {
                let mut state = self.standing.lock();
                // Changes come first.
                if state.now || state.waiting > 0 {
                    break;
                }
                state.to_count.pop_first()
            };
            let Some((id, made_at)) = next else {
                return true;
            };
            self.pace.turn().await;
            match self.edge.read(&scope, &id).await {
                Ok(made) => self.learn(&id, made_at, &made),
                Err(error) => {
                    counter!(metric::EDGE_LOOKS_FAILED, "error" => error.name()).increment(1);
                    self.standing.lock().count_later(&id, made_at);
                    return false;
                }
            }
        }
        self.standing.lock().to_count.is_empty()
    }
}
