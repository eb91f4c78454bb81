//! The loop from the buffer to the edge.
//!
//! It receives all the time, gathers each distribution's messages for a
//! window, and delivers a distribution's rounds one after the other while the
//! next one gathers: an idle drain acts after the window, a busy one
//! amortises. Distributions do not wait for each other, until what is held
//! reaches its bound.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use metrics::counter;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::board::{Board, Part, Reports};
use super::deliver::Delivery;
use super::held::{Admission, Held};
use super::retry::Backoff;
use crate::buffer::{Buffer, BufferError, DecodeError, ReceiptError, Received};
use crate::edge::batch::Gathering;
use crate::edge::{BATCH_PATHS_MAX, Edge};
use crate::ledger::DeadLetter;
use crate::telemetry::metric;

/// Bounded: beyond any of these nothing more is received. One last receive may
/// exceed them, by ten messages.
const HELD_MESSAGES_MAX: usize = 1_000;
const HELD_PATHS_MAX: usize = 30_000;
const HELD_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// The longest that SQS waits for a first message.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);
const RECEIVE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Messages whose reason is remembered, so that a redelivery is not logged
/// again.
const REPORTED_MAX: usize = 10_000;

/// How a drain works.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// How long a distribution's messages gather, from the first one on.
    pub window: Duration,
    /// How long deliveries under way may go on after the shutdown.
    pub grace: Duration,
    /// The distributions' ids by their names in the configuration.
    pub distributions: BTreeMap<Arc<str>, Arc<str>>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Messages it let go of without deleting them. They become visible again
    /// for another drain, or for this one's successor.
    pub left: usize,
}

/// Moves messages from a buffer to an edge.
///
/// Any number of drains may share a buffer.
#[derive(Debug)]
pub struct Drain<B, E> {
    buffer: Arc<B>,
    edge: Arc<E>,
    options: DrainOptions,
    reports: Reports,
}

/// A distribution's next round.
struct Round {
    due: Instant,
    gathering: Gathering,
}

/// Everything gathered, and what is said about it.
struct Intake<'a, R> {
    options: &'a DrainOptions,
    held: &'a Held<R>,
    rounds: BTreeMap<Arc<str>, Round>,
    reported: Reported,
    backoff: Backoff,
    failing: bool,
    board: &'a Board,
    /// Received just now.
    unusable: Vec<Unusable<R>>,
}

/// A message that no retry makes usable.
struct Unusable<R> {
    id: Arc<str>,
    receipt: R,
    letter: DeadLetter,
}

type Receiving<'a, R> = BoxFuture<'a, Result<Vec<Received<R>>, BufferError>>;
type Extending<'a, R> = BoxFuture<'a, Result<(), ReceiptError<R>>>;

impl<B: Buffer, E: Edge> Drain<B, E> {
    /// A drain from `buffer` to `edge`.
    pub fn new(buffer: Arc<B>, edge: Arc<E>, options: DrainOptions) -> Self {
        Self {
            buffer,
            edge,
            options,
            reports: Reports::default(),
        }
    }

    /// Says there how it goes.
    #[must_use]
    pub fn reporting(mut self, reports: Reports) -> Self {
        self.reports = reports;
        self
    }

