//! The protocol as a state machine that a model checker walks through.

use std::fmt;

use stateright::{Model, Property};

/// The row is written this often at most.
const WRITES_MAX: usize = 3;

/// How readers name and store an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// One key, `user:7:profile`, stored by SET.
    Plain,
    /// A key for each version, `user:7:v3`, stored by SET.
    Versioned,
    /// One key, stored by the fill script.
    Guarded,
    /// A key for each version, stored by the fill script; readers look the version up in the guard.
    Pointed,
}

/// What a write does to the row's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// An update that moves it on.
    Bumps,
    /// An update that leaves it as it was.
    Forgets,
    /// The row is deleted and inserted again under the version that it had.
    Recreates,
}

/// How long a reader may take from reading the row to storing the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fills {
    /// Less than `settle_after`.
    Bounded,
    /// Any time.
    Unbounded,
}

/// When the guard is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    BeforeDeletion,
    AfterDeletion,
}

/// What `settle_after` is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    Off,
    FromCommit,
    FromVisibility,
    /// Once the replica that readers read from has the write too.
    FromReplica,
}

/// What has to be done for a change before the step in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    Deleted,
    Settled,
}

/// The protocol, with every part that a test may take away.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub writes: &'static [Write],
    pub readers: usize,
    pub crashes: u8,
    pub entry: Entry,
    pub fills: Fills,
    /// Whether readers read from a replica, which may lag.
    pub replica: bool,
    /// Whether deletions wait until the row is visible.
    pub barrier: bool,
    pub raise: Raise,
    /// Whether Redis may drop the guard, by its eviction policy or when it expires.
    pub guard_is_lost: bool,
    pub settle: Settle,
    /// Whether a name with a version is deleted a second time where the row was recreated under it.
    pub recreated_settles: bool,
    /// When the position may be stored.
    pub checkpoint: Once,
    /// When the path may be sent; `None`: there is no edge.
    pub path: Option<Once>,
}

/// What a reader read and has not stored yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Held {
    /// The row: the number of the write that made it.
    row: u8,
    /// The writes that were past the moment from which settling counts.
    began: u8,
}

/// Everything that decides what can happen next. A number of writes stands for all writes up to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    // MySQL
    binlog: u8,
    visible: u8,
    replicated: u8,
    // Redis
    guard: Option<u8>,
    /// The row under each version's key; the first alone where there is one key.
    entries: [Option<u8>; WRITES_MAX + 1],
    // evictd
    read: u8,
    raised: u8,
    deleted: u8,
    settled: u8,
    sent: u8,
    checkpoint: u8,
    crashes: u8,
    // The readers, in no order: they are alike.
    readers: Vec<Option<Held>>,
    // CloudFront
    edge: Option<u8>,
}

/// One thing that one of the parties does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Commit(u8),
    BecomeVisible(u8),
    Replicate(u8),
    ReadEvent(u8),
    RaiseGuard(u8),
    Delete(u8),
    DeleteAgain(u8),
    SendPath(u8),
    StorePosition(u8),
    Crash,
    LoseGuard,
    ReadRow(u8),
    Fill(Held),
    EdgeFetches,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Commit(write) => write!(f, "write {write} is in the binlog"),
            Step::BecomeVisible(write) => write!(f, "write {write} is visible"),
            Step::Replicate(write) => write!(f, "write {write} is visible on the replica"),
            Step::ReadEvent(write) => write!(f, "evictd reads the event of write {write}"),
            Step::RaiseGuard(write) => write!(f, "evictd raises the guard for write {write}"),
            Step::Delete(write) => write!(f, "evictd deletes the entry for write {write}"),
            Step::DeleteAgain(write) => write!(f, "evictd is done settling write {write}"),
            Step::SendPath(write) => write!(f, "evictd sends the path for write {write}"),
            Step::StorePosition(write) => {
                write!(f, "evictd stores the position after write {write}")
            }
            Step::Crash => write!(f, "evictd crashes and starts again"),
            Step::LoseGuard => write!(f, "Redis drops the guard"),
            Step::ReadRow(row) => write!(f, "a reader reads row {row}"),
            Step::Fill(held) => write!(f, "a reader fills row {}", held.row),
            Step::EdgeFetches => write!(f, "the edge fetches the page"),
        }
    }
}

impl Protocol {
    fn writes(&self) -> u8 {
        u8::try_from(self.writes.len()).unwrap()
    }

