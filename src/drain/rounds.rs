//! The rounds of messages, until they are due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::deliver::{Parked, Until};
use super::distribution::Distribution;
use super::parts::DrainParts;
use super::room::has_another_kind;
use super::suspects::Tenant;
use crate::buffer::Buffer;
use crate::edge::BATCH_PATHS_MAX;
use crate::edge::budget::GRANT_EVERY;
use crate::edge::cover::request::{Gathering, MessageInfo};

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

impl Round {
    fn is_empty(&self) -> bool {
        self.gathering.messages().is_empty() && self.saved.messages().is_empty()
    }

    /// Whether what has gathered waits for nothing that is parked. Single paths that wait
    /// for room say nothing of wildcards, nor the other way round.
    fn may_go_first(&self) -> bool {
        let parked = self.parked.as_ref();
        parked.is_none_or(|parked| {
            parked.until == Until::Room
                && self.due <= parked.since
                && has_another_kind(&self.gathering, parked.paths.kinds())
        })
    }

    /// When what has gathered is due.
    fn goes_at(&self) -> Instant {
        if self.saved.distinct_paths() == 0 {
            self.due
        } else if self.gathering.messages().is_empty() {
            self.granted_at
        } else {
            self.due.min(self.granted_at)
        }
    }
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

/// The next round of each destination.
pub(super) struct Rounds<'a, B: Buffer, E> {
    parts: &'a DrainParts<B, E>,
    distributions: &'a BTreeMap<Arc<str>, Arc<Distribution>>,
    by_destination: BTreeMap<Destination, Round>,
}

impl<'a, B: Buffer, E> Rounds<'a, B, E> {
    pub(super) fn new(
        parts: &'a DrainParts<B, E>,
        distributions: &'a BTreeMap<Arc<str>, Arc<Distribution>>,
    ) -> Self {
        Self {
            parts,
            distributions,
            by_destination: BTreeMap::new(),
        }
    }

    /// Adds a message to the next round, which is due within the window.
    pub(super) fn add(
        &mut self,
        destination: Destination,
        id: Arc<str>,
        info: MessageInfo,
        paths: Vec<String>,
    ) {
        let due = Instant::now() + self.parts.options.window;
        let round = self.round(destination, due);
        if round.gathering.distinct_paths() == 0 {
            round.due = due;
        }
        round.due = round.due.min(due);
        round.gathering.add(id, info, paths);
    }

    fn round(&mut self, destination: Destination, due: Instant) -> &mut Round {
        self.by_destination
            .entry(destination)
            .or_insert_with(|| Round {
                due,
                gathering: Gathering::default(),
                saved: Gathering::default(),
                granted_at: due,
                parked: None,
            })
    }

    /// Keeps what a spent budget has to grant a path for: all of it goes under that one.
    pub(super) fn save(&mut self, destination: Destination, paths: Gathering) {
        let granted_at = Instant::now() + self.until_granted(&destination, &paths);
        let round = self.round(destination, granted_at);
        if round.saved.distinct_paths() == 0 {
            round.granted_at = granted_at;
        }
        round.granted_at = round.granted_at.min(granted_at);
        round.saved.absorb(paths);
    }

    /// Time until a spent budget grants a path. It counts from the oldest change that waits,
    /// or from the last grant where that is later: a reload or a restart begins nothing
    /// anew, and grants nothing more.
    fn until_granted(&self, (name, tenant): &Destination, paths: &Gathering) -> Duration {
        let age = |at| SystemTime::now().duration_since(at).unwrap_or_default();
        let waited = paths.oldest().map(age).unwrap_or_default();
        let granted = self.parts.budget.since_granted(name, tenant.as_deref());
        let since = granted.map_or(waited, |granted| granted.min(waited));
        let left = GRANT_EVERY.saturating_sub(since);
        left.max(self.parts.options.window)
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
                waiting.waits = [waiting.waits, parked.waits].into_iter().flatten().min();
                waiting.was_asked |= parked.was_asked;
            }
            None => *waiting = Some(parked),
        }
    }

    /// Takes the rounds to deliver now, one for each distribution: the one that has
    /// been due longest. A full drain waits for no window.
    pub(super) fn take_due(
        &mut self,
        delivering: &BTreeMap<Arc<str>, Tenant>,
    ) -> Vec<(Destination, DueWork)> {
        let now = Instant::now();
        let is_enough = |destination: &Destination, round: &Round| {
            self.parts.in_flight.is_full_of(&destination.0)
                || round.gathering.distinct_paths() >= BATCH_PATHS_MAX
        };
        let ready = |destination: &Destination, round: &Round| {
            self.due(destination, round) <= now
                || round.may_go_first() && is_enough(destination, round)
        };
        let mut next: BTreeMap<&Arc<str>, (Instant, Instant, &Destination)> = BTreeMap::new();
        for (destination, round) in &self.by_destination {
            let (name, tenant) = destination;
            if !ready(destination, round) {
                continue;
            }
            if let Some(under_way) = delivering.get(name) {
                if let Some(distribution) = self.distributions.get(name) {
                    distribution.want(under_way != tenant, &round.gathering);
                }
                continue;
            }
            // What is refused is due at one time, and tried by turns.
            let due = self.due(destination, round);
            let since = round
                .parked
                .as_ref()
                .map_or(due, |parked| parked.since.min(due));
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
                let round = self.by_destination.get_mut(&destination)?;
                let goes_first = round.may_go_first();
                let due = match round.parked.take_if(|_| !goes_first) {
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
                if round.is_empty() && round.parked.is_none() {
                    self.by_destination.remove(&destination);
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
            (Some(parked), _) if round.may_go_first() => parked.since.min(round.goes_at()),
            (Some(parked), _) => parked.since,
            (None, _) => round.goes_at(),
        }
    }

    /// The messages of all rounds that were not begun, or are parked.
    pub(super) fn gathered(&self) -> Vec<Arc<str>> {
        let rounds = self.by_destination.values();
        let parked = rounds.clone().flat_map(|round| &round.parked);
        let suspects = self.distributions.values();
        rounds
            .flat_map(|round| [round.gathering.messages(), round.saved.messages()].concat())
            .chain(parked.flat_map(|parked| parked.paths.messages()))
            .chain(suspects.flat_map(|distribution| distribution.suspects().messages()))
            .collect()
    }

    pub(super) fn next_due(&self, delivering: &BTreeMap<Arc<str>, Tenant>) -> Option<Instant> {
        self.by_destination
            .iter()
            .filter(|((name, _), _)| !delivering.contains_key(name))
            .map(|(destination, round)| self.due(destination, round))
            .min()
    }
}
