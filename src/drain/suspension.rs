//! A distribution that takes no invalidations, for a reason that is not about any of
//! their paths: an account without the permission, an id that does not exist.
//!
//! What it refuses is held and asked for again every few seconds, whoever asks: so it
//! goes within that time once the reason is gone, and costs no call for each message.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::EdgeError;
use crate::progress::backoff::Backoff;

/// While there is work, an edge that is away is asked every few seconds: it is
/// the rate limit that keeps the tempo.
const EDGE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Locked for moments, never across an await.
#[derive(Debug)]
pub(super) struct Suspension {
    state: Mutex<SuspensionState>,
}

#[derive(Debug)]
struct SuspensionState {
    backoff: Backoff,
    /// The name of its error, while it lasts.
    error: Option<&'static str>,
    until: Instant,
}

impl Default for Suspension {
    fn default() -> Self {
        let state = SuspensionState {
            backoff: Backoff::new(EDGE_BACKOFF.0, EDGE_BACKOFF.1),
            error: None,
            until: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl Suspension {
    /// An attempt failed. Returns the pause before the next one, and whether this
    /// error is not known yet.
    pub(super) fn failed(&self, error: &EdgeError) -> (Duration, bool) {
        let mut state = self.lock();
        let delay = state.backoff.next_delay();
        state.until = Instant::now() + delay;
        let before = state.error.replace(error.name());
        (delay, before != Some(error.name()))
    }

    /// When the next attempt is due, if it lasts; the past otherwise.
    pub(super) fn until(&self) -> Instant {
        self.lock().until
    }

    /// An attempt did not fail like this. Returns the number of those that did.
    pub(super) fn is_over(&self) -> Option<u32> {
        let mut state = self.lock();
        let attempts = state.error.take().map(|_| state.backoff.attempts());
        state.backoff.reset();
        state.until = Instant::now();
        attempts
    }

    fn lock(&self) -> MutexGuard<'_, SuspensionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
