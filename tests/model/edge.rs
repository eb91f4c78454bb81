//! What counts as done at the edge: messages in a buffer, invalidations, a drain that crashes and its successor, while a
//! distribution's name comes to stand for another one and the buffer's file is set back to an earlier copy.
//!
//! One page, whose changes enter the buffer one after the other. An invalidation is good for every change that is in the
//! buffer by then. The drain takes all messages in hand, leaves out those that its record of invalidations covers, makes
//! one request for the rest, and deletes them. CloudFront does nothing for a request whose name it has seen.

use std::fmt;

use stateright::{Model, Property};

use super::{breaks, holds};

/// No message leaves the buffer before its page is invalidated where its distribution's name leads to.
const NOTHING_TOO_EARLY: &str = "what leaves the buffer is invalidated";

/// Once the buffer is empty, every change has been taken care of.
const NOTHING_LOST: &str = "no change is lost";

/// What a record of an invalidation stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    OfId,
    OfName,
}

/// What a message's number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// The turn of evictd that gave it out: a sender, and an opening of the file.
    OfTurn,
    OfFile,
}

/// When the drain looks how far the sender has come: its invalidation is good for all of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    BeforeItAsks,
    AfterTheAnswer,
}

/// What the checkpoint knows of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    /// How far its numbers had come. One that is behind is a gap: everything is invalidated.
    ItsEnd,
    Nothing,
}

/// The protocol, with every part that a test may take away, and what may happen.
#[derive(Clone, Debug)]
struct Edge {
    changes: usize,
    renames: bool,
    sets_back: bool,
    crashes: bool,
    record: Record,
    /// In the order that says what is covered, and in the names of requests.
    order: Numbers,
    names: Numbers,
    checkpoint: Knows,
    looks: Looks,
}

/// evictd as it is.
fn evictd() -> Edge {
    Edge {
        changes: 3,
        renames: true,
        sets_back: true,
        crashes: true,
        record: Record::OfId,
        order: Numbers::OfTurn,
        names: Numbers::OfTurn,
        checkpoint: Knows::ItsEnd,
        looks: Looks::BeforeItAsks,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Message {
    change: usize,
    turn: u8,
    number: u8,
}

/// The file of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Buffer {
    messages: Vec<Message>,
    next: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Drain {
    #[default]
    Idle,
    /// So many messages, the oldest ones, are in hand.
    Holds(usize),
    /// Their request was made.
    Made(usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// The distribution that the name leads to: the first or the second.
    distribution: usize,
    buffer: Buffer,
    turn: u8,
    copy: Option<Buffer>,
    /// The end of the buffer, as the checkpoint knows it.
    known_end: u8,
    drain: Drain,
    /// What invalidations were made for: distribution, turn, newest number.
    records: Vec<(usize, u8, u8)>,
    /// The names of requests: distribution, and each message's turn and number.
    requests: Vec<(usize, Vec<(u8, u8)>)>,
    /// For each change, at which distributions its page was invalidated since it entered the buffer.
    invalidated: Vec<[bool; 2]>,
    /// For each change, whether it is taken care of.
    done: Vec<bool>,
    too_early: bool,
    covered: bool,
    renamed: bool,
    was_set_back: bool,
    crashed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Enters,
    IsCopied,
    IsSetBack,
    Renames,
    Crashes,
    Takes,
    Invalidates,
    Deletes,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Enters => "a change enters the buffer",
            Step::IsCopied => "the buffer's file is copied",
            Step::IsSetBack => "evictd restarts with the copy",
            Step::Renames => "the name leads to the second distribution",
            Step::Crashes => "evictd crashes and restarts",
            Step::Takes => "the drain takes all messages",
            Step::Invalidates => "the drain invalidates their page",
            Step::Deletes => "the drain deletes them",
        })
    }
}

impl Edge {
    fn turn(&self, numbers: Numbers, message: &Message) -> u8 {
        match numbers {
            Numbers::OfTurn => message.turn,
            Numbers::OfFile => 0,
        }
    }

    fn recorded(&self, state: &State) -> usize {
        match self.record {
            Record::OfId => state.distribution,
            Record::OfName => 0,
        }
    }

    fn is_covered(&self, state: &State, message: &Message) -> bool {
        state.records.iter().any(|(distribution, turn, newest)| {
            *distribution == self.recorded(state)
                && *turn == self.turn(self.order, message)
                && *newest >= message.number
        })
    }

    /// Takes in that these messages, the oldest ones, left the buffer.
    fn leave(state: &mut State, message: Message) {
        let there = state.invalidated[message.change][state.distribution];
        state.too_early |= !there;
        state.done[message.change] = true;
        state.buffer.messages.retain(|known| *known != message);
    }

    fn invalidate(&self, state: &mut State, count: usize) {
        let held = &state.buffer.messages[..count];
        let name = |message: &Message| (self.turn(self.names, message), message.number);
        let request = (state.distribution, held.iter().map(name).collect());
        let turns: Vec<u8> = held
            .iter()
            .map(|message| self.turn(self.order, message))
            .collect();
        let newest = held.iter().map(|message| message.number).max();
        if self.looks == Looks::BeforeItAsks {
            self.reaches_the_sender(state);
        }
        // Messages of two turns have no order among each other.
        if let (Some(newest), Some(first)) = (newest, turns.first())
            && turns.iter().all(|turn| turn == first)
        {
            let record = (self.recorded(state), *first, newest);
            Self::put_on_record(state, record);
        }
        if !state.requests.contains(&request) {
            state.requests.push(request);
            state.requests.sort_unstable();
            Self::everything(state);
        }
    }