    /// The version of the row that this write made.
    fn version(&self, row: u8) -> u8 {
        let writes = self.writes[..usize::from(row)].iter();
        u8::try_from(writes.filter(|write| **write == Write::Bumps).count()).unwrap()
    }

    fn write(&self, write: u8) -> Write {
        self.writes[usize::from(write) - 1]
    }

    /// What the guard is raised to: past the version of a row that was deleted.
    fn watermark(&self, write: u8) -> u8 {
        self.version(write) + u8::from(self.write(write) == Write::Recreates)
    }

    /// Whether this write's second deletion is one. A name whose version an update moved on is not read any more.
    fn settles(&self, write: u8) -> bool {
        let names_versions = matches!(self.entry, Entry::Versioned | Entry::Pointed);
        let in_use = match self.write(write) {
            Write::Bumps => !names_versions,
            Write::Forgets => true,
            Write::Recreates => !names_versions || self.recreated_settles,
        };
        self.settle != Settle::Off && in_use
    }

    /// Where the row is cached.
    fn slot(&self, row: u8) -> usize {
        match self.entry {
            Entry::Plain | Entry::Guarded => 0,
            Entry::Versioned | Entry::Pointed => usize::from(self.version(row)),
        }
    }

    fn guarded(&self) -> bool {
        matches!(self.entry, Entry::Guarded | Entry::Pointed)
    }

    /// What a reader that looks into the cache now is given.
    fn served(&self, state: &State) -> Option<u8> {
        match self.entry {
            Entry::Plain | Entry::Guarded => state.entries[0],
            // It knows the current version from elsewhere.
            Entry::Versioned => state.entries[self.slot(state.visible)],
            Entry::Pointed => *state.entries.get(usize::from(state.guard?))?,
        }
    }

    /// The writes that are past the moment from which settling counts.
    fn past(&self, state: &State) -> u8 {
        match self.settle {
            Settle::Off | Settle::FromCommit => state.binlog,
            Settle::FromVisibility => state.visible,
            Settle::FromReplica => state.replicated,
        }
    }

    /// Whether no fill can be under way any more that `settle_after` has to outlast.
    fn due(&self, state: &State, write: u8) -> bool {
        let bounded = self.settle != Settle::Off && self.fills == Fills::Bounded;
        let outlasted = |held: &Held| held.began >= write;
        let over = !bounded || state.readers.iter().flatten().all(outlasted);
        self.past(state) >= write && over
    }

    /// Deletes what this write makes stale: the entry of the row before it.
    fn delete(&self, state: &mut State, write: u8) {
        state.entries[self.slot(write - 1)] = None;
    }

    fn fill(&self, state: &mut State, row: u8) {
        let version = self.version(row);
        if self.guarded() {
            if state.guard.is_some_and(|guard| version < guard) {
                return;
            }
            state.guard = Some(version);
        }
        state.entries[self.slot(row)] = Some(row);
    }

    /// Every write is visible and done with, and nobody is in the middle of anything.
    fn is_quiet(&self, state: &State) -> bool {
        let writes = self.writes();
        state.visible == writes
            && (!self.replica || state.replicated == writes)
            && state.settled == writes
            && (self.path.is_none() || state.sent == writes)
            && state.checkpoint == writes
            && state.readers.iter().all(Option::is_none)
    }
}

