//! What a drain takes in: messages sorted into rounds, one for each
//! distribution or tenant, and those that nothing can be done with.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use metrics::counter;
use tokio::time::Instant;
use tracing::{error, info};

use super::DrainOptions;
use super::dead_letters::{DeadLetters, EdgeRefusal};
use super::in_flight::{Admission, InFlight};
use crate::buffer::{Buffer, BufferError, Buried, MessageError, Received, RejectedMessage};
use crate::edge::BATCH_PATHS_MAX;
use crate::edge::budget::Budget;
use crate::edge::cover::request::{BudgetMode, Gathering, MessageInfo};
use crate::ledger::{self, Ledger};
use crate::progress::backoff::Backoff;
use crate::progress::board::{Board, Component};
use crate::telemetry::{metric, repeating};

/// Bounded: beyond any of these nothing more is received. One last receive may
/// exceed them, by ten messages.
const HELD_MESSAGES_MAX: usize = 1_000;
const HELD_PATHS_MAX: usize = 100_000;
const HELD_BYTES_MAX: usize = 16 * 1_024 * 1_024;

const RECEIVE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Messages whose reason is remembered, so that a redelivery is not logged
/// again.
const REPORTED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Once a budget is spent, paths gather for as long: a round then costs one.
const SPENT_WINDOW: Duration = Duration::from_secs(60);

/// A message that nothing can be done with.
pub(super) struct Letter<R> {
    id: Arc<str>,
    /// A short name of why, for metrics.
    code: &'static str,
    /// For the buffer.
    letter: RejectedMessage<R>,
    distribution: Option<Arc<str>>,
    /// What it held, or what of it was refused.
    paths: Vec<String>,
    /// It was not buried before in vain.
    first: bool,
}

/// A distribution by its name, or one of its tenants.
pub(super) type Destination = (Arc<str>, Option<Arc<str>>);

/// A destination's next round.
struct Round {
    due: Instant,
    gathering: Gathering,
}

/// Everything gathered, and what is said about it.
pub(super) struct Intake<'a, R> {
    options: &'a DrainOptions,
    held: &'a InFlight<R>,
    book: &'a Budget,
    condemned: &'a DeadLetters,
    board: &'a Board,
    /// To be buried.
    pub(super) letters: Vec<Letter<R>>,
    rounds: BTreeMap<Destination, Round>,
    /// Messages that were reported, and that were to be dead letters before.
    reported: LruCache<Arc<str>, ()>,
    buried: LruCache<Arc<str>, ()>,
    backoff: Backoff,
    failing: bool,
}

impl<'a, R: Clone + Eq + Hash> Intake<'a, R> {
    pub(super) fn new(
        options: &'a DrainOptions,
        held: &'a InFlight<R>,
        book: &'a Budget,
        condemned: &'a DeadLetters,
        board: &'a Board,
    ) -> Self {
        Self {
            options,
            held,
            book,
            condemned,
            board,
            letters: Vec::new(),
            rounds: BTreeMap::new(),
            reported: LruCache::new(REPORTED_MAX),
            buried: LruCache::new(REPORTED_MAX),
            backoff: Backoff::new(RECEIVE_BACKOFF.0, RECEIVE_BACKOFF.1),
            failing: false,
        }
    }

