//! A buffer that keeps its contract and misbehaves within it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::buffer::{
    Buffer, BufferError, Buried, Message, MessageError, ReceiptError, Received, Redriven,
    RejectedMessage, SendError,
};
use crate::model::{BufferMark, BufferState as Kept, CommitTime, Sent};

pub(super) const VISIBILITY: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct FakeBuffer {
    pub(super) state: Mutex<BufferState>,
    arrived: Notify,
}

#[derive(Default)]
pub(super) struct BufferState {
    messages: BTreeMap<u64, Stored>,
    next: u64,
    /// Deliveries so far.
    pub(super) deliveries: u64,
    /// Receives that fail before one works.
    pub(super) failing_receives: u32,
    pub(super) receive_calls: u32,
    /// Deletions that fail for half of their receipts, rounded up.
    pub(super) failing_deletes: u32,
    pub(super) extend_calls: u32,
    pub(super) extensions_fail: bool,
    /// The reasons of the dead letters by their bodies.
    pub(super) dead: BTreeMap<String, String>,
    pub(super) no_place: bool,
    /// [`VISIBILITY`], if it is none.
    pub(super) visibility: Option<Duration>,
    /// Time that it takes to give messages back.
    pub(super) slow_returns: Duration,
    pub(super) chaos: bool,
}

struct Stored {
    content: Result<Message, MessageError>,
    visible_at: Instant,
    delivery: u64,
    times: u32,
}

pub(super) fn message(distribution: &str, paths: &[&str]) -> Message {
    Message {
        source: "shop".into(),
        distribution: distribution.into(),
        distribution_id: None,
        tenant: None,
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
        committed_at: CommitTime::from_micros(1_763_892_000_000_000),
        sent: None,
        redriven_at: None,
    }
}

pub(super) fn trouble() -> BufferError {
    BufferError::Unavailable {
        buffer: "fake".into(),
        operation: "any",
        code: "Fake".to_owned(),
        reason: "on purpose".to_owned(),
    }
}

impl FakeBuffer {
    /// All of one sender, unless they say otherwise.
    pub(super) fn put(&self, mut content: Result<Message, MessageError>) {
        let mut state = self.state.lock().unwrap();
        let id = state.next;
        state.next += 1;
        if let Ok(message) = &mut content {
            message.sent.get_or_insert(Sent { by: 1, number: id });
        }
        let stored = Stored {
            content,
            visible_at: Instant::now(),
            delivery: 0,
            times: 0,
        };
        state.messages.insert(id, stored);
        drop(state);
        self.arrived.notify_waiters();
    }

    pub(super) fn push(&self, distribution: &str, paths: &[&str]) {
        self.put(Ok(message(distribution, paths)));
    }

    /// A message that somebody had before, who is gone.
    pub(super) fn received_before(&self, message: Message) {
        self.put(Ok(message));
        self.with(|state| {
            let mut newest = state.messages.values_mut();
            newest.next_back().unwrap().times = 1;
        });
    }

    /// Messages that anybody can receive now.
    pub(super) fn visible(&self) -> usize {
        let now = Instant::now();
        let state = self.state.lock().unwrap();
        state
            .messages
            .values()
            .filter(|message| message.visible_at <= now)
            .count()
    }

    /// Messages not deleted yet.
    pub(super) fn remaining(&self) -> usize {
        self.state.lock().unwrap().messages.len()
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut BufferState) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }
}

impl BufferState {
    fn visibility(&self) -> Duration {
        self.visibility.unwrap_or(VISIBILITY)
    }

    fn unlucky(&self) -> bool {
        self.chaos && rand::random_bool(0.3)
    }

    fn take(&mut self) -> Vec<Received<(u64, u64)>> {
        let (now, visibility) = (Instant::now(), self.visibility());
        let mut taken = Vec::new();
        for (&id, stored) in &mut self.messages {
            // At least once: a shared queue may hand one out early.
            let early = self.chaos && rand::random_bool(0.05);
            if taken.len() < 10 && (stored.visible_at <= now || early) {
                self.deliveries += 1;
                stored.delivery = self.deliveries;
                stored.visible_at = now + visibility;
                stored.times += 1;
                taken.push(Received {
                    id: format!("m{id}").into(),
                    receipt: (id, stored.delivery),
                    deliveries: stored.times,
                    body: format!("body of m{id}"),
                    content: stored.content.clone(),
                });
            }
        }
        taken
    }
}

