//! The invalidations in progress at a distribution, and how much room they leave.
//!
//! CloudFront refuses an invalidation when too many paths of a distribution are
//! in progress, whoever sent them, and says neither how many those are nor when
//! they complete. A refusal costs a call of the few that it grants. So the drain
//! counts: what it sent itself as soon as it is accepted, and what others sent
//! when a look at the edge's list shows it.
//!
//! The count can be off both ways. What others have sent since the last look is
//! missing: then the edge refuses, which costs a call and no path. What has
//! completed since then still counts: then paths wait a little longer. Where the
//! edge cannot be asked for long, what is old is forgotten, so that nothing waits
//! for ever. And where it refuses what seems to fit, others have more in progress
//! than it shows: half as much is tried then, until something is accepted.
//!
//! Pure: it is told what was accepted and what the edge lists, and does no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::coalesce::Room;
use crate::model::CommitTime;
use crate::model::edge_item::is_wildcard;

/// The paths that CloudFront has in progress at once, for each distribution
/// (CloudFront quotas, "Invalidations").
pub const QUOTA: Room = Room {
    singles: 3_000,
    wildcards: 15,
};

/// How long an invalidation counts while nothing can be asked about it. Most
/// complete within 25 s, and the edge itself refuses what is too much.
const BLIND_AFTER: Duration = Duration::from_secs(60);

/// How many of these paths are single ones and wildcards. A tag counts as a
/// single path.
pub fn count<S: AsRef<str>>(paths: impl IntoIterator<Item = S>) -> Room {
    let mut room = Room {
        singles: 0,
        wildcards: 0,
    };
    for path in paths {
        if is_wildcard(path.as_ref()) {
            room.wildcards += 1;
        } else {
            room.singles += 1;
        }
    }
    room
}

/// The invalidations of a distribution that are not completed.
#[derive(Debug, Default)]
pub struct InProgress {
    invalidations: BTreeMap<String, Started>,
    /// The most that is tried, since more was refused than seemed to fit, and since
    /// when.
    tried: Option<(Room, Instant)>,
}

#[derive(Debug)]
struct Started {
    paths: Room,
    at: Instant,
    /// When the oldest change behind it was committed; `None` if it is another
    /// drain's, or its messages do not say.
    committed_at: Option<CommitTime>,
    overdue: bool,
    /// The tenant it was made for. The distribution's list does not show it then.
    tenant: Option<Arc<str>>,
}

impl InProgress {
    /// Adds one, unless it is known. `committed_at` is given for own ones.
    pub fn start(&mut self, id: &str, paths: Room, at: Instant, committed_at: Option<CommitTime>) {
        self.start_for(None, id, paths, at, committed_at);
    }

    /// The same for a tenant of the distribution: the quota is shared.
    pub fn start_for(
        &mut self,
        tenant: Option<&Arc<str>>,
        id: &str,
        paths: Room,
        at: Instant,
        committed_at: Option<CommitTime>,
    ) {
        self.invalidations.entry(id.to_owned()).or_insert(Started {
            paths,
            at,
            committed_at,
            overdue: false,
            tenant: tenant.cloned(),
        });
    }

    /// Takes one out. Returns its commit time, if it is known and was an own one.
    pub fn complete(&mut self, id: &str) -> Option<CommitTime> {
        self.invalidations.remove(id)?.committed_at
    }

    /// Whether nothing is in progress.
    pub fn is_empty(&self) -> bool {
        self.invalidations.is_empty()
    }

