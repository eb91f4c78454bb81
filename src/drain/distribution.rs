//! What is known about one distribution: which invalidations are in progress
//! there, and what was invalidated lately.
//!
//! The poller keeps it up to date; rounds read it, and tell the poller when they
//! need to know more.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lru::LruCache;
use metrics::{counter, gauge};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::arrivals::Arrivals;
use super::covers::Covers;
use super::suspects::Tenant;
use super::suspension::Suspension;
use super::troubles::Troubles;
use crate::edge::cover::already_invalidated::AlreadyInvalidated;
use crate::edge::cover::caller_reference;
use crate::edge::cover::coalesce::Room;
use crate::edge::cover::quota::{InProgress, count};
use crate::edge::cover::request::{Gathering, MessageInfo, NextRequest};
use crate::edge::invalidation_log::Reader;
use crate::edge::{Made, Scope};
use crate::model::Sent;
use crate::telemetry::{metric, repeating};

/// Most that this machine's clock may differ from the source's, or from what the
/// edge says of its own. Only money depends on it.
pub(super) const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// Invalidations that are remembered (Bounded). One that is forgotten is read
/// again.
const READ_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Pages of the edge's list that one look reads. What lies beyond is at worst
/// paid for again, or refused by the edge itself.
pub(super) const PAGES_MAX: u32 = 10;
/// How long one look may read what a recall asks for. At one call a second, fifty
/// invalidations.
pub(super) const READING_MAX: Duration = Duration::from_secs(50);

/// Time after which the edge's list shows an invalidation, and after which one that
/// it lists can be read.
pub(super) const LISTED_WITHIN: Duration = Duration::from_secs(15);

/// A round waits for the first look for so long. It tells what others have in
/// progress; without it the edge refuses what is too much.
const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(2);

/// What is known about one distribution. Locked for moments, never across an
/// await.
#[derive(Debug)]
pub(super) struct Distribution {
    state: Mutex<DistributionState>,
    /// Reads which invalidations this machine's drains have made.
    reader: Reader,
    suspects: Arrivals,
    pub(super) troubles: Troubles,
    pub(super) covers: Covers,
    /// Of the distribution itself, and of its tenants.
    suspensions: [Suspension; 2],
    /// Tells the poller that somebody needs a look.
    pub(super) wish: Notify,
    /// Tells a round that waits for room that another one is due.
    pub(super) wanted: Notify,
    /// Number of times the poller has looked.
    pub(super) looks: watch::Sender<u64>,
    /// When the drain began.
    began: Instant,
}

/// What a recall found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recalled {
    /// All that the edge lists.
    Everything,
    /// The same, but for what cannot be read yet.
    InPart,
    /// The edge does not say.
    Nothing,
}

/// A request that a process which is gone was about to make.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Whether it was made.
    pub(super) found: bool,
    /// The messages that it can stand for.
    horizon: Option<Sent>,
    /// Until when the edge's list may not show it.
    pub(super) until: Instant,
}

#[derive(Debug)]
pub(super) struct DistributionState {
    pub(super) in_progress: InProgress,
    pub(super) already_invalidated: AlreadyInvalidated,
    /// Number of paths of the invalidations that were read in full or made
    /// here.
    pub(super) read: LruCache<String, Room>,
    /// The next look reads completed invalidations too, if they were made since
    /// then.
    pub(super) recall: Option<SystemTime>,
    /// Whether the next look is to be at once.
    pub(super) now: bool,
    /// How many looks have ended with no other one to be at once.
    pub(super) ended: u64,
    /// Whether the round under way keeps another one from beginning.
    pub(super) is_wanted: bool,
    /// The kinds of paths of the round under way, if it waits for room.
    pub(super) waits_for_room: Option<Room>,
    /// Number of rounds that wait for something to complete.
    pub(super) waiting: usize,
    /// Looks that failed, one after the other, since something was recalled.
    pub(super) unanswered: u32,
    /// Whether the last look found no room to read everything in progress.
    pub(super) unread: bool,
    /// Whether the last look recalled an invalidation that cannot be read yet.
    pub(super) missing: bool,
    /// Requests that a process which is gone was about to make, by caller
    /// reference.
    pub(super) in_doubt: HashMap<String, Doubt>,
    /// The newest message that was received.
    newest: Option<Sent>,
    /// How many requests were accepted.
    acceptances: u64,
}

impl DistributionState {
    fn new() -> Self {
        Self {
            in_progress: InProgress::default(),
            already_invalidated: AlreadyInvalidated::default(),
            read: LruCache::new(READ_MAX),
            recall: None,
            now: false,
            ended: 0,
            is_wanted: false,
            waits_for_room: None,
            waiting: 0,
            unanswered: 0,
            unread: false,
            missing: false,
            in_doubt: HashMap::new(),
            newest: None,
            acceptances: 0,
        }
    }

