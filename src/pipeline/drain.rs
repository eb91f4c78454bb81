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
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::condemned::Condemned;
use super::deliver::{Delivery, Means};
use super::held::{Admission, Held};
use super::retry::Backoff;
use super::standing::{Standing, Watch};
use crate::buffer::{Buffer, BufferError, Buried, DeadLetter, DecodeError, ReceiptError, Received};
use crate::edge::batch::{Arrival, Gathering, Thrift};
use crate::edge::budget::Book;
use crate::edge::pace::Pace;
use crate::edge::{BATCH_PATHS_MAX, Edge};
use crate::rules::always::AlwaysPaths;
use crate::telemetry::metric;

/// Bounded: beyond any of these nothing more is received. One last receive may
/// exceed them, by ten messages.
const HELD_MESSAGES_MAX: usize = 1_000;
const HELD_PATHS_MAX: usize = 100_000;
/// Dead letters on their way.
const LETTERS_MAX: usize = 100;
const HELD_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// The longest that SQS waits for a first message.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);
const RECEIVE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Messages whose reason is remembered, so that a redelivery is not logged
/// again.
const REPORTED_MAX: usize = 10_000;

/// Once a budget is spent, paths gather for as long: a round then costs one.
const SPENT_WINDOW: Duration = Duration::from_secs(60);

/// How a drain works.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// How long a distribution's messages gather, from the first one on.
    pub window: Duration,
    /// How long deliveries under way may go on after the shutdown.
    pub grace: Duration,
    /// The distributions' ids by their names in the configuration.
    pub distributions: BTreeMap<Arc<str>, Arc<str>>,
    /// Calls to the edge, of all distributions together.
    pub calls_per_second: f64,
    /// How often a message that cannot be used is received before it becomes a
    /// dead letter.
    pub max_receives: u32,
    /// Paths that are sent as they are, whatever the budget says.
    pub always: AlwaysPaths,
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
    book: Arc<Book>,
    options: DrainOptions,
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
    book: &'a Book,
    condemned: &'a Condemned,
    /// To be buried.
    letters: Vec<Letter<R>>,
    rounds: BTreeMap<Arc<str>, Round>,
    reported: Reported,
    backoff: Backoff,
    failing: bool,
}

