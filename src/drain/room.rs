//! Waiting for room at a distribution.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::distribution::Distribution;
use crate::edge::cover::coalesce::Room;
use crate::edge::cover::quota::count;
use crate::edge::cover::request::NextRequest;

/// A look after a refusal for want of room is waited for so long.
const LOOK_AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for room without a look at what there is to say.
const WAIT_AT_MOST: Duration = Duration::from_secs(10);

impl Distribution {
    /// Room for paths that may still be sent.
    pub(super) fn room(&self) -> Room {
        self.lock().in_progress.room(Instant::now())
    }

    /// Takes in that there was no room for the batch.
    pub(super) fn had_no_room(&self, batch: &NextRequest) {
        let paths = count(&batch.invalidation.paths);
        self.lock().in_progress.refused(paths, Instant::now());
    }

    /// Waits until something may have completed.
    pub(super) async fn wait_for_room(&self) {
        struct Waiting<'a>(&'a Distribution);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.lock().waiting -= 1;
            }
        }
        let mut looks = self.looks.subscribe();
        self.lock().waiting += 1;
        let _waiting = Waiting(self);
        self.wish.notify_one();
        timeout(WAIT_AT_MOST, looks.changed()).await.ok();
        self.lock().in_progress.try_more(Instant::now());
    }

    /// Finds out what others have in progress, after the edge refused more.
    pub(super) async fn look_again(&self) {
        let look = self.look(|state| state.now = true);
        timeout(LOOK_AGAIN_WITHIN, look).await.ok();
    }
}
