//! Messages in flight: received, and not yet deleted or let go.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::gauge;

use crate::buffer::Message;
use crate::model::CommitTime;
use crate::telemetry::metric;

/// Bounded: beyond any of these nothing more is received. One last receive may
/// exceed them, by ten messages.
const MESSAGES_MAX: usize = 1_000;
const PATHS_MAX: usize = 100_000;
const BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Shared by the main loop and its deliveries. Locked for moments, never across
/// an await.
#[derive(Debug)]
pub(super) struct InFlight<R> {
    state: Mutex<InFlightState<R>>,
}

#[derive(Debug)]
struct InFlightState<R> {
    messages: HashMap<Arc<str>, MessageInFlight<R>>,
    load: Load,
}

#[derive(Debug)]
struct MessageInFlight<R> {
    receipt: R,
    committed_at: Option<CommitTime>,
    load: Load,
    stage: Stage,
}

/// The stage of a message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits.
    Waiting,
    /// The edge is asked for some of its paths, and may have accepted them.
    Asking,
    /// It is being deleted.
    Deleting,
}

/// The number and size of messages in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) paths: usize,
    pub(super) bytes: usize,
}

/// A message that is about to be deleted.
pub(super) struct Deletable<R> {
    pub(super) receipt: R,
    pub(super) committed_at: Option<CommitTime>,
}

/// A message that is for others to receive.
pub(super) struct LetGo<R> {
    pub(super) id: Arc<str>,
    pub(super) receipt: R,
}

/// The end of a received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is in flight from now on.
    New,
    /// It was in flight already: its visibility timeout ran out in between. The
    /// new receipt replaces the old one, which no longer proves anything.
    Again,
}

impl<R> Default for InFlight<R> {
    fn default() -> Self {
        Self {
            state: Mutex::new(InFlightState {
                messages: HashMap::new(),
                load: Load::default(),
            }),
        }
    }
}

impl<R: Clone + Eq + Hash> InFlight<R> {
    pub(super) fn admit(&self, id: &Arc<str>, receipt: R, message: &Message) -> Admission {
        let mut state = self.lock();
        if let Some(known) = state.messages.get_mut(id) {
            known.receipt = receipt;
            return Admission::Again;
        }
        let load = Load {
            messages: 1,
            paths: message.paths.len(),
            bytes: message.paths.iter().map(String::len).sum(),
        };
        state.load.messages += load.messages;
        state.load.paths += load.paths;
        state.load.bytes += load.bytes;
        state.messages.insert(
            Arc::clone(id),
            MessageInFlight {
                receipt,
                committed_at: message.committed_at,
                load,
                stage: Stage::Waiting,
            },
        );
        publish(state.load);
        Admission::New
    }

    /// Every receipt, to extend them all.
    pub(super) fn receipts(&self) -> Vec<R> {
        let state = self.lock();
        state
            .messages
            .values()
            .map(|message| message.receipt.clone())
            .collect()
    }

