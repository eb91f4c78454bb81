//! The loop from the buffer to the edge.
//!
//! It receives all the time, gathers each distribution's messages for a
//! window, and delivers a distribution's rounds one after the other while the
//! next one gathers: an idle drain acts after the window, a busy one
//! amortises. A tenant has rounds of its own, within the quota and the budget of
//! its distribution. Distributions do not wait for each other, until what is held
//! reaches its bound.

mod budget_metrics;
mod dead_letters;
mod deliver;
mod distribution;
mod in_flight;
mod poller;
mod receive;
mod tenant_lookup;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::pending;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use metrics::counter;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::dead_letters::DeadLetters;
use self::deliver::{Delivery, Means};
use self::distribution::Standing;
use self::in_flight::{InFlight, LetGo};
use self::poller::Watch;
use self::receive::{Intake, bury, is_full};
use crate::buffer::{Buffer, BufferError, ReceiptError, Received};
use crate::edge::budget::Budget;
use crate::edge::invalidation_log::History;
use crate::edge::rate_limit::Pace;
use crate::edge::{Edge, Scope};
use crate::model::Current;
use crate::progress::board::{Component, Reports};
use crate::rules::budget_exempt::AlwaysPaths;
use crate::telemetry::{metric, repeating};

/// Dead letters on their way.
const LETTERS_MAX: usize = 100;

/// How often the loop turns at least, so that one that does not shows.
const TURN: Duration = Duration::from_secs(1);

/// The longest that SQS waits for a first message.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);

/// How long giving messages back may take after the grace period.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);

/// The long poll that is open when a drain stops takes what it gives back. It
/// then answers at once, unless others were faster.
const LAST_POLL_WITHIN: Duration = Duration::from_secs(2);

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
    /// How long an invalidation may be in progress before it is reported.
    pub overdue_after: Duration,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Messages that others can receive at once.
    pub given_back: usize,
    /// Messages that come back after their visibility timeout: the edge may
    /// have accepted them, or the buffer did not take them back.
    pub left: usize,
}

/// Moves messages from a buffer to an edge.
///
/// Any number of drains may share a buffer.
#[derive(Debug)]
pub struct Drain<B, E> {
    buffer: Arc<B>,
    edge: Arc<E>,
    book: Arc<Budget>,
    options: DrainOptions,
    history: History,
    reports: Reports,
}

type Receiving<'a, R> = BoxFuture<'a, Result<Vec<Received<R>>, BufferError>>;
type Burying<'a> = BoxFuture<'a, ()>;
type Giving<'a> = BoxFuture<'a, Returned>;
type Extending<'a, R> = BoxFuture<'a, Result<(), ReceiptError<R>>>;

impl<B: Buffer, E: Edge> Drain<B, E> {
    /// A drain from `buffer` to `edge` that counts its paths in `book`.
    pub fn new(buffer: Arc<B>, edge: Arc<E>, book: Arc<Budget>, options: DrainOptions) -> Self {
        Self {
            buffer,
            edge,
            book,
            options,
            history: History::off(),
            reports: Reports::default(),
        }
    }