    /// Works until `shutdown` is cancelled. Deliveries under way are then
    /// finished within the grace period; messages only gathered come back.
    ///
    /// Outages of the buffer or the edge never end it: they are retried,
    /// logged and counted. Dropping the future loses nothing either.
    pub async fn run(self, shutdown: CancellationToken) -> Stopped {
        let held = Held::default();
        let mut intake = Intake {
            options: &self.options,
            held: &held,
            rounds: BTreeMap::new(),
            reported: Reported::default(),
            backoff: Backoff::new(RECEIVE_BACKOFF.0, RECEIVE_BACKOFF.1),
            failing: false,
            board: &self.reports.board,
            unusable: Vec::new(),
        };
        let mut burials = FuturesUnordered::new();
        let mut deliveries = FuturesUnordered::new();
        let mut delivering: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut receiving: Option<Receiving<'_, B::Receipt>> = None;
        let mut receive_at = Instant::now();
        let mut extending: Option<Extending<'_, B::Receipt>> = None;
        let period = (self.buffer.visibility() / 3).max(Duration::from_millis(1));
        let mut extension = interval_at(Instant::now() + period, period);
        extension.set_missed_tick_behavior(MissedTickBehavior::Delay);

        loop {
            for (name, round) in intake.take_due(&delivering) {
                let Some(distribution) = self.options.distributions.get(&name) else {
                    continue;
                };
                delivering.insert(Arc::clone(&name));
                let delivery = Delivery {
                    buffer: &*self.buffer,
                    edge: &*self.edge,
                    held: &held,
                    distribution: Arc::clone(distribution),
                    name,
                    reports: &self.reports,
                };
                deliveries.push(delivery.run(round));
            }
            if receiving.is_none() && !is_full(&held) {
                let buffer = &*self.buffer;
                receiving = Some(Box::pin(async move {
                    sleep_until(receive_at).await;
                    buffer.receive(RECEIVE_WAIT).await
                }));
            }
            if !self.buffer.redrives() {
                burials.extend(intake.unusable.drain(..).map(|dead| self.bury(dead)));
            }
            intake.unusable.clear();
            let due = intake.next_due(&delivering);
            // In this order: stopping comes first; what frees messages and
            // what keeps them comes before what adds to them.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(name) = deliveries.next(), if !deliveries.is_empty() => {
                    delivering.remove(&name);
                }
                Some(()) = burials.next(), if !burials.is_empty() => {}
                result = in_slot(&mut extending) => {
                    extending = None;
                    report_extension(result);
                }
                _ = extension.tick() => start_extension(&*self.buffer, &held, &mut extending),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                result = in_slot(&mut receiving) => {
                    receiving = None;
                    receive_at = Instant::now() + intake.accept(result);
                }
            }
        }

        drop(receiving);
        let deadline = Instant::now() + self.options.grace;
        info!(rounds = deliveries.len(), messages = held.load().messages, grace = ?self.options.grace, "the drain is stopping");
        while !deliveries.is_empty() {
            tokio::select! {
                biased;
                _ = deliveries.next() => {}
                result = in_slot(&mut extending) => {
                    extending = None;
                    report_extension(result);
                }
                _ = extension.tick() => start_extension(&*self.buffer, &held, &mut extending),
                () = sleep_until(deadline) => break,
            }
        }
        let left = held.load().messages;
        info!(
            messages = left,
            "the drain stopped; messages it left come back"
        );
        Stopped { left }
    }

    /// Puts a message on record that can never be used, and deletes it once the
    /// record is on disk (Nothing lost). Otherwise it comes back.
    async fn bury(&self, dead: Unusable<B::Receipt>) {
        if !self.reports.ledger.dead_letter_kept(dead.letter).await {
            warn!(message = %dead.id, "a message that cannot be used stays in the buffer: it cannot be put on record");
            return;
        }
        match self.buffer.delete(&[dead.receipt]).await {
            Ok(()) => counter!(metric::BUFFER_MESSAGES_DELETED).increment(1),
            Err(error) => {
                counter!(metric::BUFFER_ERRORS, "operation" => "delete").increment(1);
                warn!(message = %dead.id, error = %error.cause, "could not delete a message that cannot be used; it comes back");
            }
        }
    }
}

/// Waits for the future in the slot, for ever when there is none. The future
/// stays in the slot, so that cancelling this wait does not cancel it.
async fn in_slot<T>(slot: &mut Option<BoxFuture<'_, T>>) -> T {
    match slot {
        Some(future) => future.await,
        None => pending().await,
    }
}

fn is_full<R: Clone>(held: &Held<R>) -> bool {
    let load = held.load();
    load.messages >= HELD_MESSAGES_MAX
        || load.paths >= HELD_PATHS_MAX
        || load.bytes >= HELD_BYTES_MAX
}

fn start_extension<'a, B: Buffer>(
    buffer: &'a B,
    held: &Held<B::Receipt>,
    extending: &mut Option<Extending<'a, B::Receipt>>,
) {
    let receipts = held.receipts();
    if extending.is_none() && !receipts.is_empty() {
        *extending = Some(Box::pin(async move { buffer.extend(&receipts).await }));
    }
}

/// A failed extension changes nothing here: the messages may be received again
/// by this drain or another, and invalidating twice is harmless.
fn report_extension<R>(result: Result<(), ReceiptError<R>>) {
    if let Err(error) = result {
        counter!(metric::BUFFER_ERRORS, "operation" => "extend").increment(1);
        warn!(messages = error.failed.len(), error = %error.cause, "could not extend the visibility timeout of held messages; they may be invalidated twice");
    }
}