    /// The ids of those that were made for the whole distribution.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.invalidations
            .iter()
            .filter(|(_, started)| started.tenant.is_none())
            .map(|(id, _)| id.as_str())
    }

    /// Tenants' invalidations that have been in progress for `age` or longer, the
    /// oldest first.
    pub fn of_tenants(&self, now: Instant, age: Duration) -> Vec<(String, Arc<str>)> {
        let old = |started: &Started| now.saturating_duration_since(started.at) >= age;
        let mut found: Vec<_> = self
            .invalidations
            .iter()
            .filter(|(_, started)| old(started))
            .filter_map(|(id, started)| Some((started.at, id, started.tenant.as_ref()?)))
            .collect();
        found.sort();
        found
            .into_iter()
            .map(|(_, id, tenant)| (id.clone(), Arc::clone(tenant)))
            .collect()
    }

    /// Number of paths in progress.
    pub fn used(&self) -> Room {
        self.invalidations
            .values()
            .fold(count([""; 0]), |sum, started| Room {
                singles: sum.singles + started.paths.singles,
                wildcards: sum.wildcards + started.paths.wildcards,
            })
    }

    /// Number of paths that may still be sent.
    pub fn room(&self, now: Instant) -> Room {
        let (used, most) = (self.used(), self.most(now));
        Room {
            singles: QUOTA.singles.saturating_sub(used.singles).min(most.singles),
            wildcards: QUOTA
                .wildcards
                .saturating_sub(used.wildcards)
                .min(most.wildcards),
        }
    }

    fn most(&self, now: Instant) -> Room {
        let lately = |at: Instant| now.saturating_duration_since(at) < BLIND_AFTER;
        let tried = self.tried.filter(|(_, at)| lately(*at));
        tried.map_or(QUOTA, |(most, _)| most)
    }

    /// Takes in that so many paths were refused for want of room. If they seem to fit,
    /// half of them are tried next.
    pub fn refused(&mut self, paths: Room, now: Instant) {
        let room = self.room(now);
        if paths.singles > room.singles || paths.wildcards > room.wildcards {
            return;
        }
        let most = self.most(now);
        let half = |asked: usize, most: usize| if asked > 0 { asked / 2 } else { most.max(1) };
        let tried = match (paths.singles, paths.wildcards) {
            (1, 1) => Room {
                singles: 1,
                wildcards: 0,
            },
            // That there is no room for one kind says nothing of the other.
            (singles, wildcards) => Room {
                singles: half(singles, most.singles),
                wildcards: half(wildcards, most.wildcards),
            },
        };
        self.tried = Some((tried, now));
    }

    /// Twice as much is tried from now on: something was accepted, or nothing fits.
    pub fn try_more(&mut self, now: Instant) {
        let Room { singles, wildcards } = self.most(now);
        let most = Room {
            singles: (2 * singles).clamp(1, QUOTA.singles),
            wildcards: (2 * wildcards).clamp(1, QUOTA.wildcards),
        };
        let is_all = most.singles >= QUOTA.singles && most.wildcards >= QUOTA.wildcards;
        let since = self.tried.filter(|_| !is_all);
        self.tried = since.map(|(_, at)| (most, at));
    }

    /// Those that have been in progress for `after` or longer, and were not
    /// returned before.
    pub fn newly_overdue(&mut self, now: Instant, after: Duration) -> Vec<String> {
        let mut overdue = Vec::new();
        for (id, started) in &mut self.invalidations {
            if !started.overdue && now.saturating_duration_since(started.at) >= after {
                started.overdue = true;
                overdue.push(id.clone());
            }
        }
        overdue
    }

    /// Forgets this one, of which the edge does not know, unless it is too new to be
    /// known.
    pub fn forget_if_old(&mut self, id: &str, now: Instant) {
        let old = |started: &Started| now.saturating_duration_since(started.at) >= BLIND_AFTER;
        if self.invalidations.get(id).is_some_and(old) {
            self.invalidations.remove(id);
        }
    }

    /// Forgets what has completed in all likelihood. For when the edge does not
    /// say what is in progress.
    pub fn forget_old(&mut self, now: Instant) {
        self.invalidations
            .retain(|_, started| now.saturating_duration_since(started.at) < BLIND_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_room_is_the_quota_less_what_is_in_progress() {
        let mut progress = InProgress::default();
        let now = Instant::now();
        assert_eq!(progress.room(now), QUOTA);
        let committed_at = CommitTime::from_micros(7);
        progress.start("a", count(["/1", "/2", "/3/*"]), now, committed_at);
        progress.start("a", count(["/1"; 100]), now, committed_at);
        progress.start("b", count(["/x*"; 20]), now, None);
        let room = progress.room(now);
        assert_eq!((room.singles, room.wildcards), (2_998, 0));
        assert_eq!(progress.complete("b"), None);
        assert_eq!(progress.complete("a"), committed_at);
        assert_eq!(progress.complete("a"), None);
        assert_eq!(progress.room(now), QUOTA);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_though_it_seems_to_fit_is_tried_in_smaller_parts() {
        let mut progress = InProgress::default();
        let now = Instant::now();
        let room = |singles, wildcards| Room { singles, wildcards };
        progress.start("others", count(["/1"; 2_900]), now, None);
        progress.refused(room(200, 0), now);
        assert_eq!(progress.room(now), room(100, 15), "it is known");
        for (refused, next) in [
            (room(81, 1), room(40, 0)),
            (room(40, 0), room(20, 15)),
            (room(1, 1), room(1, 0)),
            (room(1, 0), room(0, 15)),
            (room(0, 8), room(100, 4)),
            (room(0, 1), room(100, 0)),
        ] {
            progress.tried = None;
            progress.refused(refused, now);
            assert_eq!(progress.room(now), next);
        }
        progress.tried = Some((room(1, 0), now));
        progress.refused(room(1, 0), now);
        assert_eq!(progress.room(now), room(0, 1), "one of the other kind");
        for next in [
            room(1, 2),
            room(2, 4),
            room(4, 8),
            room(8, 15),
            room(16, 15),
        ] {
            progress.try_more(now);
            assert_eq!(progress.room(now), next);
        }
        assert_eq!(progress.room(now + BLIND_AFTER), room(100, 15));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_complete_is_reported_once() {
        let mut progress = InProgress::default();
        let start = Instant::now();
        progress.start("a", count(["/1"]), start, None);
        let after = Duration::from_secs(900);
        let overdue =
            |progress: &mut InProgress, n| progress.newly_overdue(start + after * n, after);
        assert!(overdue(&mut progress, 0).is_empty());
        assert_eq!(overdue(&mut progress, 1), ["a"]);
        assert!(overdue(&mut progress, 2).is_empty());
        progress.forget_old(start + BLIND_AFTER);
        assert!(progress.is_empty());
    }
}
