//! Waiting for room at a distribution.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::distribution::Distribution;
use crate::edge::cover::coalesce::Room;
use crate::edge::cover::quota::count;
use crate::edge::cover::request::{Gathering, NextRequest};

/// A look after a refusal for want of room is waited for so long.
const LOOK_AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for room without a look at what there is to say.
const WAIT_AT_MOST: Duration = Duration::from_secs(10);

/// Whether any of these paths is of a kind, single or wildcard, that those are not of.
pub(super) fn has_another_kind(paths: &Gathering, than: Room) -> bool {
    let own = paths.kinds();
    own.singles > 0 && than.singles == 0 || own.wildcards > 0 && than.wildcards == 0
}

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

    /// A round begins, and keeps no other one waiting yet.
    pub(super) fn begin_round(&self) {
        let mut state = self.lock();
        (state.is_wanted, state.waits_for_room) = (false, None);
    }

    /// Whether the round under way, with paths of these kinds left, had better make way:
    /// there is no room for them, and there may be for another.
    pub(super) fn makes_way(&self, left: Room) -> bool {
        let mut state = self.lock();
        state.waits_for_room = Some(left);
        state.is_wanted
    }

    /// Says that the round under way keeps these paths from their turn, which may be
    /// another tenant's. What waits for room is interrupted for those of another kind
    /// alone: that there is none may hold for all tenants.
    pub(super) fn want(&self, by_another_tenant: bool, paths: &Gathering) {
        let mut state = self.lock();
        let waits = state.waits_for_room;
        if by_another_tenant {
            state.is_wanted = true;
        } else if waits.is_some_and(|kinds| has_another_kind(paths, kinds)) {
            state.is_wanted = true;
            self.wanted.notify_one();
        }
    }

    /// Waits until something may have completed, or another round is due.
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
        tokio::select! {
            _ = timeout(WAIT_AT_MOST, looks.changed()) => {
                self.lock().in_progress.try_more(Instant::now());
            }
            () = self.wanted.notified() => {}
        }
    }

    /// Finds out what others have in progress, after the edge refused more.
    pub(super) async fn look_again(&self) {
        let look = self.look(|state| state.now = true);
        timeout(LOOK_AGAIN_WITHIN, look).await.ok();
    }
}
