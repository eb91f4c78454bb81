//! The state of every task, for metrics, status and health.
//!
//! Tasks write to it a few times for each batch at most, and never for a row.
//! It is locked for moments, never across an await, so that reading it cannot
//! hold up the work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::edge::budget::{Budget, BudgetStatus};
use crate::ledger::Ledger;
use crate::model::invalidation::Widening;
use crate::model::{CommitTime, Position};
use crate::rules::Rules;

/// The places that tasks report to.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// The present state.
    pub board: Arc<Board>,
    /// Gaps and dead letters.
    pub ledger: Ledger,
    /// The rules, to name those that a key can come from.
    pub rules: Arc<Rules>,
}

/// A part of the work that can fail by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Leading, where no other process does.
    Leadership,
    /// Reading the binlog.
    Source,
    /// The source's address, and who is there.
    Address,
    /// Waiting until rows are visible.
    Visibility,
    /// What was deleted before it was known whether its rows are visible.
    Unseen,
    /// First deletions.
    Cache,
    /// Second deletions.
    Settling,
    /// Deletions that failed in part, tried again beside the others.
    Retries,
    /// Deletions that scan the cache.
    Scans,
    /// Sends to the buffer.
    Buffer,
    /// The path of a local buffer, which the next start opens.
    BufferFile,
    /// Storing the position.
    Checkpoint,
    /// Receives from the buffer.
    Drain,
    /// Invalidations of one distribution, by its name.
    Edge(Arc<str>),
    /// Paths that this distribution refuses: all of them, or one for a reason that
    /// evictd does not know.
    Paths(Arc<str>),
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Component::Leadership => f.write_str("leadership"),
            Component::Source => f.write_str("source"),
            Component::Address => f.write_str("address"),
            Component::Visibility => f.write_str("visibility"),
            Component::Unseen => f.write_str("unseen"),
            Component::Cache => f.write_str("cache"),
            Component::Settling => f.write_str("settling"),
            Component::Retries => f.write_str("retries"),
            Component::Scans => f.write_str("scans"),
            Component::Buffer => f.write_str("buffer"),
            Component::BufferFile => f.write_str("buffer file"),
            Component::Checkpoint => f.write_str("checkpoint"),
            Component::Drain => f.write_str("drain"),
            Component::Edge(distribution) => write!(f, "edge {distribution}"),
            Component::Paths(distribution) => write!(f, "paths {distribution}"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartState {
    /// Begin of its present outage, if there is one.
    pub trouble_since: Option<Timestamp>,
    /// The last failure, and its time; kept after the outage is over.
    pub last_error: Option<(Timestamp, String)>,
    /// When its task last began something; `None` while it waits for work.
    pub busy_since: Option<Instant>,
}

/// The place up to which the binlog is read.
#[derive(Clone, Debug, Default)]
pub struct ReadingState {
    /// The position after the last whole transaction that was read.
    pub position: Option<Position>,
    /// The file and offset that are being read, within transactions too.
    pub at: Option<(String, u64)>,
    /// When the transaction being read was committed.
    pub committed_at: Option<CommitTime>,
    /// Whether anything was received since the start.
    pub heard: bool,
    /// Whether everything that the server has sent is read.
    pub drained: bool,
    /// When the oldest change that gathers was committed, if one does.
    pub gathers_since: Option<CommitTime>,
    /// Size of the batch that gathers, in bytes.
    pub gathers_bytes: usize,
}

/// Whether this process leads, of several with one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Another process leads.
    StandsBy,
    Leads,
}

impl std::fmt::Display for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Leadership::StandsBy => "stands-by",
            Leadership::Leads => "leads",
        })
    }
}

/// Everything that is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether this process leads, and since when; `None` while it starts, and
    /// where it only drains or plans.
    pub leadership: Option<(Leadership, Timestamp)>,
    /// Whether the binlog is being read from a server.
    pub connected: bool,
    /// When `connected` last changed.
    pub connection_changed_at: Option<Timestamp>,
    /// The place up to which the binlog is read; `None` where this process does
    /// not read it.
    pub reading: Option<ReadingState>,
    /// Bytes of the binlog that are not read, and when the server said so.
    pub binlog_lag: Option<(Instant, u64)>,
    /// When the oldest change in a first deletion was committed, if there is
    /// one.
    pub deletes_since: Option<CommitTime>,
    /// When the oldest change was committed of which a part is not deleted yet,
    /// while later ones are.
    pub remains_since: Option<CommitTime>,
    /// Batches that wait to be deleted again.
    pub settling_batches: usize,
    /// Size of these batches, in bytes.
    pub settling_bytes: usize,
    /// Keys deleted since the start.
    pub keys_deleted: u64,
    /// Mapped rows that changed while their version did not, since the start.
    pub missed_bumps: u64,
    /// Invalidations that cover more than a change, since the start.
    pub widenings: BTreeMap<Widening, u64>,
    /// The stored position, and when it was stored.
    pub stored: Option<(Timestamp, Position)>,
    /// Every component that has reported.
    pub parts: BTreeMap<Component, PartState>,
}