    /// The newest receipts of these messages, to delete them.
    pub(super) fn leaving(&self, ids: &[Arc<str>]) -> Vec<Deletable<R>> {
        let mut state = self.lock();
        let mut leaving = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(message) = state.messages.get_mut(id) {
                message.stage = Stage::Deleting;
                leaving.push(Deletable {
                    receipt: message.receipt.clone(),
                    committed_at: message.committed_at,
                });
            }
        }
        leaving
    }

    /// The edge is about to be asked for paths of these messages.
    pub(super) fn asking(&self, ids: &[Arc<str>]) {
        self.set(ids, Stage::Asking);
    }

    /// The edge has answered, whatever it was.
    pub(super) fn answered(&self, ids: &[Arc<str>]) {
        self.set(ids, Stage::Waiting);
    }

    fn set(&self, ids: &[Arc<str>], stage: Stage) {
        let mut state = self.lock();
        for id in ids {
            if let Some(message) = state.messages.get_mut(id) {
                message.stage = stage;
            }
        }
    }

    /// Which of these receipts are of messages that are to stay invisible. One
    /// that was deleted meanwhile, or is about to be, need not.
    pub(super) fn needed(&self, mut receipts: Vec<R>) -> Vec<R> {
        let state = self.lock();
        let stay: HashSet<&R> = state
            .messages
            .values()
            .filter(|message| message.stage != Stage::Deleting)
            .map(|message| &message.receipt)
            .collect();
        receipts.retain(|receipt| stay.contains(receipt));
        receipts
    }

    /// Lets go of messages that wait, or of those among them that `only` names.
    /// Others may take them over at once.
    ///
    /// A message that the edge may have accepted stays: another drain would pay
    /// for it again before the edge's list shows it.
    pub(super) fn let_go(&self, only: Option<&[Arc<str>]>) -> Vec<LetGo<R>> {
        let mut state = self.lock();
        let only: Option<HashSet<&Arc<str>>> = only.map(|ids| ids.iter().collect());
        let named = |id: &Arc<str>| only.as_ref().is_none_or(|ids| ids.contains(id));
        let (let_go, loads): (Vec<LetGo<R>>, Vec<Load>) = state
            .messages
            .extract_if(|id, message| named(id) && message.stage == Stage::Waiting)
            .map(|(id, MessageInFlight { receipt, load, .. })| (LetGo { id, receipt }, load))
            .unzip();
        for load in loads {
            state.load.messages -= load.messages;
            state.load.paths -= load.paths;
            state.load.bytes -= load.bytes;
        }
        publish(state.load);
        let_go
    }

    /// Forgets these, and returns how many of them were in flight. One that was
    /// not deleted becomes visible again by itself.
    pub(super) fn release(&self, ids: &[Arc<str>]) -> usize {
        let mut state = self.lock();
        let before = state.load.messages;
        for id in ids {
            if let Some(MessageInFlight { load, .. }) = state.messages.remove(id) {
                state.load.messages -= load.messages;
                state.load.paths -= load.paths;
                state.load.bytes -= load.bytes;
            }
        }
        publish(state.load);
        before - state.load.messages
    }

    pub(super) fn load(&self) -> Load {
        self.lock().load
    }

    pub(super) fn is_full(&self) -> bool {
        let load = self.load();
        load.messages >= MESSAGES_MAX || load.paths >= PATHS_MAX || load.bytes >= BYTES_MAX
    }

    fn lock(&self) -> MutexGuard<'_, InFlightState<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn publish(load: Load) {
    let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(metric::DRAIN_HELD_MESSAGES).set(float(load.messages));
    gauge!(metric::DRAIN_HELD_PATHS).set(float(load.paths));
    gauge!(metric::QUEUE_BYTES, "queue" => "draining").set(float(load.bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(paths: &[&str]) -> Message {
        Message {
            source: "shop".into(),
            distribution: "main".into(),
            distribution_id: None,
            tenant: None,
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            committed_at: CommitTime::from_micros(1),
        }
    }

    #[test]
    fn the_load_is_what_is_held() {
        let in_flight = InFlight::default();
        in_flight.admit(&"a".into(), 1, &message(&["/a", "/bc"]));
        in_flight.admit(&"b".into(), 2, &message(&["/d"]));
        let both = Load {
            messages: 2,
            paths: 3,
            bytes: 7,
        };
        assert_eq!(in_flight.load(), both);
        assert_eq!(
            in_flight.release(&["a".into(), "a".into(), "unknown".into()]),
            1
        );
        assert_eq!(in_flight.release(&["b".into()]), 1);
        assert_eq!(in_flight.load(), Load::default());
    }

    #[test]
    fn a_message_received_again_is_held_once_under_its_newest_receipt() {
        let in_flight = InFlight::default();
        assert_eq!(
            in_flight.admit(&"a".into(), 1, &message(&["/a"])),
            Admission::New
        );
        assert_eq!(
            in_flight.admit(&"a".into(), 2, &message(&["/a"])),
            Admission::Again
        );
        assert_eq!(in_flight.receipts(), [2]);
        assert_eq!(in_flight.load().messages, 1);
    }

    #[test]
    fn what_is_deleted_or_held_anew_needs_no_extension() {
        let in_flight = InFlight::default();
        for (id, receipt) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            in_flight.admit(&id.into(), receipt, &message(&["/x"]));
        }
        in_flight.leaving(&["a".into()]);
        in_flight.release(&["b".into()]);
        in_flight.admit(&"c".into(), 5, &message(&["/x"]));
        assert_eq!(in_flight.needed(vec![1, 2, 3, 4]), [4]);
    }

    #[test]
    fn what_the_edge_may_have_accepted_is_not_let_go() {
        let in_flight = InFlight::default();
        for (id, receipt) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            in_flight.admit(&id.into(), receipt, &message(&["/x"]));
        }
        in_flight.asking(&["a".into(), "b".into()]);
        in_flight.answered(&["b".into()]);
        in_flight.leaving(&["c".into()]);
        let receipts = |let_go: Vec<LetGo<i32>>| -> Vec<i32> {
            let_go.into_iter().map(|message| message.receipt).collect()
        };
        assert_eq!(
            receipts(in_flight.let_go(Some(&["a".into(), "d".into()]))),
            [4]
        );
        assert_eq!(receipts(in_flight.let_go(None)), [2]);
        assert_eq!(in_flight.load().messages, 2, "both come back by themselves");
    }
}