/// Never violated by a protocol that is whole.
pub const NO_STALE_ENTRY: &str = "no stale entry is left in the cache";
pub const NO_STALE_PAGE: &str = "no stale page is left at the edge";
/// Reached by every protocol: the other two do not hold for want of anything cached.
pub const AN_ENTRY_IS_LEFT: &str = "a fresh entry is left in the cache";

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            binlog: 0,
            visible: 0,
            replicated: 0,
            guard: None,
            entries: [None; WRITES_MAX + 1],
            read: 0,
            raised: 0,
            deleted: 0,
            settled: 0,
            sent: 0,
            checkpoint: 0,
            crashes: 0,
            readers: vec![None; self.readers],
            edge: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let mut may = |allowed: bool, step: Step| {
            if allowed {
                steps.push(step);
            }
        };
        // MySQL hands a write to its replicas, and only then shows it to other sessions.
        may(state.binlog < self.writes(), Step::Commit(state.binlog + 1));
        may(
            state.visible < state.binlog,
            Step::BecomeVisible(state.visible + 1),
        );
        may(
            self.replica && state.replicated < state.visible,
            Step::Replicate(state.replicated + 1),
        );

        // evictd takes every write through these stages, in order.
        may(state.read < state.binlog, Step::ReadEvent(state.read + 1));
        let is_visible = |write: u8| !self.barrier || state.visible >= write;
        let (first, second) = match self.raise {
            Raise::BeforeDeletion => (state.raised, state.deleted),
            Raise::AfterDeletion => (state.deleted, state.raised),
        };
        let (next_first, next_second) = if self.guarded() {
            (first < state.read && is_visible(first + 1), second < first)
        } else {
            (
                false,
                state.deleted < state.read && is_visible(state.deleted + 1),
            )
        };
        let (raise, delete) = match self.raise {
            Raise::BeforeDeletion => (next_first, next_second),
            Raise::AfterDeletion if self.guarded() => (next_second, next_first),
            Raise::AfterDeletion => (false, next_second),
        };
        may(raise, Step::RaiseGuard(state.raised + 1));
        may(delete, Step::Delete(state.deleted + 1));
        let acted = if self.guarded() {
            state.raised.min(state.deleted)
        } else {
            state.deleted
        };
        let settle = state.settled < acted && self.due(state, state.settled + 1);
        may(settle, Step::DeleteAgain(state.settled + 1));
        let done = |once: Once| match once {
            Once::Deleted => acted,
            Once::Settled => state.settled,
        };
        if let Some(path) = self.path {
            may(state.sent < done(path), Step::SendPath(state.sent + 1));
        }
        let done = match self.path {
            Some(_) => done(self.checkpoint).min(state.sent),
            None => done(self.checkpoint),
        };
        may(state.checkpoint < done, Step::StorePosition(done));
        may(state.crashes < self.crashes, Step::Crash);
        may(self.guard_is_lost && state.guard.is_some(), Step::LoseGuard);

        // A reader reads the row some time after it missed; whether there is an entry by then changes nothing.
        let row = if self.replica {
            state.replicated
        } else {
            state.visible
        };
        may(state.readers.contains(&None), Step::ReadRow(row));
        for held in state.readers.iter().flatten() {
            may(true, Step::Fill(*held));
        }
        may(
            self.path.is_some() && state.edge.is_none(),
            Step::EdgeFetches,
        );
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Commit(write) => state.binlog = write,
            Step::BecomeVisible(write) => state.visible = write,
            Step::Replicate(write) => state.replicated = write,
            Step::ReadEvent(write) => state.read = write,
            Step::RaiseGuard(write) => {
                state.raised = write;
                state.guard = state.guard.max(Some(self.watermark(write)));
            }
            Step::Delete(write) => {
                state.deleted = write;
                self.delete(&mut state, write);
            }
            Step::DeleteAgain(write) => {
                state.settled = write;
                if self.settles(write) {
                    self.delete(&mut state, write);
                }
            }
            Step::SendPath(write) => {
                state.sent = write;
                state.edge = None;
            }
            Step::StorePosition(write) => state.checkpoint = write,
            Step::Crash => {
                state.crashes += 1;
                for stage in [
                    &mut state.read,
                    &mut state.raised,
                    &mut state.deleted,
                    &mut state.settled,
                    &mut state.sent,
                ] {
                    *stage = state.checkpoint;
                }
            }
            Step::LoseGuard => state.guard = None,
            Step::ReadRow(row) => {
                let idle = state.readers.iter().position(Option::is_none)?;
                let began = match self.fills {
                    Fills::Bounded => self.past(last),
                    Fills::Unbounded => 0,
                };
                state.readers[idle] = Some(Held { row, began });
            }
            Step::Fill(held) => {
                let filling = state
                    .readers
                    .iter()
                    .position(|reader| *reader == Some(held))?;
                state.readers[filling] = None;
                self.fill(&mut state, held.row);
            }
            // From the application, which answers from the cache or else from the row.
            Step::EdgeFetches => state.edge = Some(self.served(last).unwrap_or(last.visible)),
        }
        state.readers.sort();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_STALE_ENTRY, |protocol: &Protocol, state: &State| {
                let served = protocol.served(state);
                !protocol.is_quiet(state) || served.is_none() || served == Some(state.visible)
            }),
            Property::always(NO_STALE_PAGE, |protocol: &Protocol, state: &State| {
                let edge = state.edge;
                !protocol.is_quiet(state) || edge.is_none() || edge == Some(state.visible)
            }),
            Property::sometimes(AN_ENTRY_IS_LEFT, |protocol: &Protocol, state: &State| {
                protocol.is_quiet(state) && protocol.served(state) == Some(state.visible)
            }),
        ]
    }

    fn format_action(&self, step: &Step) -> String {
        step.to_string()
    }
}
