//! Messages in flight: received, and not yet deleted or let go.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tokio::time::Instant;

use crate::buffer::Message;
use crate::model::CommitTime;
use crate::telemetry::metric;

/// Bounded: beyond any of these nothing more is held. One last receive may exceed
/// them, by ten messages.
const MAX: Load = Load {
    messages: 1_000,
    paths: 100_000,
    bytes: 16 * 1_024 * 1_024,
};

/// Of several distributions each may hold so many times what is still free: one
/// that is stuck takes three quarters, another one three quarters of the rest, and
/// so on.
const SHARE_OF_FREE: usize = 3;
/// So many messages any of them may hold.
const SHARE_MIN: usize = 5;

/// While a distribution that holds its share works, nothing is received: the
/// others wait for so long. Then it is stuck, and they do not.
const STUCK_AFTER: Duration = Duration::from_secs(5);

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
    /// The distributions that hold something, by name.
    shares: HashMap<Arc<str>, Share>,
    /// Number of distributions that share the room.
    distributions: usize,
}

#[derive(Debug, Default)]
struct Share {
    load: Load,
    /// Since when it is as large as it may be.
    full_since: Option<Instant>,
}

/// What proves that a message was received, and what is kept of it.
#[derive(Clone, Debug)]
pub(super) struct ReceivedMessage<R> {
    pub(super) receipt: R,
    /// Its text.
    pub(super) body: String,
    /// Number of times it was received.
    pub(super) deliveries: u32,
}

#[derive(Debug)]
struct MessageInFlight<R> {
    held: ReceivedMessage<R>,
    committed_at: Option<CommitTime>,
    distribution: Arc<str>,
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

impl Load {
    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.paths += other.paths;
        self.bytes += other.bytes;
    }

    fn take(&mut self, other: Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.paths = self.paths.saturating_sub(other.paths);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    fn reaches(self, limit: Self) -> bool {
        self.messages >= limit.messages || self.paths >= limit.paths || self.bytes >= limit.bytes
    }
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
    /// Its distribution holds as much as it may: it stays in the buffer, and comes
    /// back after its visibility timeout.
    NoRoom,
}

impl<R> InFlightState<R> {
    /// Whether the distribution holds as much as it may.
    fn is_full(&self, distribution: &str) -> bool {
        if self.distributions <= 1 {
            return self.load.reaches(MAX);
        }
        let share = self.shares.get(distribution);
        share.is_some_and(|share| share.load.reaches(self.share_max()))
    }

    /// As much as any of several distributions may hold now.
    fn share_max(&self) -> Load {
        let mut free = MAX;
        free.take(self.load);
        Load {
            messages: (free.messages * SHARE_OF_FREE).max(SHARE_MIN),
            paths: (free.paths * SHARE_OF_FREE).max(1),
            bytes: (free.bytes * SHARE_OF_FREE).max(1),
        }
    }

    /// Whether the distribution holds as much as it may, and has done so for long.
    fn is_stuck(&self, distribution: &str) -> bool {
        let share = self.shares.get(distribution);
        let since = share.and_then(|share| share.full_since);
        since.is_some_and(|since| since.elapsed() >= STUCK_AFTER)
    }

    fn forget(&mut self, message: &MessageInFlight<R>) {
        self.load.take(message.load);
        if let Some(share) = self.shares.get_mut(&message.distribution) {
            share.load.take(message.load);
            if share.load.messages == 0 {
                self.shares.remove(&message.distribution);
            }
        }
    }
}

impl<R: Clone + Eq + Hash> InFlight<R> {
    /// Nothing is in flight. So many distributions share the room.
    pub(super) fn of(distributions: usize) -> Self {
        Self {
            state: Mutex::new(InFlightState {
                messages: HashMap::new(),
                load: Load::default(),
                shares: HashMap::new(),
                distributions,
            }),
        }
    }