/// Age at which a figure from the server is not valid any more.
const BINLOG_LAG_AGE_MAX: Duration = Duration::from_secs(30);

impl Snapshot {
    /// Age of the oldest committed change whose keys are not deleted yet, as far
    /// as is known; `None` where this process does not read the binlog.
    ///
    /// Without a connection changes may have been committed since it was lost.
    /// Commit times come from the source's clock.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        let reading = self.reading.as_ref()?;
        let lost = self
            .connection_changed_at
            .filter(|_| !self.connected)
            .and_then(CommitTime::from_timestamp);
        let read = reading
            .committed_at
            .filter(|_| self.connected && !reading.drained);
        let oldest = [
            self.deletes_since,
            self.remains_since,
            reading.gathers_since,
            read,
            lost,
        ]
        .into_iter()
        .flatten()
        .min();
        Some(oldest.map_or(Duration::ZERO, |oldest| oldest.age_at(now)))
    }

    /// Bytes of the binlog that are not read, if the figure is recent.
    pub fn binlog_lag_bytes(&self) -> Option<u64> {
        let (at, bytes) = self.binlog_lag?;
        (at.elapsed() < BINLOG_LAG_AGE_MAX).then_some(bytes)
    }
}

/// The snapshot that tasks write to, behind a lock.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<Snapshot>,
    /// The count of the month's paths, while there is a drain.
    budget: Mutex<Weak<Budget>>,
}

impl Board {
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// This process drains, and counts its paths in `budget`.
    pub fn counts_in(&self, budget: &Arc<Budget>) {
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(budget);
    }

    /// The month's paths and budget of every distribution; none where this
    /// process does not drain.
    pub fn budgets(&self) -> Vec<BudgetStatus> {
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budget.upgrade();
        budget.map(|budget| budget.statuses()).unwrap_or_default()
    }

    /// An attempt of `part` failed.
    pub fn failed(&self, part: &Component, error: String) {
        self.failing_since(part, Timestamp::now(), error);
    }

    /// `part` is in trouble that began at `since`, if it was not before.
    pub fn failing_since(&self, part: &Component, since: Timestamp, error: String) {
        self.part(part, |state| {
            state.trouble_since.get_or_insert(since);
            state.last_error = Some((Timestamp::now(), error));
        });
    }

    /// The outage of `part` is over.
    pub fn recovered(&self, part: &Component) {
        self.part(part, |state| state.trouble_since = None);
    }

    /// The task of `part` begins something that should end soon.
    pub fn started(&self, part: &Component) {
        let now = Instant::now();
        self.part(part, |state| state.busy_since = Some(now));
    }

    /// The task of `part` waits for work, or does something that may take any
    /// time.
    pub fn idle(&self, part: &Component) {
        self.part(part, |state| state.busy_since = None);
    }

    fn part(&self, part: &Component, change: impl FnOnce(&mut PartState)) {
        let mut snapshot = self.lock();
        match snapshot.parts.get_mut(part) {
            Some(state) => change(state),
            None => change(snapshot.parts.entry(part.clone()).or_default()),
        }
    }

    /// This process leads from now on.
    pub fn leads(&self) {
        self.lock().leadership = Some((Leadership::Leads, Timestamp::now()));
    }

    /// The turn before is over, and with it what its tasks had begun. The trouble of an
    /// edge that the next turn has is not.
    pub fn next_turn(&self, has_edge: impl Fn(&str) -> bool) {
        let mut snapshot = self.lock();
        snapshot.parts.retain(|part, state| {
            matches!(part, Component::Edge(name) if has_edge(name)) && state.trouble_since.is_some()
        });
        (snapshot.deletes_since, snapshot.remains_since) = (None, None);
        (snapshot.settling_batches, snapshot.settling_bytes) = (0, 0);
    }

    /// Another process leads, or this one could not. Only what counts from the
    /// start is kept.
    pub fn stands_by(&self) {
        let mut snapshot = self.lock();
        let mut before = std::mem::take(&mut *snapshot);
        before
            .parts
            .retain(|part, _| *part == Component::Leadership);
        let since = match before.leadership {
            Some((Leadership::StandsBy, since)) => since,
            _ => Timestamp::now(),
        };
        *snapshot = Snapshot {
            leadership: Some((Leadership::StandsBy, since)),
            parts: before.parts,
            keys_deleted: before.keys_deleted,
            missed_bumps: before.missed_bumps,
            widenings: before.widenings,
            ..Snapshot::default()
        };
    }

    /// The binlog is read from a server.
    pub fn connected(&self) {
        let mut snapshot = self.lock();
        snapshot.connected = true;
        snapshot.connection_changed_at = Some(Timestamp::now());
    }

