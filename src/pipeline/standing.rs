//! How a distribution stands: what is in progress there, what was invalidated
//! lately, and a task that keeps asking.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge, histogram};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::retry::Backoff;
use crate::edge::batch::{Batch, Gathering};
use crate::edge::budget::Book;
use crate::edge::coalesce::Room;
use crate::edge::covered::Covered;
use crate::edge::pace::Pace;
use crate::edge::quota::{InProgress, count};
use crate::edge::{Edge, EdgeError, Listed, Made, Scope, reference};
use crate::telemetry::metric;

/// While something is in progress, one look for as many calls as the pace
/// allows; while something waits for it to complete, more often.
const CALLS_PER_LOOK: u32 = 5;
const CALLS_PER_URGENT_LOOK: u32 = 2;

/// Bounds of one look. What lies beyond is at worst paid for again, or refused
/// by the edge itself.
pub(super) const PAGES_MAX: u32 = 10;
/// At one call a second, fifty invalidations.
pub(super) const READING_MAX: Duration = Duration::from_secs(50);

/// The edge's clock and this machine's or the source's. Only money depends on
/// it.
pub(super) const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// Every tenant's invalidation has to be asked for by itself: after the time in
/// which most complete, and a few at a look.
const TENANTS_AFTER: Duration = Duration::from_secs(25);
const TENANTS_MAX: usize = 10;

const LOOK_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is known about one distribution. Locked for moments, never across an
/// await.
#[derive(Debug)]
pub(super) struct Standing {
    state: Mutex<State>,
    /// Something is to be looked at.
    wish: Notify,
    /// Counts the looks.
    looks: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    in_progress: InProgress,
    covered: Covered,
    /// Invalidations that were read in full or made here.
    read: HashSet<String>,
    /// Those made since then are to be read too.
    recall: Option<SystemTime>,
    /// Look now.
    now: bool,
    /// Somebody waits for something to complete.
    waiting: usize,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            wish: Notify::new(),
            looks: watch::Sender::new(0),
        }
    }
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the edge was asked once, or did not answer.
    pub(super) async fn looked(&self) {
        let mut looks = self.looks.subscribe();
        // An error means that the watch ended, and then nobody waits.
        looks.wait_for(|looks| *looks > 0).await.ok();
    }

    /// How much more may be sent.
    pub(super) fn room(&self) -> Room {
        self.lock().in_progress.room()
    }

    /// Waits until something may have completed.
    pub(super) async fn wait_for_room(&self) {
        let mut looks = self.looks.subscribe();
        self.lock().waiting += 1;
        self.wish.notify_one();
        looks.changed().await.ok();
        self.lock().waiting -= 1;
    }

    /// Asks what others have in progress, after the edge refused more.
    pub(super) async fn look_again(&self) {
        self.look(|state| state.now = true).await;
    }

    /// Finds out what was made since a commit: somebody may have taken care of
    /// it, and not lived to say so.
    pub(super) async fn recall(&self, committed_at_us: u64) {
        let since = UNIX_EPOCH + Duration::from_micros(committed_at_us);
        self.look(|state| {
            let since = since.checked_sub(CLOCKS_DIFFER).unwrap_or(UNIX_EPOCH);
            state.recall = Some(state.recall.map_or(since, |known| known.min(since)));
            state.now = true;
        })
        .await;
    }

    async fn look(&self, wish: impl FnOnce(&mut State)) {
        let mut looks = self.looks.subscribe();
        wish(&mut self.lock());
        self.wish.notify_one();
        // A look under way may have begun before the wish: it stays until it
        // is taken up.
        while looks.changed().await.is_ok() {
            if !self.lock().now {
                return;
            }
        }
    }

    /// Leaves out what is covered already.
    pub(super) fn leave_out(&self, scope: &Scope, round: &mut Gathering) -> (usize, Vec<Arc<str>>) {
        let (state, tenant) = (self.lock(), scope.tenant.as_deref());
        round.leave_out(|path, order| state.covered.covers(tenant, path, order))
    }

    /// Whether the invalidation was read in full, or made here.
    pub(super) fn has_read(&self, id: &str) -> bool {
        self.lock().read.contains(id)
    }

    /// Takes in an invalidation that was read in full.
    pub(super) fn learn(&self, scope: &Scope, id: String, made: &Made) {
        let mut state = self.lock();
        let tenant = scope.tenant.as_ref();
        if !made.completed {
            let (paths, now) = (count(&made.paths), Instant::now());
            state.in_progress.start_for(tenant, &id, paths, now, None);
        }
        if let Some(horizon) = reference::horizon(&made.caller_reference, scope) {
            let tenant = scope.tenant.as_deref();
            state.covered.add(horizon, tenant, &made.paths);
        }
        state.read.insert(id);
    }

    /// The edge accepted a batch.
    pub(super) fn accepted(&self, name: &Arc<str>, batch: &Batch, id: &str) {
        let paths = &batch.invalidation.paths;
        let tenant = batch.invalidation.scope.tenant.as_ref();
        let mut state = self.lock();
        let (now, committed_at) = (Instant::now(), Some(batch.committed_at_us));
        let in_progress = &mut state.in_progress;
        in_progress.start_for(tenant, id, count(paths), now, committed_at);
        state.read.insert(id.to_owned());
        if let Some(horizon) = batch.horizon {
            let tenant = tenant.map(|name| &**name);
            state.covered.add(horizon, tenant, paths);
        }
        publish(name, state.in_progress.used());
        drop(state);
        self.wish.notify_one();
    }
}