    /// Puts there what was made, and reads what others of this machine have.
    #[must_use]
    pub fn recording(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    /// Says there how it goes.
    #[must_use]
    pub fn reporting(mut self, reports: Reports) -> Self {
        self.reports = reports;
        self
    }

    /// Works until `shutdown` is cancelled. Deliveries under way are then
    /// finished within the grace period; everything else is given back.
    ///
    /// Outages of the buffer or the edge never end it: they are retried,
    /// logged and counted. Dropping the future loses nothing either.
    pub async fn run(self, shutdown: CancellationToken) -> Stopped {
        info!(
            distributions = self.options.distributions.len(),
            "sending buffered paths"
        );
        self.reports.board.counts_in(&self.book);
        let held = InFlight::default();
        let means = Means {
            buffer: Arc::clone(&self.buffer),
            edge: Arc::clone(&self.edge),
            pace: Arc::new(Pace::new(self.options.calls_per_second)),
            book: Arc::clone(&self.book),
            history: self.history.clone(),
            condemned: DeadLetters::default(),
        };
        // Aborted when it is dropped.
        let mut watches = JoinSet::new();
        let mut standings: BTreeMap<Arc<str>, Arc<Standing>> = BTreeMap::new();
        for (name, distribution) in &self.options.distributions {
            let standing = Arc::new(Standing::new(self.history.reader(name)));
            let watch = Watch {
                edge: Arc::clone(&means.edge),
                pace: Arc::clone(&means.pace),
                book: Arc::clone(&means.book),
                standing: Arc::clone(&standing),
                name: Arc::clone(name),
                distribution: Arc::clone(distribution),
                overdue_after: self.options.overdue_after,
            };
            watches.spawn(watch.run());
            standings.insert(Arc::clone(name), standing);
        }
        let names = self.options.distributions.keys().cloned().collect();
        watches.spawn(budget_metrics::watch(Arc::clone(&means.book), names));
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
            board.started(&Component::Drain);
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
                    report_extension(result, &held);
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

        let deadline = Instant::now() + self.options.grace;
        let end = deadline + GIVE_BACK_WITHIN;
        info!(rounds = deliveries.len(), messages = held.load().messages, grace = ?self.options.grace, "the drain is stopping");
        // What only gathers is for others to send, now.
        let mut waiting = held.let_go(Some(&intake.gathered()));
        let mut giving: Option<Giving<'_>> = None;
        let mut returned = Returned::default();
        while !deliveries.is_empty() || !waiting.is_empty() || giving.is_some() {
            // An extension under way would hide again what is given back.
            if giving.is_none() && extending.is_none() && !waiting.is_empty() {
                let messages = std::mem::take(&mut waiting);
                let by = Instant::now() + GIVE_BACK_WITHIN;
                giving = Some(Box::pin(give_back(&*self.buffer, messages, by)));
            }
            tokio::select! {
                biased;
                _ = deliveries.next(), if !deliveries.is_empty() => {}
                result = in_slot(&mut extending) => {
                    extending = None;
                    report_extension(result, &held);
                }
                now_returned = in_slot(&mut giving) => {
                    giving = None;
                    returned.add(now_returned);
                }
                _ = extension.tick() => start_extension(&*self.buffer, &held, &mut extending),
                // The long poll that is still open takes what is given back.
                result = in_slot(&mut receiving) => {
                    receiving = None;
                    intake.accept(result);
                    waiting.extend(held.let_go(Some(&intake.gathered())));
                }
                () = sleep_until(deadline) => break,
            }
        }
        self.reports.board.idle(&Component::Drain);
        // No call begins from here on.
        drop(deliveries);
        if extending.is_some()
            && let Ok(result) = timeout_at(end, in_slot(&mut extending)).await
        {
            report_extension(result, &held);
        }
        if giving.is_some() {
            returned.add(in_slot(&mut giving).await);
        }
        waiting.extend(held.let_go(None));
        returned.add(give_back(&*self.buffer, waiting, end).await);
        let polled = Instant::now() + LAST_POLL_WITHIN;
        if !returned.given_back.is_empty()
            && receiving.is_some()
            && let Ok(result) = timeout_at(polled.min(end), in_slot(&mut receiving)).await
        {
            intake.accept(result);
            let again = held.let_go(Some(&intake.gathered()));
            returned.add(give_back(&*self.buffer, again, end).await);
        }
        let stopped = Stopped {
            given_back: returned.given_back.len(),
            left: returned.failed.len() + held.load().messages,
        };
        info!(
            given_back = stopped.given_back,
            left = stopped.left,
            "the drain stopped; messages it left come back after their visibility timeout"
        );
        stopped
    }
}

/// What became of messages that were to be given back.
#[derive(Debug, Default)]
struct Returned {
    given_back: HashSet<Arc<str>>,
    failed: HashSet<Arc<str>>,
}

impl Returned {
    /// The open long poll may have taken some again.
    fn add(&mut self, later: Self) {
        self.failed.retain(|id| !later.given_back.contains(id));
        self.given_back.retain(|id| !later.failed.contains(id));
        self.given_back.extend(later.given_back);
        self.failed.extend(later.failed);
    }
}

/// Makes messages visible again. One try: whoever stops a drain waits for it.
async fn give_back<B: Buffer>(
    buffer: &B,
    messages: Vec<LetGo<B::Receipt>>,
    by: Instant,
) -> Returned {
    if messages.is_empty() {
        return Returned::default();
    }
    let receipts: Vec<B::Receipt> = messages.iter().map(|it| it.receipt.clone()).collect();
    let failed: HashSet<B::Receipt> = match timeout_at(by, buffer.give_back(&receipts)).await {
        Ok(Ok(())) => HashSet::new(),
        Ok(Err(error)) => {
            counter!(metric::BUFFER_ERRORS, "operation" => "give-back").increment(1);
            warn!(messages = error.failed.len(), error = %error.cause, "could not give messages back; they come back after their visibility timeout");
            error.failed.into_iter().collect()
        }
        Err(_) => {
            counter!(metric::BUFFER_ERRORS, "operation" => "give-back").increment(1);
            warn!(
                messages = receipts.len(),
                "the buffer did not take messages back in time; they come back after their visibility timeout at the latest"
            );
            receipts.into_iter().collect()
        }
    };
    let mut returned = Returned::default();
    for LetGo { id, receipt } in messages {
        match failed.contains(&receipt) {
            true => returned.failed.insert(id),
            false => returned.given_back.insert(id),
        };
    }
    returned
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
    held: &InFlight<B::Receipt>,
    extending: &mut Option<Extending<'a, B::Receipt>>,
) {
    let receipts = held.receipts();
    if extending.is_none() && !receipts.is_empty() {
        *extending = Some(Box::pin(async move { buffer.extend(&receipts).await }));
    }
}

/// A failed extension changes nothing here: the messages may be received again
/// by this drain or another, and invalidating twice is harmless. Messages that
/// were deleted while it was under way are no failure. Returns how many are
/// one.
fn report_extension<R: Clone + Eq + Hash>(
    result: Result<(), ReceiptError<R>>,
    held: &InFlight<R>,
) -> usize {
    let Err(error) = result else {
        return 0;
    };
    let failed = held.needed(error.failed);
    if !failed.is_empty() {
        counter!(metric::BUFFER_ERRORS, "operation" => "extend").increment(1);
        repeating!(warn, "", { messages = failed.len(), error = %error.cause },
            "could not extend the visibility timeout of held messages; they may be invalidated twice");
    }
    failed.len()
}

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;
