//! The source as a state machine: transactions with GTIDs and without, a server that fails over, is reset or freezes, and
//! what evictd does where it knows, and where it does not know, whether rows are visible.
//!
//! One row under one key, one reader. A transaction is in the binlog first and visible a little later; one at a time is
//! in between. A server that takes over may lack the last transactions. evictd reads from a *stream*, which ends when
//! the server changes or is reset; reading on, it compares what it read with what the server has, and anything that is
//! missing is a gap, which deletes everything. So does the change of server itself, since readers may have seen what the
//! new one lacks and evictd has not read.
//!
//! # Files
//!
//! - `state`: what there is.
//! - `step`: what can happen.
//!
//! # Time
//!
//! `moment` counts how often what readers see has changed. That fills take less than `settle_after` means that a
//! deletion that is due `settle_after` after a moment comes after every fill that began before it. A transaction
//! without a GTID has to be visible by the time its second deletion is due, counted from the first: nothing can be asked
//! about it. So frozen servers have GTIDs here.

mod state;
mod step;

use stateright::{Model, Property};

use self::state::{Change, Due, Gtid, Held, Memory, Place, Stage, State, Transaction};
use self::step::{Of, Step};

/// What evictd asks the server about before it deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// The change's own transaction; nothing, if that has no GTID.
    ItsOwn,
    /// Every GTID that was read up to the change.
    EverythingBefore,
}

/// What evictd does with an answer that it was given before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembers {
    OfOneStream,
    ForEver,
}

/// What evictd does while a server does not have a transaction that was read from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// Deletes without knowing.
    IsUnknown,
    /// Waits for it.
    IsNotYet,
}

/// What becomes of a change that was deleted without knowing whether it was visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It is deleted again once it is visible, and once more `settle_after` later; its position waits.
    IsClosed,
    /// The same, and its position goes on after the second deletion.
    LetsThePositionGo,
    /// It is settled like any other.
    IsForgotten,
}

/// What evictd does where another server is read, which may lack what the one before showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Deletes everything.
    Widens,
    /// Reads on where it was, if the server has what was read.
    GoesOn,
}

/// The protocol, with every part that a test may take away, and what may happen.
#[derive(Clone, Debug)]
pub struct Source {
    /// For each write, whether its transaction has a GTID.
    pub named: &'static [bool],
    pub fails_over: bool,
    pub resets: bool,
    pub freezes: bool,
    pub crashes: bool,
    pub asks: Asks,
    pub remembers: Remembers,
    pub lacking: Lacking,
    pub open: Open,
    pub elsewhere: Elsewhere,
}

fn holds_all(executed: &[Gtid], asked: &[Gtid]) -> bool {
    asked.iter().all(|gtid| executed.contains(gtid))
}

impl Source {
    fn question(&self, change: &Change) -> Vec<Gtid> {
        match self.asks {
            Asks::ItsOwn => {
                let own = change.transaction.and_then(|transaction| transaction.gtid);
                own.into_iter().collect()
            }
            Asks::EverythingBefore => {
                let read = change.end.read.iter();
                read.filter_map(|transaction| transaction.gtid).collect()
            }
        }
    }

    /// When the second deletion of the first change that is not deleted yet is due; `None`: it has to wait.
    fn due(&self, state: &State, change: &Change) -> Option<Due> {
        let known = |after| Some(Due { after, open: false });
        let asked = self.question(change);
        if asked.is_empty() {
            return known(state.moment);
        }
        let remembered = state.memory.as_ref().filter(|memory| {
            let fits = self.remembers == Remembers::ForEver || memory.stream == state.stream;
            fits && holds_all(&memory.executed, &asked)
        });
        if let Some(memory) = remembered {
            return known(memory.by);
        }
        if !state.frozen && holds_all(&state.executed(), &asked) {
            return known(state.moment);
        }
        let lacks = change.stream != state.stream && self.lacking == Lacking::IsUnknown;
        (state.frozen || lacks).then_some(Due {
            after: state.moment,
            open: true,
        })
    }

    fn is_quiet(&self, state: &State) -> bool {
        usize::from(state.written) == self.named.len()
            && state.visible == state.log.len()
            && !state.frozen
            && state.held.is_none()
    }

    fn is_done(&self, state: &State) -> bool {
        state.is_connected() && state.place.read == state.log && state.changes.is_empty()
    }
}