impl<R: Clone> Intake<'_, R> {
    /// Takes in what a receive brought, and returns how long to wait before
    /// the next one.
    fn accept(&mut self, result: Result<Vec<Received<R>>, BufferError>) -> Duration {
        match result {
            Ok(received) => {
                if std::mem::take(&mut self.failing) {
                    self.board.works(&Part::Drain);
                    info!(
                        attempts = self.backoff.attempts(),
                        "receiving from the buffer works again"
                    );
                }
                self.backoff.reset();
                for message in received {
                    self.sort(message);
                }
                Duration::ZERO
            }
            Err(error) => {
                counter!(metric::BUFFER_ERRORS, "operation" => "receive").increment(1);
                let delay = self.backoff.next_delay();
                self.board.fails(&Part::Drain, error.to_string());
                if !std::mem::replace(&mut self.failing, true) {
                    error!(error = %error, retry_in = ?delay, "cannot receive from the buffer; trying again until it works");
                }
                delay
            }
        }
    }

    fn sort(&mut self, received: Received<R>) {
        counter!(metric::BUFFER_MESSAGES_RECEIVED).increment(1);
        let Received {
            id,
            receipt,
            content,
        } = received;
        let message = match content {
            Ok(message) => message,
            Err(error) => {
                let letter = DeadLetter::new(
                    error.code(),
                    error.to_string(),
                    "the message is gone from the buffer: invalidate by hand what it may have held",
                );
                let written_later = matches!(error, DecodeError::NewerVersion { .. });
                // A newer evictd can use it: it stays for that one.
                return self.leave(id, receipt, letter, !written_later);
            }
        };
        if !self
            .options
            .distributions
            .contains_key(&message.distribution)
        {
            let reason = format!(
                "no distribution is called {:?} in this configuration; \
                 add it under [[cloudfront.distribution]]",
                message.distribution
            );
            let mut letter = DeadLetter::new(
                "unknown-distribution",
                reason,
                "the message is gone from the buffer: invalidate its paths by hand if the distribution still exists",
            );
            letter.distribution = Some(message.distribution.to_string());
            letter.paths = message.paths;
            return self.leave(id, receipt, letter, true);
        }
        match self.held.admit(&id, receipt, &message) {
            Admission::New => {
                let round = self
                    .rounds
                    .entry(message.distribution)
                    .or_insert_with(|| Round {
                        due: Instant::now() + self.options.window,
                        gathering: Gathering::default(),
                    });
                round.gathering.add(id, message.paths);
            }
            Admission::Again => {
                counter!(metric::BUFFER_MESSAGES_REDELIVERED).increment(1);
                warn!(message = %id, "received a message that is still held: its visibility timeout ran out");
            }
        }
    }

    /// Does not hold the message. A buffer with a redrive policy hands it out
    /// again after its visibility timeout, and moves it to the dead-letter
    /// queue after as many times as that says; elsewhere one that is useless
    /// `for_good` is put on record.
    fn leave(&mut self, id: Arc<str>, receipt: R, mut letter: DeadLetter, for_good: bool) {
        counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => letter.reason.clone()).increment(1);
        if self.reported.is_new(&id) {
            error!(message = %id, reason = letter.reason, detail = letter.detail, "cannot use a message; leaving it to the buffer's redrive policy, or to the dead letters");
        }
        letter.message = Some(id.to_string());
        if for_good {
            self.unusable.push(Unusable {
                id,
                receipt,
                letter,
            });
        }
    }

    /// Rounds to deliver now. A full drain waits for no window.
    fn take_due(&mut self, delivering: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, Gathering)> {
        let now = Instant::now();
        let full = is_full(self.held);
        self.rounds
            .extract_if(.., |name, round| {
                !delivering.contains(name)
                    && (full
                        || round.due <= now
                        || round.gathering.distinct_paths() >= BATCH_PATHS_MAX)
            })
            .map(|(name, round)| (name, round.gathering))
            .collect()
    }

    fn next_due(&self, delivering: &BTreeSet<Arc<str>>) -> Option<Instant> {
        let waiting = self
            .rounds
            .iter()
            .filter(|(name, _)| !delivering.contains(*name));
        waiting.map(|(_, round)| round.due).min()
    }
}

/// The newest messages that were reported, up to a bound.
#[derive(Debug, Default)]
struct Reported {
    ids: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Reported {
    fn is_new(&mut self, id: &Arc<str>) -> bool {
        if !self.ids.insert(Arc::clone(id)) {
            return false;
        }
        self.order.push_back(Arc::clone(id));
        if self.order.len() > REPORTED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;