/// A message's id, and a short name of why it is a dead letter.
type Letter<R> = (Arc<str>, &'static str, DeadLetter<R>);
type Receiving<'a, R> = BoxFuture<'a, Result<Vec<Received<R>>, BufferError>>;
type Burying<'a> = BoxFuture<'a, ()>;
type Extending<'a, R> = BoxFuture<'a, Result<(), ReceiptError<R>>>;

impl<B: Buffer, E: Edge> Drain<B, E> {
    /// A drain from `buffer` to `edge` that counts its paths in `book`.
    pub fn new(buffer: Arc<B>, edge: Arc<E>, book: Arc<Book>, options: DrainOptions) -> Self {
        Self {
            buffer,
            edge,
            book,
            options,
        }
    }

    /// Works until `shutdown` is cancelled. Deliveries under way are then
    /// finished within the grace period; messages only gathered come back.
    ///
    /// Outages of the buffer or the edge never end it: they are retried,
    /// logged and counted. Dropping the future loses nothing either.
    pub async fn run(self, shutdown: CancellationToken) -> Stopped {
        info!(
            distributions = self.options.distributions.len(),
            "sending buffered paths"
        );
        let held = Held::default();
        let means = Means {
            buffer: Arc::clone(&self.buffer),
            edge: Arc::clone(&self.edge),
            pace: Arc::new(Pace::new(self.options.calls_per_second)),
            book: Arc::clone(&self.book),
            condemned: Condemned::default(),
        };
        // Aborted when it is dropped.
        let mut watches = JoinSet::new();
        let mut standings: BTreeMap<Arc<str>, Arc<Standing>> = BTreeMap::new();
        for (name, distribution) in &self.options.distributions {
            let standing: Arc<Standing> = Arc::default();
            let watch = Watch {
                edge: Arc::clone(&means.edge),
                pace: Arc::clone(&means.pace),
                book: Arc::clone(&means.book),
                standing: Arc::clone(&standing),
                name: Arc::clone(name),
                distribution: Arc::clone(distribution),
            };
            watches.spawn(watch.run());
            standings.insert(Arc::clone(name), standing);
        }
        let mut intake = Intake {
            options: &self.options,
            held: &held,
            book: &means.book,
            condemned: &means.condemned,
            letters: Vec::new(),
            rounds: BTreeMap::new(),
            reported: Reported::default(),
            backoff: Backoff::new(RECEIVE_BACKOFF.0, RECEIVE_BACKOFF.1),
            failing: false,
        };
        let mut deliveries = FuturesUnordered::new();
        let mut delivering: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut receiving: Option<Receiving<'_, B::Receipt>> = None;
        let mut receive_at = Instant::now();
        let mut extending: Option<Extending<'_, B::Receipt>> = None;
        let mut burying: Option<Burying<'_>> = None;
        let period = (self.buffer.visibility() / 3).max(Duration::from_millis(1));
        let mut extension = interval_at(Instant::now() + period, period);
        extension.set_missed_tick_behavior(MissedTickBehavior::Delay);

        loop {
            for (name, round) in intake.take_due(&delivering) {
                let (Some(distribution), Some(standing)) =
                    (self.options.distributions.get(&name), standings.get(&name))
                else {
                    continue;
                };
                delivering.insert(Arc::clone(&name));
                let delivery = Delivery {
                    means: &means,
                    options: &self.options,
                    held: &held,
                    standing: Arc::clone(standing),
                    distribution: Arc::clone(distribution),
                    name,
                };
                deliveries.push(delivery.run(round));
            }
            if burying.is_none() && !intake.letters.is_empty() {
                let letters = std::mem::take(&mut intake.letters);
                burying = Some(Box::pin(bury(&*self.buffer, letters)));
            }
            let room = intake.letters.len() < LETTERS_MAX && !is_full(&held);
            if receiving.is_none() && room {
                let buffer = &*self.buffer;
                receiving = Some(Box::pin(async move {
                    sleep_until(receive_at).await;
                    buffer.receive(RECEIVE_WAIT).await
                }));
            }
            let due = intake.next_due(&delivering);
            // In this order: stopping comes first; what frees messages and
            // what keeps them comes before what adds to them.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(name) = deliveries.next(), if !deliveries.is_empty() => {
                    delivering.remove(&name);
                }
                result = in_slot(&mut extending) => {
                    extending = None;
                    report_extension(result);
                }
                _ = extension.tick() => start_extension(&*self.buffer, &held, &mut extending),
                () = in_slot(&mut burying) => burying = None,
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

/// Puts messages among the dead letters. One that cannot be put there comes
/// back (Nothing lost).
async fn bury<B: Buffer>(buffer: &B, letters: Vec<Letter<B::Receipt>>) {
    for (message, code, letter) in letters {
        let (reason, deliveries) = (letter.reason.clone(), letter.deliveries);
        match buffer.bury(letter).await {
            Ok(Buried::Moved) => {
                counter!(metric::BUFFER_DEAD_LETTERS, "reason" => code).increment(1);
                error!(%message, reason, deliveries, "a message is a dead letter now; mend the reason and run `evictd drain --redrive`");
            }
            Ok(Buried::NoPlace) => {
                counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => code).increment(1);
                error!(%message, reason, deliveries, "cannot use a message, and the queue has no dead-letter queue: it comes back until its retention ends");
            }
            Err(error) => {
                counter!(metric::BUFFER_ERRORS, "operation" => "bury").increment(1);
                warn!(%message, reason, error = %error, "cannot use a message, nor put it among the dead letters; it comes back");
            }
        }
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
            order,
            deliveries,
            body,
            content,
        } = received;
        let letter = |reason: String| DeadLetter {
            receipt: receipt.clone(),
            body,
            reason,
            deliveries,
        };
        let often = deliveries >= self.options.max_receives;
        if let Some(sentence) = self.condemned.take(&id) {
            return self
                .letters
                .push((id, sentence.code, letter(sentence.reason)));
        }
        let message = match content {
            Ok(message) => message,
            Err(error) => {
                let (code, reason) = (error.code(), error.to_string());
                // A newer evictd may be about to take it.
                if often || matches!(error, DecodeError::Malformed { .. }) {
                    return self.letters.push((id, code, letter(reason)));
                }
                return self.leave(&id, code, &reason);
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
            if often {
                return self
                    .letters
                    .push((id, "unknown-distribution", letter(reason)));
            }
            return self.leave(&id, "unknown-distribution", &reason);
        }
        let arrival = Arrival {
            order,
            deliveries,
            committed_at_us: message.committed_at_us,
        };
        match self.held.admit(&id, receipt, &message) {
            Admission::New => {
                let mut window = self.options.window;
                let spent = self.book.status(&message.distribution).thrift() == Thrift::Spent;
                let mut paths = message.paths.iter();
                if spent && !paths.any(|path| self.options.always.contains(path)) {
                    window = window.max(SPENT_WINDOW);
                }
                let due = Instant::now() + window;
                let round = self
                    .rounds
                    .entry(message.distribution)
                    .or_insert_with(|| Round {
                        due,
                        gathering: Gathering::default(),
                    });
                round.due = round.due.min(due);
                round.gathering.add(id, arrival, message.paths);
            }
            Admission::Again => {
                counter!(metric::BUFFER_MESSAGES_REDELIVERED).increment(1);
                warn!(message = %id, "received a message that is still held: its visibility timeout ran out");
            }
        }
    }

    /// Neither holds the message nor deletes it: the buffer hands it out again
    /// after its visibility timeout, until it has come too often.
    fn leave(&mut self, id: &Arc<str>, reason: &'static str, detail: &str) {
        counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => reason).increment(1);
        if self.reported.is_new(id) {
            error!(message = %id, reason, detail, "cannot use a message; it stays in the buffer for now");
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