    /// Takes in an invalidation that was read in full.
    pub(super) fn learn(&mut self, scope: &Scope, id: &str, made_at: SystemTime, made: &Made) {
        let (paths, tenant) = (count(&made.paths), scope.tenant.as_ref());
        if !made.completed {
            let at = started_at(made_at);
            self.in_progress.start_for(tenant, id, paths, at, None);
        }
        if let Some(horizon) = caller_reference::horizon(&made.caller_reference, scope) {
            let tenant = scope.tenant.as_deref();
            self.already_invalidated.add(horizon, tenant, &made.paths);
        }
        self.read.put(id.to_owned(), paths);
        self.found(&made.caller_reference);
    }

    /// Lets the next look read what was made since then.
    pub(super) fn recall_since(&mut self, since: SystemTime) {
        self.recall = Some(self.recall.map_or(since, |known| known.min(since)));
    }

    /// Takes in that a process which is gone may have made a request at this time.
    pub(super) fn doubt(&mut self, reference: String, horizon: Option<Sent>, at: Instant) {
        let doubt = Doubt {
            found: false,
            horizon,
            until: at + LISTED_WITHIN,
        };
        self.in_doubt.insert(reference, doubt);
    }

    /// Takes in that a request was made, if that was in doubt.
    pub(super) fn found(&mut self, caller_reference: &str) {
        if let Some(doubt) = self.in_doubt.get_mut(caller_reference) {
            doubt.found = true;
        }
    }
}

impl Distribution {
    /// Nothing is known yet but what `reader` will say.
    pub(super) fn new(reader: Reader) -> Self {
        Self {
            state: Mutex::new(DistributionState::new()),
            reader,
            suspects: Arrivals::default(),
            troubles: Troubles::default(),
            covers: Covers::default(),
            suspensions: Default::default(),
            wish: Notify::new(),
            wanted: Notify::new(),
            looks: watch::Sender::new(0),
            began: Instant::now(),
        }
    }

    /// Messages with a path that the edge may refuse.
    pub(super) fn suspects(&self) -> &Arrivals {
        &self.suspects
    }

