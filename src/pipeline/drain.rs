//! The loop from the buffer to the edge.
//!
//! It receives all the time, gathers each distribution's messages for a
//! window, and delivers a distribution's rounds one after the other while the
//! next one gathers: an idle drain acts after the window, a busy one
//! amortises. A tenant has rounds of its own, within the quota and the budget of
//! its distribution. Distributions do not wait for each other, until what is held
//! reaches its bound.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use metrics::counter;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::board::{Part, Reports};
use super::condemned::Condemned;
use super::deliver::{Delivery, Means};
use super::held::Held;
use super::intake::{Intake, bury, is_full};
use super::spending;
use super::standing::{Standing, Watch};
use crate::buffer::{Buffer, BufferError, ReceiptError, Received};
use crate::edge::budget::Book;
use crate::edge::pace::Pace;
use crate::edge::{Edge, Scope};
use crate::model::Current;
use crate::rules::always::AlwaysPaths;
use crate::telemetry::{metric, repeating};

/// Dead letters on their way.
const LETTERS_MAX: usize = 100;

/// How often the loop turns at least, so that one that does not shows.
const TURN: Duration = Duration::from_secs(1);

/// The longest that SQS waits for a first message.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);

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
    pub always: Current<AlwaysPaths>,
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
    reports: Reports,
}

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
        let names = self.options.distributions.keys().cloned().collect();
        watches.spawn(spending::watch(Arc::clone(&means.book), names));
        let mut intake = Intake::new(
            &self.options,
            &held,
            &means.book,
            &means.condemned,
            &self.reports.board,
        );
        let mut deliveries = FuturesUnordered::new();
        let mut delivering: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut receiving: Option<Receiving<'_, B::Receipt>> = None;
        let mut receive_at = Instant::now();
        let mut extending: Option<Extending<'_, B::Receipt>> = None;
        let mut burying: Option<Burying<'_>> = None;
        let period = (self.buffer.visibility() / 3).max(Duration::from_millis(1));
        let mut extension = interval_at(Instant::now() + period, period);
        extension.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = interval(TURN);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let board = &self.reports.board;
        loop {
            board.begins(&Part::Drain);
            for ((name, tenant), round) in intake.take_due(&delivering) {
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
                    scope: Scope {
                        distribution: Arc::clone(distribution),
                        tenant,
                    },
                    name,
                    reports: &self.reports,
                };
                deliveries.push(delivery.run(round));
            }
            if burying.is_none() && !intake.letters.is_empty() {
                let letters = std::mem::take(&mut intake.letters);
                burying = Some(Box::pin(bury(&*self.buffer, &self.reports.ledger, letters)));
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
                _ = turn.tick() => {}
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
        self.reports.board.rests(&Part::Drain);
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
        repeating!(warn, "", { messages = error.failed.len(), error = %error.cause },
            "could not extend the visibility timeout of held messages; they may be invalidated twice");
    }
}

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;