fn publish(name: &Arc<str>, used: Room) {
    for (kind, paths) in [("single", used.singles), ("wildcard", used.wildcards)] {
        let paths = f64::from(u32::try_from(paths).unwrap_or(u32::MAX));
        gauge!(metric::EDGE_IN_PROGRESS, "distribution" => name.to_string(), "kind" => kind)
            .set(paths);
    }
}

/// Keeps a [`Standing`] up to date.
pub(super) struct Watch<E> {
    pub(super) edge: Arc<E>,
    pub(super) pace: Arc<Pace>,
    pub(super) book: Arc<Book>,
    pub(super) standing: Arc<Standing>,
    /// The distribution's name in the configuration, and its id.
    pub(super) name: Arc<str>,
    pub(super) distribution: Arc<str>,
}

impl<E: Edge> Watch<E> {
    /// Looks for ever: at once, while something is in progress, and when asked.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(LOOK_BACKOFF.0, LOOK_BACKOFF.1);
        let mut failing = false;
        let mut orphans = self.book.orphans(&self.name);
        if let Some((since, _)) = &orphans {
            let since = SystemTime::from(*since);
            self.standing.lock().recall = since.checked_sub(CLOCKS_DIFFER);
        }
        loop {
            let began = Instant::now();
            self.standing.lock().now = false;
            let pause = match self.look().await {
                Ok(references) => {
                    if std::mem::take(&mut failing) {
                        info!(distribution = %self.name, "the edge says again what is in progress");
                    }
                    backoff.reset();
                    if let Some((_, orphans)) = orphans.take() {
                        self.reconcile(orphans, references.as_deref()).await;
                    }
                    None
                }
                Err(error) => {
                    counter!(metric::EDGE_LOOKS_FAILED, "error" => error.name()).increment(1);
                    if !std::mem::replace(&mut failing, true) {
                        warn!(distribution = %self.name, error = %error, "cannot ask what is in progress; going by what the edge accepts and refuses");
                    }
                    self.standing.lock().in_progress.forget_old(Instant::now());
                    Some(backoff.next_delay())
                }
            };
            self.report_overdue();
            self.standing.looks.send_modify(|looks| *looks += 1);
            self.rest(began, pause).await;
        }
    }

    /// Waits until it is time for the next look.
    async fn rest(&self, began: Instant, pause: Option<Duration>) {
        loop {
            let calls = {
                let state = self.standing.lock();
                match (state.now, state.waiting, state.in_progress.is_empty()) {
                    (true, ..) => Some(0),
                    (false, 1.., _) => Some(CALLS_PER_URGENT_LOOK),
                    (false, 0, false) => Some(CALLS_PER_LOOK),
                    (false, 0, true) => None,
                }
            };
            let wish = self.standing.wish.notified();
            let Some(calls) = calls else {
                wish.await;
                continue;
            };
            let due = began + pause.unwrap_or_else(|| self.pace.time_of(calls));
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = wish => {}
            }
        }
    }

    /// Asks what is in progress. Returns the caller references of what was
    /// read in full, if that is everything there was to read.
    async fn look(&self) -> Result<Option<Vec<String>>, EdgeError> {
        let (recall, known) = {
            let mut state = self.standing.lock();
            let known: Vec<String> = state.in_progress.ids().map(str::to_owned).collect();
            (state.recall.take(), known)
        };
        let scope = Scope::of(&self.distribution);
        let mut to_read = Vec::new();
        let mut listed = HashSet::new();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            self.pace.turn().await;
            let page = self.edge.list(&scope, from).await?;
            let mut more = false;
            for Listed {
                id,
                made_at,
                completed,
            } in page.invalidations
            {
                let recalled = recall.is_some_and(|since| made_at >= since);
                more |= recalled || !completed;
                let unread = !self.standing.lock().read.contains(&id);
                if completed {
                    self.completed(&mut self.standing.lock(), &id);
                }
                if unread && (recalled || !completed) {
                    to_read.push(id.clone());
                }
                listed.insert(id);
            }
            from = page.next;
            if !more || from.is_none() {
                break;
            }
        }
        // What has slipped off the pages.
        to_read.extend(known.into_iter().filter(|id| !listed.contains(id)));
        let reads_max = READING_MAX.as_nanos() / self.pace.time_of(1).as_nanos().max(1);
        let reads_max = usize::try_from(reads_max).unwrap_or(usize::MAX);
        let complete = to_read.len() <= reads_max;
        if !complete {
            warn!(distribution = %self.name, invalidations = to_read.len(), "too many invalidations to read them all; some paths may be paid for twice");
            to_read.truncate(reads_max);
        }
        let mut references = Vec::new();
        for id in to_read {
            self.pace.turn().await;
            let made = self.edge.read(&scope, &id).await?;
            if made.completed {
                self.completed(&mut self.standing.lock(), &id);
            }
            self.standing.learn(&scope, id, &made);
            references.push(made.caller_reference);
        }
        self.look_at_tenants().await?;
        let mut state = self.standing.lock();
        let State {
            read, in_progress, ..
        } = &mut *state;
        // Bounded: what is no longer listed is not asked about again.
        read.retain(|id| listed.contains(id) || in_progress.knows(id));
        publish(&self.name, in_progress.used());
        Ok(complete.then_some(references))
    }

    /// Asks for the oldest of what is in progress for tenants.
    async fn look_at_tenants(&self) -> Result<(), EdgeError> {
        let in_progress = {
            let state = self.standing.lock();
            state.in_progress.of_tenants(Instant::now(), TENANTS_AFTER)
        };
        for (id, tenant) in in_progress.into_iter().take(TENANTS_MAX) {
            let scope = Scope {
                tenant: Some(tenant),
                ..Scope::of(&self.distribution)
            };
            self.pace.turn().await;
            let completed = match self.edge.read(&scope, &id).await {
                Ok(made) => made.completed,
                // It is gone, with all that was in progress for it.
                Err(EdgeError::NoSuchTenant { .. }) => true,
                Err(error) => return Err(error),
            };
            if completed {
                self.completed(&mut self.standing.lock(), &id);
            }
        }
        Ok(())
    }

    fn completed(&self, state: &mut State, id: &str) {
        let Some(committed_at_us) = state.in_progress.complete(id) else {
            return;
        };
        let committed_at = UNIX_EPOCH + Duration::from_micros(committed_at_us);
        let elapsed = SystemTime::now().duration_since(committed_at);
        // A commit in the future is a clock that is off, not a latency.
        histogram!(metric::COMMIT_TO_EDGE_COMPLETED, "distribution" => self.name.to_string())
            .record(elapsed.unwrap_or_default());
    }

    fn report_overdue(&self) {
        let overdue = self
            .standing
            .lock()
            .in_progress
            .newly_overdue(Instant::now());
        for invalidation in overdue {
            counter!(metric::EDGE_OVERDUE, "distribution" => self.name.to_string()).increment(1);
            error!(distribution = %self.name, invalidation, "an invalidation is in progress for 15 minutes; see AWS's status page and the distribution in the console");
        }
    }

    /// Settles what a process that is gone had counted. What cannot be known
    /// stays counted.
    async fn reconcile(&self, orphans: Vec<String>, references: Option<&[String]>) {
        for orphan in orphans {
            let made = reference::is_of_tenant(&orphan)
                || references.is_none_or(|references| references.contains(&orphan));
            let settled = match made {
                true => self.book.made(&self.name, &orphan).await,
                false => self.book.not_made(&self.name, &orphan).await,
            };
            if let Err(error) = settled {
                counter!(metric::BUDGET_ERRORS).increment(1);
                warn!(distribution = %self.name, error = %error, "could not settle the month's count");
            }
        }
    }
}