impl Buffer for FakeBuffer {
    type Receipt = (u64, u64);

    async fn send(&self, messages: Vec<Message>) -> Result<(), SendError> {
        for message in messages {
            self.put(Ok(message));
        }
        Ok(())
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Received<(u64, u64)>>, BufferError> {
        let deadline = Instant::now() + wait;
        loop {
            let arrived = self.arrived.notified();
            let next = {
                let mut state = self.state.lock().unwrap();
                state.receive_calls += 1;
                if state.failing_receives > 0 {
                    state.failing_receives -= 1;
                    return Err(trouble());
                }
                if state.unlucky() {
                    return Err(trouble());
                }
                let taken = state.take();
                if !taken.is_empty() || Instant::now() >= deadline {
                    return Ok(taken);
                }
                let visible = state.messages.values().map(|stored| stored.visible_at);
                visible.min().map_or(deadline, |at| at.min(deadline))
            };
            tokio::select! {
                () = arrived => {}
                () = sleep_until(next) => {}
            }
        }
    }

    async fn extend(&self, receipts: &[(u64, u64)]) -> Result<(), ReceiptError<(u64, u64)>> {
        let mut state = self.state.lock().unwrap();
        state.extend_calls += 1;
        let visibility = state.visibility();
        let mut failed = Vec::new();
        for &(id, delivery) in receipts {
            let unlucky = state.extensions_fail || state.unlucky();
            match state.messages.get_mut(&id) {
                Some(stored) if stored.delivery == delivery && !unlucky => {
                    stored.visible_at = Instant::now() + visibility;
                }
                _ => failed.push((id, delivery)),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(ReceiptError {
            failed,
            cause: trouble(),
        })
    }

    async fn give_back(&self, receipts: &[(u64, u64)]) -> Result<(), ReceiptError<(u64, u64)>> {
        let slow = self.with(|state| state.slow_returns);
        tokio::time::sleep(slow).await;
        let mut state = self.state.lock().unwrap();
        for (id, delivery) in receipts {
            if let Some(stored) = state.messages.get_mut(id)
                && stored.delivery == *delivery
            {
                stored.visible_at = Instant::now();
            }
        }
        drop(state);
        self.arrived.notify_waiters();
        Ok(())
    }

    async fn delete(&self, receipts: &[(u64, u64)]) -> Result<(), ReceiptError<(u64, u64)>> {
        let mut state = self.state.lock().unwrap();
        let fails = state.failing_deletes > 0 || state.unlucky();
        state.failing_deletes = state.failing_deletes.saturating_sub(1);
        let works = if fails {
            receipts.len() / 2
        } else {
            receipts.len()
        };
        let (deleted, failed) = receipts.split_at(works);
        for (id, delivery) in deleted {
            // As SQS: an outdated receipt deletes nothing and says nothing.
            if state
                .messages
                .get(id)
                .is_some_and(|s| s.delivery == *delivery)
            {
                state.messages.remove(id);
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(ReceiptError {
            failed: failed.to_vec(),
            cause: trouble(),
        })
    }

    async fn bury(&self, letter: RejectedMessage<(u64, u64)>) -> Result<Buried, BufferError> {
        let mut state = self.state.lock().unwrap();
        if state.unlucky() {
            return Err(trouble());
        }
        if state.no_place {
            return Ok(Buried::NoPlace);
        }
        state.messages.remove(&letter.receipt.0);
        state.dead.insert(letter.body, letter.reason);
        Ok(Buried::Moved)
    }

    async fn redrive(&self) -> Result<Redriven, BufferError> {
        Ok(Redriven::default())
    }

    async fn continue_from(&self, _stored: Option<BufferMark>) -> watch::Receiver<Kept> {
        watch::channel(Default::default()).1
    }

    fn visibility(&self) -> Duration {
        self.with(|state| state.visibility())
    }
}