    /// Takes in what a receive brought, and returns how long to wait before
    /// the next one.
    pub(super) fn accept(&mut self, result: Result<Vec<Received<R>>, BufferError>) -> Duration {
        match result {
            Ok(received) => {
                if std::mem::take(&mut self.failing) {
                    self.board.recovered(&Component::Drain);
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
                self.board.failed(&Component::Drain, error.to_string());
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
        let letter = |reason: String| RejectedMessage {
            receipt: receipt.clone(),
            body,
            reason,
            deliveries,
        };
        let often = deliveries >= self.options.max_receives;
        if let Some(refusal) = self.condemned.take(&id) {
            let EdgeRefusal {
                code,
                reason,
                paths,
            } = refusal;
            let (distribution, held) = match content {
                Ok(message) => (Some(message.distribution), message.paths),
                Err(_) => (None, Vec::new()),
            };
            let paths = paths.unwrap_or(held);
            return self.condemn(id, code, letter(reason), distribution, paths);
        }
        let message = match content {
            Ok(message) => message,
            Err(error) => {
                let (code, reason) = (error.code(), error.to_string());
                // A newer evictd may be about to take it.
                if often || matches!(error, MessageError::Malformed { .. }) {
                    return self.condemn(id, code, letter(reason), None, Vec::new());
                }
                return self.leave(&id, code, &reason);
            }
        };
        if !self
            .options
            .distributions
            .contains_key(&message.distribution)
        {
            let code = "unknown-distribution";
            let reason = format!(
                "no distribution is called {:?} in this configuration; \
                 add it under [[cloudfront.distribution]]",
                message.distribution
            );
            if often {
                let distribution = Some(message.distribution);
                return self.condemn(id, code, letter(reason), distribution, message.paths);
            }
            return self.leave(&id, code, &reason);
        }
        let arrival = MessageInfo {
            order,
            deliveries,
            committed_at_us: message.committed_at_us,
        };
        match self.held.admit(&id, receipt, &message) {
            Admission::New => {
                let mut window = self.options.window;
                let spent = self.book.status(&message.distribution).thrift() == BudgetMode::Spent;
                let mut paths = message.paths.iter();
                let always = self.options.always.get();
                if spent && !paths.any(|path| always.contains(path)) {
                    window = window.max(SPENT_WINDOW);
                }
                let due = Instant::now() + window;
                let round = self
                    .rounds
                    .entry((message.distribution, message.tenant))
                    .or_insert_with(|| Round {
                        due,
                        gathering: Gathering::default(),
                    });
                round.due = round.due.min(due);
                round.gathering.add(id, arrival, message.paths);
            }
            Admission::Again => {
                counter!(metric::BUFFER_MESSAGES_REDELIVERED).increment(1);
                repeating!(warn, "", { message = %id },
                    "received a message that is still held: its visibility timeout ran out");
            }
        }
    }

    /// It is to be buried.
    fn condemn(
        &mut self,
        id: Arc<str>,
        code: &'static str,
        letter: RejectedMessage<R>,
        distribution: Option<Arc<str>>,
        paths: Vec<String>,
    ) {
        let first = self.buried.put(Arc::clone(&id), ()).is_none();
        self.letters.push(Letter {
            id,
            code,
            letter,
            distribution,
            paths,
            first,
        });
    }

    /// Neither holds the message nor deletes it: the buffer hands it out again
    /// after its visibility timeout, until it has come too often.
    fn leave(&mut self, id: &Arc<str>, reason: &'static str, detail: &str) {
        counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => reason).increment(1);
        if self.reported.put(Arc::clone(id), ()).is_none() {
            repeating!(error, reason, { message = %id, reason, detail },
                "cannot use a message; it stays in the buffer for now");
        }
    }

    /// Rounds to deliver now, one for each distribution: the one that waits
    /// longest. A full drain waits for no window.
    pub(super) fn take_due(
        &mut self,
        delivering: &BTreeSet<Arc<str>>,
    ) -> Vec<(Destination, Gathering)> {
        let now = Instant::now();
        let full = is_full(self.held);
        let ready = |round: &Round| {
            full || round.due <= now || round.gathering.distinct_paths() >= BATCH_PATHS_MAX
        };
        let mut next: BTreeMap<&Arc<str>, (Instant, &Destination)> = BTreeMap::new();
        for (destination, round) in &self.rounds {
            let (name, _) = destination;
            if delivering.contains(name) || !ready(round) {
                continue;
            }
            let candidate = (round.due, destination);
            let first = next.entry(name).or_insert(candidate);
            *first = (*first).min(candidate);
        }
        let next: Vec<Destination> = next.into_values().map(|(_, it)| it.clone()).collect();
        next.into_iter()
            .filter_map(|destination| {
                let round = self.rounds.remove(&destination)?;
                Some((destination, round.gathering))
            })
            .collect()
    }

    /// The messages of all rounds that were not begun.
    pub(super) fn gathered(&self) -> Vec<Arc<str>> {
        let rounds = self.rounds.values();
        rounds
            .flat_map(|round| round.gathering.messages())
            .collect()
    }

    pub(super) fn next_due(&self, delivering: &BTreeSet<Arc<str>>) -> Option<Instant> {
        let waiting = self
            .rounds
            .iter()
            .filter(|((name, _), _)| !delivering.contains(name));
        waiting.map(|(_, round)| round.due).min()
    }
}

pub(super) fn is_full<R: Clone + Eq + Hash>(held: &InFlight<R>) -> bool {
    let load = held.load();
    load.messages >= HELD_MESSAGES_MAX
        || load.paths >= HELD_PATHS_MAX
        || load.bytes >= HELD_BYTES_MAX
}

impl<R> Letter<R> {
    /// As it stands in the ledger.
    fn record(&mut self, remedy: &str) -> ledger::DeadLetter {
        let mut record = ledger::DeadLetter::new(self.code, self.letter.reason.as_str(), remedy);
        record.distribution = self.distribution.as_deref().map(str::to_owned);
        record.paths = std::mem::take(&mut self.paths);
        record.message = Some(self.id.to_string());
        record
    }
}

/// Puts messages among the dead letters, and on record. One that cannot be put
/// there comes back (Nothing lost).
pub(super) async fn bury<B: Buffer>(buffer: &B, ledger: &Ledger, letters: Vec<Letter<B::Receipt>>) {
    for mut dead in letters {
        let (message, code) = (Arc::clone(&dead.id), dead.code);
        let (reason, deliveries) = (dead.letter.reason.clone(), dead.letter.deliveries);
        match buffer.bury(dead.letter.clone()).await {
            Ok(Buried::Moved) => {
                counter!(metric::BUFFER_DEAD_LETTERS, "reason" => code).increment(1);
                repeating!(error, code, { %message, reason, deliveries },
                    "a message is a dead letter now; mend the reason and run `evictd drain --redrive`");
                ledger.dead_letter(
                    dead.record("it is among the buffer's dead letters: mend the reason and run `evictd drain --redrive`"),
                );
            }
            Ok(Buried::NoPlace) => {
                counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => code).increment(1);
                repeating!(error, code, { %message, reason, deliveries },
                    "cannot use a message, and the queue has no dead-letter queue: it comes back until its retention ends");
                if dead.first {
                    ledger.dead_letter(
                        dead.record("it comes back until the queue's retention ends: mend the reason, and set a redrive policy on the queue"),
                    );
                }
            }
            Err(error) => {
                counter!(metric::BUFFER_ERRORS, "operation" => "bury").increment(1);
                repeating!(warn, code, { %message, reason, error = %error },
                    "cannot use a message, nor put it among the dead letters; it comes back");
            }
        }
    }
}
