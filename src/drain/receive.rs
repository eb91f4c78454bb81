//! Received messages, sorted into rounds: one for each distribution or tenant.
//! Those that nothing can be done with become dead letters.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use metrics::counter;
use tracing::{error, info};

use super::addressee::Patience;
use super::dead_letters::Letter;
use super::distribution::Distribution;
use super::in_flight::{Admission, ReceivedMessage};
use super::parts::DrainParts;
use super::rounds::Rounds;
use crate::buffer::{Buffer, BufferError, Message, MessageError, Received, RejectedMessage};
use crate::edge::cover::request::{BudgetMode, Gathering, MessageInfo};
use crate::progress::backoff::Backoff;
use crate::progress::board::Component;
use crate::telemetry::{metric, repeating};

const RECEIVE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Messages whose reason is remembered, so that a redelivery is not logged
/// again.
const REPORTED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Pause after a receive that brought nothing but messages for which there is no
/// room: those of others are behind them.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(20);

/// Sorts received messages, and keeps what gathers until it is due.
pub(super) struct Receiver<'a, B: Buffer, E> {
    parts: &'a DrainParts<B, E>,
    distributions: &'a BTreeMap<Arc<str>, Arc<Distribution>>,
    /// To be buried.
    pub(super) letters: Vec<Letter<B::Receipt>>,
    pub(super) rounds: Rounds<'a, B, E>,
    /// Messages that were reported as left in the buffer.
    reported: LruCache<Arc<str>, ()>,
    backoff: Backoff,
    failing: bool,
}

/// Why a message cannot be used.
struct Unusable {
    /// A short name, for metrics.
    code: &'static str,
    reason: String,
    patience: Patience,
    distribution: Option<Arc<str>>,
    paths: Vec<String>,
}

impl<'a, B: Buffer, E> Receiver<'a, B, E> {
    pub(super) fn new(
        parts: &'a DrainParts<B, E>,
        distributions: &'a BTreeMap<Arc<str>, Arc<Distribution>>,
    ) -> Self {
        Self {
            parts,
            distributions,
            letters: Vec::new(),
            rounds: Rounds::new(parts, distributions),
            reported: LruCache::new(REPORTED_MAX),
            backoff: Backoff::new(RECEIVE_BACKOFF.0, RECEIVE_BACKOFF.1),
            failing: false,
        }
    }

    /// Takes in the result of a receive, and returns how long to wait before
    /// the next one.
    pub(super) fn accept(
        &mut self,
        result: Result<Vec<Received<B::Receipt>>, BufferError>,
    ) -> Duration {
        let board = &self.parts.reports.board;
        match result {
            Ok(received) => {
                if std::mem::take(&mut self.failing) {
                    board.recovered(&Component::Drain);
                    info!(
                        attempts = self.backoff.attempts(),
                        "receiving from the buffer works again"
                    );
                }
                self.backoff.reset();
                let mut none_fits = !received.is_empty();
                for message in received {
                    none_fits &= self.sort(message) == Some(Admission::NoRoom);
                }
                if none_fits {
                    NO_ROOM_PAUSE
                } else {
                    Duration::ZERO
                }
            }
            Err(error) => {
                counter!(metric::BUFFER_ERRORS, "operation" => "receive").increment(1);
                let delay = self.backoff.next_delay();
                board.failed(&Component::Drain, error.to_string());
                if !std::mem::replace(&mut self.failing, true) {
                    error!(error = %error, retry_in = ?delay, "cannot receive from the buffer; trying again until it works");
                }
                delay
            }
        }
    }

