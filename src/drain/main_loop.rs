//! A drain at work: it receives, delivers, and keeps messages invisible
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ask::Delivery;
use super::dead_letters::{Letter, bury};
use super::deliver::{Parked, Rest, Until};
use super::distribution::Distribution;
use super::extension::Extension;
use super::isolate::{Isolation, Released};
use super::parts::DrainParts;
use super::receive::Receiver;
use super::rounds::{Destination, DueWork};
use super::slot::in_slot;
use super::suspects::Tenant;
use crate::buffer::{Buffer, BufferError, Received};
use crate::edge::{Edge, Scope};
use crate::progress::board::Component;

/// Dead letters on their way.
const LETTERS_MAX: usize = 100;

/// Longest time between two turns of the loop, so that the board shows one that
/// hangs.
const TURN: Duration = Duration::from_secs(1);

/// A trouble of the turn before is over if nobody has met it again after this time.
const MET_AGAIN_WITHIN: Duration = Duration::from_secs(15);

/// The longest that SQS waits for a first message.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);

pub(super) type Receiving<'a, R> = BoxFuture<'a, Result<Vec<Received<R>>, BufferError>>;

/// The work that a drain does at the same time.
pub(super) struct MainLoop<'a, B: Buffer, E> {
    pub(super) parts: &'a DrainParts<B, E>,
    distributions: &'a BTreeMap<Arc<str>, Arc<Distribution>>,
    pub(super) receiver: Receiver<'a, B, E>,
    /// Rounds under way: each returns its destination, and what is left of it.
    pub(super) deliveries: FuturesUnordered<BoxFuture<'a, (Destination, Rest)>>,
    /// Questions under way whether somebody has sent paths already, beside the
    /// rounds: each returns its destination, and what is to be sent.
    pub(super) questions: FuturesUnordered<BoxFuture<'a, (Destination, Option<Parked>)>>,
    /// Searches for refused paths under way: each returns its distribution's name, and
    /// what is to go in rounds again.
    pub(super) isolations: FuturesUnordered<BoxFuture<'a, (Arc<str>, Released)>>,
    pub(super) receiving: Option<Receiving<'a, B::Receipt>>,
    pub(super) extension: Extension<'a, B>,
}

impl<'a, B: Buffer, E: Edge> MainLoop<'a, B, E> {
    pub(super) fn new(
        parts: &'a DrainParts<B, E>,
        distributions: &'a BTreeMap<Arc<str>, Arc<Distribution>>,
    ) -> Self {
        Self {
            parts,
            distributions,
            receiver: Receiver::new(parts, distributions),
            deliveries: FuturesUnordered::new(),
            questions: FuturesUnordered::new(),
            isolations: FuturesUnordered::new(),
            receiving: None,
            extension: Extension::new(&*parts.buffer, &parts.in_flight),
        }
    }

