//! Received messages, sorted into rounds: one for each distribution or tenant.
//! Those that nothing can be done with become dead letters.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use metrics::counter;
use tokio::time::Instant;
use tracing::{error, info};

use super::addressee::Patience;
use super::dead_letters::Letter;
use super::deliver::{Parked, Until};
use super::distribution::Distribution;
use super::in_flight::{Admission, ReceivedMessage};
use super::parts::DrainParts;
use super::suspects::Tenant;
use crate::buffer::{Buffer, BufferError, Message, MessageError, Received, RejectedMessage};
use crate::edge::BATCH_PATHS_MAX;
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

/// Once a budget is spent, paths gather for as long: a round then costs one.
const SPENT_WINDOW: Duration = Duration::from_secs(60);

/// A distribution by its name, or one of its tenants.
pub(super) type Destination = (Arc<str>, Option<Arc<str>>);

/// A destination's next round.
struct Round {
    due: Instant,
    gathering: Gathering,
    /// What gathers until a spent budget grants a path, and when that is.
    saved: Gathering,
    granted_at: Instant,
    /// What is to be sent before that.
    parked: Option<Parked>,
}

/// What to deliver now.
pub(super) enum DueWork {
    Round {
        paths: Gathering,
        /// Whether a spent budget grants a path.
        is_granted: bool,
    },
    Parked(Parked),
}

/// Sorts received messages, and keeps what gathers until it is due.
pub(super) struct Receiver<'a, B: Buffer, E> {
    parts: &'a DrainParts<B, E>,
    distributions: &'a BTreeMap<Arc<str>, Arc<Distribution>>,
    /// To be buried.
    pub(super) letters: Vec<Letter<B::Receipt>>,
    rounds: BTreeMap<Destination, Round>,
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
            rounds: BTreeMap::new(),
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
            return self.save(destination, saved);
        }
        let due = Instant::now() + self.parts.options.window;
        let round = self.round(destination, due);
        if round.gathering.distinct_paths() == 0 {
            round.due = due;
        }
        round.due = round.due.min(due);
        round.gathering.add(id, info, message.paths);
    }

    fn round(&mut self, destination: Destination, due: Instant) -> &mut Round {
        self.rounds.entry(destination).or_insert_with(|| Round {
            due,
            gathering: Gathering::default(),
            saved: Gathering::default(),
            granted_at: due,
            parked: None,
        })
    }

    /// Keeps what a spent budget has to grant a path for: all of it goes under that one.
    fn save(&mut self, destination: Destination, paths: Gathering) {
        let granted_at = Instant::now() + self.parts.options.window.max(SPENT_WINDOW);
        let round = self.round(destination, granted_at);
        if round.saved.distinct_paths() == 0 {
            round.granted_at = granted_at;
        }
        round.saved.absorb(paths);
    }

    /// Keeps what is to be sent before the next round, or tried again then.
    pub(super) fn park(&mut self, destination: Destination, parked: Parked) {
        if parked.until == Until::Granted {
            return self.save(destination, parked.paths);
        }
        let waiting = &mut self.round(destination, Instant::now()).parked;
        match waiting {
            Some(waiting) => {
                waiting.paths.absorb(parked.paths);
                if parked.until == Until::NotSuspended {
                    waiting.until = parked.until;
                }
                waiting.was_asked |= parked.was_asked;
            }
            None => *waiting = Some(parked),
        }
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

    /// Takes the rounds to deliver now, one for each distribution: the one that has
    /// been due longest. A full drain waits for no window.
    pub(super) fn take_due(
        &mut self,
        delivering: &BTreeMap<Arc<str>, Tenant>,
    ) -> Vec<(Destination, DueWork)> {
        let now = Instant::now();
        let ready = |destination: &Destination, round: &Round| {
            self.due(destination, round) <= now
                || round.parked.is_none()
                    && (self.parts.in_flight.is_full_of(&destination.0)
                        || round.gathering.distinct_paths() >= BATCH_PATHS_MAX)
        };
        let mut next: BTreeMap<&Arc<str>, (Instant, Instant, &Destination)> = BTreeMap::new();
        for (destination, round) in &self.rounds {
            let (name, tenant) = destination;
            if !ready(destination, round) {
                continue;
            }
            if let Some(under_way) = delivering.get(name) {
                let other = self.distributions.get(name);
                if let Some(other) = other.filter(|_| under_way != tenant) {
                    other.lock().is_wanted = true;
                }
                continue;
            }
            // What is refused is due at one time, and tried by turns.
            let due = self.due(destination, round);
            let since = round.parked.as_ref().map_or(due, |parked| parked.since);
            let candidate = (due, since, destination);
            let first = next.entry(name).or_insert(candidate);
            *first = (*first).min(candidate);
        }
        let next: Vec<Destination> = next
            .into_values()
            .map(|(_, _, destination)| destination.clone())
            .collect();
        next.into_iter()
            .filter_map(|destination| {
                let round = self.rounds.get_mut(&destination)?;
                let due = match round.parked.take() {
                    Some(parked) => DueWork::Parked(parked),
                    None => {
                        let is_full = self.parts.in_flight.is_full_of(&destination.0);
                        let is_due = round.granted_at <= now && round.saved.distinct_paths() > 0;
                        let is_granted = is_full || is_due;
                        let mut paths = std::mem::take(&mut round.gathering);
                        if is_granted {
                            paths.absorb(std::mem::take(&mut round.saved));
                        }
                        DueWork::Round { paths, is_granted }
                    }
                };
                if round.gathering.messages().is_empty() && round.saved.messages().is_empty() {
                    self.rounds.remove(&destination);
                }
                Some((destination, due))
            })
            .collect()
    }

    /// When the round is due, or what is parked of it.
    fn due(&self, (name, tenant): &Destination, round: &Round) -> Instant {
        match (&round.parked, self.distributions.get(name)) {
            (Some(parked), Some(distribution)) if parked.until == Until::NotSuspended => {
                distribution.suspension(tenant).until()
            }
            (Some(parked), _) => parked.since,
            (None, _) if round.saved.distinct_paths() == 0 => round.due,
            (None, _) if round.gathering.messages().is_empty() => round.granted_at,
            (None, _) => round.due.min(round.granted_at),
        }
    }

    /// The messages of all rounds that were not begun, or are parked.
    pub(super) fn gathered(&self) -> Vec<Arc<str>> {
        let rounds = self.rounds.values();
        let parked = rounds.clone().flat_map(|round| &round.parked);
        let suspects = self.distributions.values();
        rounds
            .flat_map(|round| [round.gathering.messages(), round.saved.messages()].concat())
            .chain(parked.flat_map(|parked| parked.paths.messages()))
            .chain(suspects.flat_map(|distribution| distribution.suspects().messages()))
            .collect()
    }

    pub(super) fn next_due(&self, delivering: &BTreeMap<Arc<str>, Tenant>) -> Option<Instant> {
        self.rounds
            .iter()
            .filter(|((name, _), _)| !delivering.contains_key(name))
            .map(|(destination, round)| self.due(destination, round))
            .min()
    }
}