/// Never violated by a protocol that is whole.
pub const NO_STALE_ENTRY: &str = "no stale entry is left in the cache";
pub const NO_STANDSTILL: &str = "evictd goes on";
/// Reached by every protocol: the others do not hold for want of anything cached.
pub const AN_ENTRY_IS_LEFT: &str = "a fresh entry is left in the cache";

impl Model for Source {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let place = Place {
            read: Vec::new(),
            stream: 0,
            resets: false,
        };
        vec![State {
            stream: 0,
            server: 0,
            written: 0,
            log: Vec::new(),
            visible: 0,
            base: 0,
            moment: 0,
            frozen: false,
            failed_over: false,
            reset: false,
            froze: false,
            entry: None,
            stored: place.clone(),
            place,
            changes: Vec::new(),
            memory: None,
            crashed: false,
            held: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let mut may = |allowed: bool, step: Step| {
            if allowed {
                steps.push(step);
            }
        };
        let pending = state.visible < state.log.len();
        let write = state.written + 1;
        if let Some(named) = self.named.get(usize::from(state.written)) {
            let of_server = state.log.iter().filter_map(|transaction| transaction.gtid);
            let number = of_server
                .filter(|(server, _)| *server == state.server)
                .count()
                + 1;
            let gtid = named.then_some((state.server, u8::try_from(number).unwrap()));
            let commit = Step::Commit(Transaction { write, gtid });
            may(!pending && !state.frozen, commit);
        }
        if let Some(next) = state.log.get(state.visible) {
            may(!state.frozen, Step::BecomeVisible(next.write));
        }
        for lacks in 0..=state.log.len() {
            may(self.fails_over && !state.failed_over, Step::FailOver(lacks));
        }
        may(
            self.resets && !state.reset && !pending && state.written > 0,
            Step::Reset,
        );
        may(self.freezes && !state.froze, Step::Freeze);
        may(state.frozen, Step::Thaw);

        may(!state.is_connected() && !state.frozen, Step::Connect);
        if let Some(next) = state.log.get(state.place.read.len()) {
            may(
                state.is_connected() && !state.frozen,
                Step::ReadEvent(next.write),
            );
        }
        let of = |index: usize| Of {
            index,
            write: state.changes[index].transaction.map(|own| own.write),
        };
        let mut next = state.changes.iter();
        if let Some(next) = next.position(|change| change.stage == Stage::Read) {
            let due = self.due(state, &state.changes[next]);
            may(due.is_some(), Step::Delete(of(next)));
        }
        for (index, change) in state.changes.iter().enumerate() {
            let outlasted = |due: Due| state.held.is_none_or(|held| held.began >= due.after);
            match (change.stage, change.transaction) {
                (Stage::Deleted(due), transaction) => {
                    // Without a GTID: visible within settle_after, or nothing is to be had.
                    let waits =
                        transaction.is_some_and(|own| own.gtid.is_none() && state.is_pending(own));
                    may(outlasted(due) && !waits, Step::DeleteAgain(of(index)));
                }
                (Stage::Open, Some(transaction)) if self.open != Open::IsForgotten => {
                    let visible = holds_all(&state.executed(), transaction.gtid.as_slice());
                    may(visible && !state.frozen, Step::Close(of(index)));
                }
                _ => {}
            }
        }
        let goes = |first: &Change| match first.stage {
            Stage::Done => true,
            Stage::Open => self.open == Open::LetsThePositionGo && state.stored != first.end,
            Stage::Read | Stage::Deleted(_) => false,
        };
        let first = state.changes.first();
        may(self.crashes && first.is_some_and(goes), Step::StorePosition);
        may(self.crashes && !state.crashed, Step::Crash);

        may(state.held.is_none() && !state.frozen, Step::ReadRow);
        may(state.held.is_some(), Step::Fill);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Commit(transaction) => {
                state.written = transaction.write;
                state.log.push(transaction);
            }
            Step::BecomeVisible(_) => {
                let own = state.log[state.visible];
                state.visible += 1;
                state.moment += 1;
                // It is visible within settle_after of its first deletion, if only just.
                for change in &mut state.changes {
                    if let Stage::Deleted(due) = &mut change.stage
                        && own.gtid.is_none()
                        && change.transaction == Some(own)
                    {
                        due.after = state.moment;
                    }
                }
            }
            Step::FailOver(lacks) => {
                let left = state.log.len() - lacks;
                state.log.truncate(left);
                state.moment += u8::from(state.visible > left);
                state.visible = state.visible.min(left);
                state.failed_over = true;
                state.frozen = false;
                state.server += 1;
                state.stream += 1;
            }
            Step::Reset => {
                state.base = last.row();
                state.log.clear();
                state.visible = 0;
                state.reset = true;
                state.stream += 1;
            }
            Step::Freeze => (state.frozen, state.froze) = (true, true),
            Step::Thaw => state.frozen = false,
            Step::Connect => {
                let named = last.place.read.iter().all(|read| read.gtid.is_some());
                let goes_on = last.log.starts_with(&last.place.read)
                    && last.place.resets == last.reset
                    && (named || last.place.stream == last.stream);
                let elsewhere = last.place.stream != last.stream;
                state.place.stream = last.stream;
                if !goes_on {
                    state.place.resets = last.reset;
                    state.place.read = last.log[..last.visible].to_vec();
                }
                if !goes_on || elsewhere && self.elsewhere == Elsewhere::Widens {
                    state.changes.push(Change {
                        transaction: None,
                        gap: !goes_on,
                        stream: last.stream,
                        stage: Stage::Read,
                        end: state.place.clone(),
                    });
                }
            }
            Step::ReadEvent(_) => {
                let transaction = last.log[last.place.read.len()];
                state.place.read.push(transaction);
                state.changes.push(Change {
                    transaction: Some(transaction),
                    gap: false,
                    stream: last.stream,
                    stage: Stage::Read,
                    end: state.place.clone(),
                });
            }
            Step::Delete(Of { index, .. }) => {
                let change = &last.changes[index];
                let due = self.due(last, change)?;
                let asked = !self.question(change).is_empty();
                if asked && !due.open && due.after == last.moment {
                    state.memory = Some(Memory {
                        executed: last.executed(),
                        by: last.moment,
                        stream: last.stream,
                    });
                }
                state.changes[index].stage = Stage::Deleted(due);
                state.entry = None;
            }
            Step::DeleteAgain(Of { index, .. }) => {
                let Stage::Deleted(due) = last.changes[index].stage else {
                    return None;
                };
                let kept = due.open && self.open != Open::IsForgotten;
                let later = &last.changes[index + 1..];
                let superseded = later
                    .iter()
                    .any(|change| change.gap && change.stage == Stage::Done);
                if last.changes[index].gap {
                    // It stands for what was open before it, but not before it is settled: the position would go on, and
                    // after a crash the gap may be none any more.
                    for before in &mut state.changes[..index] {
                        if before.stage == Stage::Open {
                            before.stage = Stage::Done;
                        }
                    }
                }
                state.changes[index].stage = if kept && !superseded {
                    Stage::Open
                } else {
                    Stage::Done
                };
                state.entry = None;
            }
            Step::Close(Of { index, .. }) => {
                let after = last.moment;
                state.changes[index].stage = Stage::Deleted(Due { after, open: false });
                state.entry = None;
            }
            Step::StorePosition => {
                state.stored = last.changes[0].end.clone();
                if last.changes[0].stage == Stage::Done {
                    state.changes.remove(0);
                }
            }
            Step::Crash => {
                state.crashed = true;
                state.changes.clear();
                state.memory = None;
                state.place = state.stored.clone();
            }
            Step::ReadRow => {
                state.held = Some(Held {
                    row: last.row(),
                    began: last.moment,
                });
            }
            Step::Fill => state.entry = state.held.take().map(|held| held.row),
        }
        if !self.crashes {
            // Nobody looks at the position.
            let mut changes = state.changes.iter();
            let left = changes.position(|change| change.stage != Stage::Done);
            state.changes.drain(..left.unwrap_or(state.changes.len()));
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_STALE_ENTRY, |source: &Source, state: &State| {
                let quiet = source.is_quiet(state) && source.is_done(state);
                !quiet || state.entry.is_none_or(|entry| entry == state.row())
            }),
            Property::always(NO_STANDSTILL, |source: &Source, state: &State| {
                let mut steps = Vec::new();
                source.actions(state, &mut steps);
                let calm = source.is_quiet(state) && !source.is_done(state);
                !calm || steps.iter().any(Step::is_evictds)
            }),
            Property::sometimes(AN_ENTRY_IS_LEFT, |source: &Source, state: &State| {
                let quiet = source.is_quiet(state) && source.is_done(state);
                quiet && state.entry == Some(state.row())
            }),
        ]
    }

    fn format_action(&self, step: &Step) -> String {
        step.to_string()
    }
}