    pub(super) async fn run_until(&mut self, shutdown: &CancellationToken) {
        let parts = self.parts;
        let mut delivering: BTreeMap<Arc<str>, Tenant> = BTreeMap::new();
        let mut receive_at = Instant::now();
        let mut isolating: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut burying: Option<BoxFuture<'_, ()>> = None;
        let mut turn = interval(TURN);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut inherits_until = Some(Instant::now() + MET_AGAIN_WITHIN);
        loop {
            parts.reports.board.started(&Component::Drain);
            self.start_due(&mut delivering);
            self.start_isolations(&mut isolating);
            if burying.is_none() && !self.receiver.letters.is_empty() {
                let letters: Vec<Letter<_>> = std::mem::take(&mut self.receiver.letters);
                let ledger = &parts.reports.ledger;
                burying = Some(Box::pin(bury(&*parts.buffer, ledger, letters)));
            }
            let room = self.receiver.letters.len() < LETTERS_MAX && parts.in_flight.may_receive();
            if self.receiving.is_none() && room {
                self.receiving = Some(Box::pin(async move {
                    sleep_until(receive_at).await;
                    parts.buffer.receive(RECEIVE_WAIT).await
                }));
            }
            let due = self.receiver.rounds.next_due(&delivering);
            // In this order: stopping comes first; what frees messages and
            // what keeps them comes before what adds to them.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some((destination, rest)) = self.deliveries.next(), if !self.deliveries.is_empty() => {
                    delivering.remove(&destination.0);
                    self.ended(destination, rest);
                }
                Some((destination, parked)) = self.questions.next(), if !self.questions.is_empty() => {
                    self.ended(destination, Rest::of(parked));
                }
                Some((name, released)) = self.isolations.next(), if !self.isolations.is_empty() => {
                    isolating.remove(&name);
                    for (tenant, paths) in released {
                        self.receiver.rounds.park((Arc::clone(&name), tenant), Parked::new(paths, Until::Now));
                    }
                }
                () = self.extension.turn() => {}
                () = in_slot(&mut burying) => burying = None,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = turn.tick() => {
                    self.end_covers();
                    if inherits_until.take_if(|until| *until <= Instant::now()).is_some() {
                        self.end_inherited_troubles();
                    }
                }
                result = in_slot(&mut self.receiving) => {
                    self.receiving = None;
                    receive_at = Instant::now() + self.receiver.accept(result);
                }
            }
        }
    }

    /// Ends the troubles of the turn before that nobody has met again.
    fn end_inherited_troubles(&self) {
        let board = &self.parts.reports.board;
        let snapshot = board.snapshot();
        for (name, distribution) in self.distributions {
            let edge = Component::Edge(Arc::clone(name));
            let state = snapshot.parts.get(&edge);
            let is_in_trouble = state.is_some_and(|state| state.trouble_since.is_some());
            if is_in_trouble && distribution.troubles.is_empty() {
                board.recovered(&edge);
            }
        }
    }

    /// Whether anything is under way that can make a request.
    pub(super) fn is_under_way(&self) -> bool {
        !(self.deliveries.is_empty() && self.questions.is_empty() && self.isolations.is_empty())
    }

    /// Begins the rounds that are due, of distributions that have none under
    /// way.
    fn start_due(&mut self, delivering: &mut BTreeMap<Arc<str>, Tenant>) {
        for (destination, due) in self.receiver.rounds.take_due(delivering) {
            let retries = matches!(&due, DueWork::Parked(parked) if parked.was_asked);
            let Some(delivery) = self.delivery(&destination, retries) else {
                continue;
            };
            delivery.distribution.begin_round();
            let (name, tenant) = destination.clone();
            delivering.insert(name, tenant);
            self.deliveries.push(Box::pin(async move {
                let rest = match due {
                    DueWork::Round { paths, is_granted } => delivery.run(paths, is_granted).await,
                    DueWork::Parked(parked) => {
                        Rest::of(delivery.work(parked.paths, false, parked.waits).await)
                    }
                };
                (destination, rest)
            }));
        }
    }

    fn delivery(&self, (name, tenant): &Destination, retries: bool) -> Option<Delivery<'a, B, E>> {
        Some(Delivery {
            parts: self.parts,
            distribution: self.distributions.get(name)?,
            name: Arc::clone(name),
            scope: Scope {
                distribution: Arc::clone(self.parts.options.distributions.get(name)?),
                tenant: tenant.clone(),
            },
            retries,
        })
    }

    /// Sees to what is left of a round.
    fn ended(&mut self, destination: Destination, rest: Rest) {
        if let Some(again) = rest.in_question
            && let Some(delivery) = self.delivery(&destination, false)
        {
            let destination = destination.clone();
            let question = async move { (destination, delivery.question(again).await) };
            self.questions.push(Box::pin(question));
        }
        if let Some(parked) = rest.parked {
            self.receiver.rounds.park(destination, parked);
        }
    }

    /// Takes off the board what went under wildcards some time ago. A search puts back
    /// what else there is.
    fn end_covers(&self) {
        for (name, distribution) in self.distributions {
            if distribution.covers.end() {
                let board = &self.parts.reports.board;
                board.recovered(&Component::Paths(Arc::clone(name)));
            }
        }
    }

    /// Begins to search for refused paths where there are suspects.
    fn start_isolations(&mut self, isolating: &mut BTreeSet<Arc<str>>) {
        let parts = self.parts;
        for (name, distribution) in self.distributions {
            let Some(id) = parts.options.distributions.get(name) else {
                continue;
            };
            if isolating.contains(name) || !distribution.suspects().is_waiting() {
                continue;
            }
            isolating.insert(Arc::clone(name));
            let name = Arc::clone(name);
            let isolation = Isolation::new(parts, distribution, Arc::clone(&name), Arc::clone(id));
            self.isolations.push(Box::pin(async move {
                let released = isolation.run().await;
                (name, released)
            }));
        }
    }
}