    /// The connection to the server is lost.
    pub fn disconnected(&self) {
        let mut snapshot = self.lock();
        if std::mem::take(&mut snapshot.connected) || snapshot.connection_changed_at.is_none() {
            snapshot.connection_changed_at = Some(Timestamp::now());
        }
    }

    /// The place up to which the binlog is read.
    pub fn reads(&self, reading: ReadingState) {
        self.lock().reading = Some(reading);
    }

    /// The file and offset that are being read, to be compared with the server's
    /// end.
    pub fn reading_at(&self) -> Option<(String, u64)> {
        self.lock().reading.as_ref()?.at.clone()
    }

    /// When the connection to the server was made or lost.
    pub fn connection_changed_at(&self) -> Option<Timestamp> {
        self.lock().connection_changed_at
    }

    /// Bytes of the binlog that are not read; `None` if the server cannot say.
    pub fn binlog_lag(&self, bytes: Option<u64>) {
        self.lock().binlog_lag = bytes.map(|bytes| (Instant::now(), bytes));
    }

    /// A first deletion begins, whose oldest change was committed at `oldest`.
    pub fn deletes(&self, oldest: Option<CommitTime>) {
        self.lock().deletes_since = oldest;
    }

    /// The first deletion is done.
    pub fn deleted(&self, keys: u64) {
        let mut snapshot = self.lock();
        snapshot.deletes_since = None;
        snapshot.keys_deleted += keys;
    }

    /// A part of a change remains to be deleted that was committed at this time.
    pub fn remains(&self, oldest: Option<CommitTime>) {
        self.lock().remains_since = oldest;
    }

    /// Keys were deleted that had remained.
    pub fn deleted_late(&self, keys: u64) {
        self.lock().keys_deleted += keys;
    }

    /// Adds what was counted while a batch was planned.
    pub fn planned(&self, widened: &BTreeMap<Widening, u64>, missed_bumps: u64) {
        if widened.is_empty() && missed_bumps == 0 {
            return;
        }
        let mut snapshot = self.lock();
        snapshot.missed_bumps += missed_bumps;
        for (reason, count) in widened {
            *snapshot.widenings.entry(*reason).or_default() += count;
        }
    }

    /// Batches that wait to be deleted again, and their size in bytes.
    pub fn settles(&self, batches: usize, bytes: usize) {
        let mut snapshot = self.lock();
        snapshot.settling_batches = batches;
        snapshot.settling_bytes = bytes;
    }

    /// The position was stored.
    pub fn stored(&self, position: &Position) {
        self.lock().stored = Some((Timestamp::now(), position.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: u64 = 1_000_000_000;

    fn lag(change: impl FnOnce(&mut Snapshot, &mut ReadingState)) -> u64 {
        let mut snapshot = Snapshot {
            connected: true,
            ..Snapshot::default()
        };
        let mut reading = ReadingState {
            drained: true,
            committed_at: CommitTime::from_micros(NOW_US - 900_000_000),
            ..ReadingState::default()
        };
        change(&mut snapshot, &mut reading);
        snapshot.reading = Some(reading);
        let now = Timestamp::from_microsecond(NOW_US.try_into().unwrap()).unwrap();
        snapshot.lag(now).unwrap().as_secs()
    }

    #[test]
    fn the_lag_is_the_age_of_the_oldest_change_that_may_not_be_deleted() {
        assert_eq!(lag(|_, _| {}), 0, "everything is read and deleted");
        assert_eq!(lag(|_, reading| reading.drained = false), 900);
        let deleting = lag(|snapshot, reading| {
            snapshot.deletes_since = CommitTime::from_micros(NOW_US - 20_000_000);
            reading.gathers_since = CommitTime::from_micros(NOW_US - 10_000_000);
        });
        assert_eq!(deleting, 20);
        let ago = |seconds: u64| {
            let at_us = NOW_US - seconds * 1_000_000;
            Timestamp::from_microsecond(at_us.try_into().unwrap()).unwrap()
        };
        let lost = lag(|snapshot, reading| {
            snapshot.connected = false;
            snapshot.connection_changed_at = Some(ago(40));
            reading.drained = false;
        });
        assert_eq!(lost, 40, "anything may have been committed since");
        let ahead = lag(|_, reading| {
            reading.gathers_since = CommitTime::from_micros(NOW_US + 5_000_000);
        });
        assert_eq!(ahead, 0, "a clock that is ahead is not a lag");
        assert_eq!(Snapshot::default().lag(Timestamp::now()), None);
    }

    #[test]
    fn an_outage_has_a_beginning_and_an_end_and_its_last_error_stays() {
        let board = Board::default();
        board.failed(&Component::Cache, "first".to_owned());
        let begun = board.snapshot().parts[&Component::Cache].trouble_since;
        assert!(begun.is_some());
        board.failed(&Component::Cache, "second".to_owned());
        board.recovered(&Component::Cache);
        let state = board.snapshot().parts[&Component::Cache].clone();
        assert_eq!(state.trouble_since, None);
        assert_eq!(state.last_error.unwrap().1, "second");
    }
}