    pub(super) fn admit(
        &self,
        id: &Arc<str>,
        held: ReceivedMessage<R>,
        message: &Message,
    ) -> Admission {
        let mut state = self.lock();
        if let Some(known) = state.messages.get_mut(id) {
            known.held = held;
            return Admission::Again;
        }
        if state.is_stuck(&message.distribution) {
            return Admission::NoRoom;
        }
        let load = Load {
            messages: 1,
            paths: message.paths.len(),
            bytes: message.paths.iter().map(String::len).sum::<usize>() + held.body.len(),
        };
        state.load.add(load);
        let distribution = Arc::clone(&message.distribution);
        let share = state.shares.entry(Arc::clone(&distribution));
        share.or_default().load.add(load);
        state.messages.insert(
            Arc::clone(id),
            MessageInFlight {
                held,
                committed_at: message.committed_at,
                distribution,
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
            .map(|message| message.held.receipt.clone())
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
                    receipt: message.held.receipt.clone(),
                    committed_at: message.committed_at,
                });
            }
        }
        leaving
    }

    /// What is held of a message that is about to become a dead letter.
    pub(super) fn burying(&self, id: &Arc<str>) -> Option<ReceivedMessage<R>> {
        let mut state = self.lock();
        let message = state.messages.get_mut(id)?;
        message.stage = Stage::Deleting;
        Some(message.held.clone())
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
            .map(|message| &message.held.receipt)
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
        let taken: Vec<_> = state
            .messages
            .extract_if(|id, message| named(id) && message.stage == Stage::Waiting)
            .collect();
        let mut let_go = Vec::with_capacity(taken.len());
        for (id, message) in taken {
            state.forget(&message);
            let receipt = message.held.receipt;
            let_go.push(LetGo { id, receipt });
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
            if let Some(message) = state.messages.remove(id) {
                state.forget(&message);
            }
        }
        publish(state.load);
        before - state.load.messages
    }

    pub(super) fn load(&self) -> Load {
        self.lock().load
    }

    /// Whether more may be received. Nothing is while a distribution holds as much
    /// as it may and works, nor while all of them are stuck.
    pub(super) fn may_receive(&self) -> bool {
        let mut state = self.lock();
        if state.distributions <= 1 {
            return !state.load.reaches(MAX);
        }
        let (max, now) = (state.share_max(), Instant::now());
        let (mut full, mut stuck) = (0, 0);
        for share in state.shares.values_mut() {
            if !share.load.reaches(max) {
                share.full_since = None;
                continue;
            }
            let since = *share.full_since.get_or_insert(now);
            full += 1;
            stuck += usize::from(now.saturating_duration_since(since) >= STUCK_AFTER);
        }
        full == stuck && stuck < state.distributions
    }

    /// Whether this distribution may not hold more.
    pub(super) fn is_full_of(&self, distribution: &str) -> bool {
        self.lock().is_full(distribution)
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

    fn held<R>(receipt: R) -> ReceivedMessage<R> {
        ReceivedMessage {
            receipt,
            body: "body".to_owned(),
            deliveries: 1,
        }
    }

    fn message(paths: &[&str]) -> Message {
        Message {
            source: "shop".into(),
            distribution: "main".into(),
            distribution_id: None,
            tenant: None,
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            committed_at: CommitTime::from_micros(1),
            sent: None,
            redriven_at: None,
        }
    }

    #[test]
    fn the_load_is_what_is_held() {
        let in_flight = InFlight::of(1);
        in_flight.admit(&"a".into(), held(1), &message(&["/a", "/bc"]));
        in_flight.admit(&"b".into(), held(2), &message(&["/d"]));
        let both = Load {
            messages: 2,
            paths: 3,
            bytes: 15,
        };
        assert_eq!(in_flight.load(), both);
        assert_eq!(
            in_flight.release(&["a".into(), "a".into(), "unknown".into()]),
            1
        );
        assert_eq!(in_flight.release(&["b".into()]), 1);
        assert_eq!(in_flight.load(), Load::default());
    }

    fn of(distribution: &str) -> Message {
        Message {
            distribution: distribution.into(),
            ..message(&["/a"])
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_distribution_that_is_stuck_leaves_room_for_others_and_one_alone_takes_all() {
        let several = InFlight::of(3);
        let admit = |in_flight: &InFlight<usize>, name: &str, n: usize| {
            in_flight.admit(&format!("{name}-{n}").into(), held(n), &of(name))
        };
        let mut counts = std::collections::BTreeMap::new();
        for name in ["a", "b", "c"] {
            for n in 0..2_000 {
                if several.may_receive() {
                    assert_eq!(admit(&several, name, n), Admission::New);
                    *counts.entry(name).or_insert(0) += 1;
                }
            }
            assert!(several.is_full_of(name));
            tokio::time::advance(STUCK_AFTER).await;
            assert_eq!(several.may_receive(), name != "c", "until all are stuck");
            assert_eq!(admit(&several, name, 5_000), Admission::NoRoom);
        }
        assert_eq!(Vec::from_iter(counts), [("a", 750), ("b", 188), ("c", 47)]);
        let again = several.admit(&"a-7".into(), held(9), &of("a"));
        assert_eq!(again, Admission::Again, "it is held");
        let ids: Vec<Arc<str>> = (0..500).map(|n| format!("a-{n}").into()).collect();
        several.release(&ids);
        assert!(several.may_receive());
        assert_eq!(admit(&several, "a", 5_000), Admission::New);

        let alone = InFlight::of(1);
        for n in 0..1_000 {
            assert!(alone.may_receive());
            assert_eq!(admit(&alone, "a", n), Admission::New);
        }
        assert!(!alone.may_receive() && alone.is_full_of("a"));
    }

    #[test]
    fn a_message_received_again_is_held_once_under_its_newest_receipt() {
        let in_flight = InFlight::of(1);
        assert_eq!(
            in_flight.admit(&"a".into(), held(1), &message(&["/a"])),
            Admission::New
        );
        assert_eq!(
            in_flight.admit(&"a".into(), held(2), &message(&["/a"])),
            Admission::Again
        );
        assert_eq!(in_flight.receipts(), [2]);
        assert_eq!(in_flight.load().messages, 1);
    }

    #[test]
    fn what_is_deleted_or_held_anew_needs_no_extension() {
        let in_flight = InFlight::of(1);
        for (id, receipt) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            in_flight.admit(&id.into(), held(receipt), &message(&["/x"]));
        }
        in_flight.leaving(&["a".into()]);
        in_flight.release(&["b".into()]);
        in_flight.admit(&"c".into(), held(5), &message(&["/x"]));
        assert_eq!(in_flight.needed(vec![1, 2, 3, 4]), [4]);
    }

    #[test]
    fn what_the_edge_may_have_accepted_is_not_let_go() {
        let in_flight = InFlight::of(1);
        for (id, receipt) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            in_flight.admit(&id.into(), held(receipt), &message(&["/x"]));
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