    /// An invalidation is good for every message that the sender had made.
    fn reaches_the_sender(&self, state: &mut State) {
        let Some(newest) = state.buffer.next.checked_sub(1) else {
            return;
        };
        let turn = match self.order {
            Numbers::OfTurn => state.turn,
            Numbers::OfFile => 0,
        };
        let record = (self.recorded(state), turn, newest);
        Self::put_on_record(state, record);
    }

    fn put_on_record(state: &mut State, record: (usize, u8, u8)) {
        state.records.push(record);
        state.records.sort_unstable();
        state.records.dedup();
    }

    fn everything(state: &mut State) {
        let distribution = state.distribution;
        for change in &mut state.invalidated {
            change[distribution] = true;
        }
    }
}

impl Model for Edge {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let mut may = |step, is_possible| {
            if is_possible {
                steps.push(step);
            }
        };
        may(Step::Enters, state.done.len() < self.changes);
        may(Step::IsCopied, self.sets_back && state.copy.is_none());
        may(Step::IsSetBack, state.copy.is_some() && !state.was_set_back);
        may(Step::Renames, self.renames && !state.renamed);
        may(Step::Crashes, self.crashes && !state.crashed);
        let waits = !state.buffer.messages.is_empty();
        may(Step::Takes, waits && state.drain == Drain::Idle);
        may(Step::Invalidates, matches!(state.drain, Drain::Holds(_)));
        may(Step::Deletes, matches!(state.drain, Drain::Made(_)));
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Enters => {
                let message = Message {
                    change: state.done.len(),
                    turn: state.turn,
                    number: state.buffer.next,
                };
                state.buffer.messages.push(message);
                state.buffer.next += 1;
                state.known_end = state.buffer.next;
                state.invalidated.push([false; 2]);
                state.done.push(false);
            }
            Step::IsCopied => state.copy = Some(state.buffer.clone()),
            Step::IsSetBack => {
                state.was_set_back = true;
                state.drain = Drain::Idle;
                state.turn += 1;
                state.buffer = state.copy.clone()?;
                if self.checkpoint == Knows::ItsEnd && state.buffer.next < state.known_end {
                    Self::everything(&mut state);
                    state.done.fill(true);
                }
            }
            // A reload ends the turn of the one before.
            Step::Renames => {
                state.renamed = true;
                state.drain = Drain::Idle;
                state.distribution = 1;
            }
            Step::Crashes => {
                state.crashed = true;
                state.drain = Drain::Idle;
                state.turn += 1;
            }
            Step::Takes => {
                for message in &before.buffer.messages {
                    if self.is_covered(&state, message) {
                        state.covered = true;
                        Self::leave(&mut state, *message);
                    }
                }
                if !state.buffer.messages.is_empty() {
                    state.drain = Drain::Holds(state.buffer.messages.len());
                }
            }
            Step::Invalidates => {
                let Drain::Holds(count) = state.drain else {
                    return None;
                };
                self.invalidate(&mut state, count);
                state.drain = Drain::Made(count);
            }
            Step::Deletes => {
                let Drain::Made(count) = state.drain else {
                    return None;
                };
                for message in &before.buffer.messages[..count] {
                    Self::leave(&mut state, *message);
                }
                if self.looks == Looks::AfterTheAnswer {
                    self.reaches_the_sender(&mut state);
                }
                state.drain = Drain::Idle;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_TOO_EARLY, |_, state: &State| !state.too_early),
            Property::always(NOTHING_LOST, |model: &Edge, state: &State| {
                let ended = state.done.len() == model.changes && state.buffer.messages.is_empty();
                !ended || state.done.iter().all(|done| *done)
            }),
            Property::sometimes("a message is covered", |_, state: &State| state.covered),
        ]
    }
}

impl super::Checked for Edge {}

#[test]
fn nothing_leaves_the_buffer_undone_and_nothing_is_lost() {
    holds(evictd());
}

#[test]
fn what_was_made_where_the_name_led_before_says_nothing_about_where_it_leads() {
    let story = breaks(
        Edge {
            changes: 1,
            record: Record::OfName,
            ..evictd()
        },
        NOTHING_TOO_EARLY,
    );
    assert_eq!(
        story,
        [
            "a change enters the buffer",
            "the drain takes all messages",
            "the drain invalidates their page",
            "the name leads to the second distribution",
            "the drain takes all messages",
        ]
    );
}

#[test]
fn what_was_sent_while_the_drain_asked_is_no_part_of_what_it_asked_for() {
    let model = Edge {
        looks: Looks::AfterTheAnswer,
        ..evictd()
    };
    let story = breaks(model, NOTHING_TOO_EARLY);
    assert_eq!(story[2], "the drain invalidates their page");
    assert_eq!(story[3], "a change enters the buffer");
}

/// It breaks because the file is set back.
fn is_broken_by_a_copy(model: Edge, promise: &'static str) {
    let story = breaks(model, promise);
    let restarts = "evictd restarts with the copy".to_owned();
    assert!(story.contains(&restarts), "{story:#?}");
}

#[test]
fn a_number_that_is_given_out_again_is_taken_for_the_one_before() {
    let model = Edge {
        order: Numbers::OfFile,
        ..evictd()
    };
    is_broken_by_a_copy(model, NOTHING_TOO_EARLY);
}

#[test]
fn a_request_of_the_same_name_is_not_made_again() {
    let model = Edge {
        names: Numbers::OfFile,
        ..evictd()
    };
    is_broken_by_a_copy(model, NOTHING_TOO_EARLY);
}

#[test]
fn a_buffer_that_is_set_back_and_that_nobody_knows_loses_what_it_had_since() {
    let model = Edge {
        checkpoint: Knows::Nothing,
        ..evictd()
    };
    is_broken_by_a_copy(model, NOTHING_LOST);
}