    /// The suspension of what is asked for without a tenant, or for any of them: what an
    /// account may not do for tenants it may do for the distribution.
    pub(super) fn suspension(&self, tenant: &Tenant) -> &Suspension {
        let [own, tenants] = &self.suspensions;
        if tenant.is_none() { own } else { tenants }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, DistributionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the invalidations that this machine's drains have written to
    /// their log, and returns the requests' names.
    pub(super) async fn read_log(&self) -> Vec<String> {
        let pasts = match self.reader.news().await {
            Ok(pasts) => pasts,
            Err(error) => {
                counter!(metric::EDGE_HISTORY_ERRORS, "operation" => "read").increment(1);
                repeating!(warn, "", { error = %error },
                    "going by CloudFront's own list of invalidations");
                return Vec::new();
            }
        };
        let mut state = self.lock();
        let mut names = Vec::with_capacity(pasts.len());
        for past in pasts {
            let tenant = past.tenant.as_deref();
            let scope = Scope {
                distribution: past.distribution_id.into(),
                tenant: tenant.map(Into::into),
            };
            if let Some(horizon) = caller_reference::horizon(&past.caller_reference, &scope) {
                state.already_invalidated.add(horizon, tenant, &past.paths);
            }
            state.found(&past.caller_reference);
            state.read.put(past.id, count(&past.paths));
            names.push(past.caller_reference);
        }
        names
    }

    /// Waits until the poller has looked once, whether the edge answered or not,
    /// but not for long.
    pub(super) async fn looked(&self) {
        let mut looks = self.looks.subscribe();
        let looked = looks.wait_for(|looks| *looks > 0);
        // An error means that the poller ended, and then nobody waits.
        timeout_at(self.began + FIRST_LOOK_WITHIN, looked)
            .await
            .ok();
    }

    /// Until when it is not known whether a process that is gone has sent a message
    /// that was sent then; `None`: none has.
    pub(super) fn doubted_until(&self, sent: Option<Sent>) -> Option<Instant> {
        let sent = sent?;
        let concerns = |doubt: &&Doubt| {
            let covered = doubt.horizon.is_some_and(|horizon| horizon.reaches(sent));
            !doubt.found && covered
        };
        let state = self.lock();
        let doubts = state.in_doubt.values().filter(concerns);
        doubts.map(|doubt| doubt.until).max()
    }

    /// Whether a process that is gone may have sent the message's paths.
    pub(super) fn may_have_sent(&self, arrival: &MessageInfo) -> bool {
        arrival.deliveries > 1 || self.doubted_until(arrival.sent).is_some()
    }

    /// Finds out what was made since a commit: somebody may have taken care of
    /// it, and not lived to say so. Waits for an answer, but not for ever.
    pub(super) async fn recall(&self, committed_at: SystemTime) -> Recalled {
        let since = committed_at.checked_sub(CLOCKS_DIFFER);
        self.look(|state| {
            state.recall_since(since.unwrap_or(UNIX_EPOCH));
            state.now = true;
            state.unanswered = 0;
        })
        .await;
        let state = self.lock();
        match (state.unanswered, state.missing) {
            (0, false) => Recalled::Everything,
            (0, true) => Recalled::InPart,
            (1.., _) => Recalled::Nothing,
        }
    }

    pub(super) async fn look(&self, wish: impl FnOnce(&mut DistributionState)) {
        let mut looks = self.looks.subscribe();
        let before = {
            let mut state = self.lock();
            wish(&mut state);
            state.ended
        };
        self.wish.notify_one();
        // A look under way may have begun before the wish: it stays until it
        // is taken up. So it does when the look failed and is repeated.
        while looks.changed().await.is_ok() {
            if self.lock().ended > before {
                return;
            }
        }
    }

    /// Leaves out what earlier invalidations cover. Returns how many paths it
    /// was, and the messages that this completes.
    pub(super) fn leave_out(&self, scope: &Scope, round: &mut Gathering) -> (usize, Vec<Arc<str>>) {
        let (state, tenant) = (self.lock(), scope.tenant.as_deref());
        round.leave_out(|path, sent| state.already_invalidated.covers(tenant, path, sent))
    }

    /// Whether the invalidation was read in full, or made here.
    pub(super) fn has_read(&self, id: &str) -> bool {
        self.lock().read.contains(id)
    }

    /// Takes in an invalidation that was read in full.
    pub(super) fn learn(&self, scope: &Scope, id: &str, made_at: SystemTime, made: &Made) {
        self.lock().learn(scope, id, made_at, made);
    }

    /// How many requests were accepted here so far.
    pub(super) fn acceptances(&self) -> u64 {
        self.lock().acceptances
    }

    /// Takes in that a message was received.
    pub(super) fn received(&self, sent: Option<Sent>) {
        let mut state = self.lock();
        state.newest = Sent::newest(state.newest.into_iter().chain(sent));
    }

    /// How far a request of `own` messages reaches back that is made now: to the `last`
    /// that this process has sent, or the newest that was received.
    pub(super) fn horizon(&self, own: Option<Sent>, last: Option<Sent>) -> Option<Sent> {
        let newest = self.lock().newest;
        let reaches = |place: &Sent| own.is_some_and(|own| place.reaches(own));
        last.filter(reaches).or(newest.filter(reaches)).or(own)
    }

    /// Takes in that the edge accepted a batch.
    pub(super) fn accepted(&self, name: &Arc<str>, batch: &NextRequest, id: &str) {
        let paths = &batch.invalidation.paths;
        let counted = count(paths);
        let scope = &batch.invalidation.scope;
        let tenant = scope.tenant.as_ref();
        self.suspects.accepted(&scope.tenant, paths);
        let mut state = self.lock();
        state.acceptances += 1;
        let in_progress = &mut state.in_progress;
        in_progress.start_for(tenant, id, counted, Instant::now(), batch.committed_at);
        in_progress.try_more(Instant::now());
        state.read.put(id.to_owned(), counted);
        let tenant = scope.tenant.as_deref();
        if let Some(horizon) = batch.horizon() {
            state.already_invalidated.add(horizon, tenant, paths);
        }
        publish(name, state.in_progress.used());
        drop(state);
        self.wish.notify_one();
    }
}

/// The moment at which an invalidation was made, as far back as this machine
/// knows moments.
pub(super) fn started_at(made_at: SystemTime) -> Instant {
    let now = Instant::now();
    let age = SystemTime::now().duration_since(made_at);
    now.checked_sub(age.unwrap_or_default()).unwrap_or(now)
}

pub(super) fn publish(name: &Arc<str>, used: Room) {
    for (kind, paths) in [("single", used.singles), ("wildcard", used.wildcards)] {
        let paths = f64::from(u32::try_from(paths).unwrap_or(u32::MAX));
        gauge!(metric::EDGE_IN_PROGRESS, "distribution" => name.to_string(), "kind" => kind)
            .set(paths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_a_bounded_number_of_invalidations_and_the_newest() {
        let mut state = DistributionState::new();
        let scope = Scope::of(&"E1".into());
        let made = Made {
            caller_reference: "evictd-1".to_owned(),
            paths: vec!["/a".to_owned()],
            completed: true,
        };
        for n in 0..READ_MAX.get() + 5 {
            for _ in 0..2 {
                state.learn(&scope, &format!("I{n}"), UNIX_EPOCH, &made);
            }
        }
        assert_eq!(state.read.len(), READ_MAX.get());
        let one = count(["/a"]);
        assert_eq!(
            (state.read.peek("I4"), state.read.peek("I5")),
            (None, Some(&one))
        );
    }
}