    /// Says how it was admitted, if it can be used.
    fn sort(&mut self, received: Received<B::Receipt>) -> Option<Admission> {
        counter!(metric::BUFFER_MESSAGES_RECEIVED).increment(1);
        let Received {
            id,
            receipt,
            deliveries,
            body,
            content,
        } = received;
        let message = match self.usable(content) {
            Ok(message) => message,
            Err(unusable) => {
                let too_often = deliveries >= self.parts.options.max_receives;
                let stays = match unusable.patience {
                    Patience::Nothing => false,
                    Patience::UntilTooOften => !too_often,
                    Patience::Endless => true,
                };
                if stays {
                    self.leave(&id, unusable.code, &unusable.reason);
                    return None;
                }
                let is_first = self.parts.buried.is_first(&id);
                self.letters.push(Letter {
                    id,
                    code: unusable.code,
                    rejected: RejectedMessage {
                        receipt,
                        body,
                        reason: unusable.reason,
                        deliveries,
                    },
                    distribution: unusable.distribution,
                    paths: unusable.paths,
                    is_first,
                });
                return None;
            }
        };
        let held = ReceivedMessage {
            receipt,
            body,
            deliveries,
        };
        let admission = self.parts.in_flight.admit(&id, held, &message);
        match admission {
            Admission::New => {
                let info = MessageInfo {
                    sent: message.sent,
                    deliveries,
                    committed_at: message.committed_at,
                };
                self.gather(id, info, message);
            }
            Admission::Again => {
                counter!(metric::BUFFER_MESSAGES_REDELIVERED).increment(1);
                repeating!(warn, "", { message = %id },
                    "received a message that is still held: its visibility timeout ran out");
            }
            Admission::NoRoom => {
                counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => "no-room").increment(1);
                repeating!(warn, &message.distribution, { distribution = %message.distribution },
                    "a distribution holds as many messages as it may while others have to go on; more of them stay in the buffer, and come back after their visibility timeout");
            }
        }
        Some(admission)
    }

    fn usable(&self, content: Result<Message, MessageError>) -> Result<Message, Unusable> {
        let mut message = content.map_err(|error| Unusable {
            code: error.code(),
            reason: error.to_string(),
            patience: match error {
                MessageError::Malformed { .. } => Patience::Nothing,
                MessageError::NewerVersion { .. } => Patience::UntilTooOften,
            },
            distribution: None,
            paths: Vec::new(),
        })?;
        let options = &self.parts.options;
        options.rename(&mut message);
        match options.unknown(&message) {
            None => Ok(message),
            Some((code, patience, reason)) => Err(Unusable {
                code,
                reason,
                patience,
                distribution: Some(message.distribution),
                paths: message.paths,
            }),
        }
    }

    /// Adds a message to its destination's next round, or to the suspects: nobody
    /// shares a request with a path that may be refused.
    fn gather(&mut self, id: Arc<str>, info: MessageInfo, message: Message) {
        if let Some(distribution) = self.distributions.get(&message.distribution) {
            distribution.received(message.sent);
            let known = distribution.suspects();
            if let Some(at) = message.redriven_at {
                if let Some(at) = at.timestamp() {
                    let ledger = &self.parts.reports.ledger;
                    ledger.redriven(&message.distribution, &message.paths, at);
                }
                known.forget(&message.tenant, &message.paths, at.age());
            }
            // What somebody may have sent is asked about first, beside the rounds.
            let mut paths = message.paths.iter();
            if paths.any(|path| known.suspects(&message.tenant, path))
                && !distribution.may_have_sent(&info)
            {
                let mut suspect = Gathering::default();
                suspect.add(id, info, message.paths);
                return known.arrive(message.tenant, suspect);
            }
        }
        let status = self.parts.budget.status(&message.distribution);
        let budget_exempt = &self.parts.options.budget_exempt;
        let mut paths = message.paths.iter();
        let saves =
            status.mode() == BudgetMode::Spent && !paths.any(|path| budget_exempt.contains(path));
        let destination = (message.distribution, message.tenant);
        if saves {
            let mut saved = Gathering::default();
            saved.add(id, info, message.paths);
            return self.rounds.save(destination, saved);
        }
        self.rounds.add(destination, id, info, message.paths);
    }

    /// Leaves the message in the buffer, which hands it out again after its
    /// visibility timeout, until it has come too often.
    fn leave(&mut self, id: &Arc<str>, reason: &'static str, detail: &str) {
        counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => reason).increment(1);
        if self.reported.put(Arc::clone(id), ()).is_none() {
            repeating!(error, reason, { message = %id, reason, detail },
                "cannot use a message; it stays in the buffer for now");
        }
    }
}
