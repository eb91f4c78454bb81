//! A drain: made of its parts, and run until it is told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::budget_metrics;
use super::dead_letters::BuriedMessages;
use super::distribution::Distribution;
use super::in_flight::InFlight;
use super::main_loop::MainLoop;
use super::options::DrainOptions;
use super::parts::DrainParts;
use super::poller::Poller;
use super::shutdown::{self, Stopped};
use crate::buffer::Buffer;
use crate::edge::Edge;
use crate::edge::budget::Budget;
use crate::edge::invalidation_log::History;
use crate::edge::rate_limit::RateLimit;
use crate::progress::board::Reports;

/// Moves messages from a buffer to an edge.
///
/// It receives all the time, gathers each distribution's messages for a window,
/// and delivers a distribution's rounds one after the other while the next one
/// gathers: an idle drain acts after the window, a busy one sends larger
/// batches. A tenant has rounds of its own, within the quota and the budget of
/// its distribution. Distributions do not wait for each other: one that is stuck
/// leaves room for the messages of others. Messages with a path that is refused are
/// set apart, and hold up no round.
///
/// Any number of drains may share a buffer.
#[derive(Debug)]
pub struct Drain<B: Buffer, E> {
    parts: DrainParts<B, E>,
}

impl<B: Buffer, E: Edge> Drain<B, E> {
    /// A drain from `buffer` to `edge` that counts its paths in `budget`.
    pub fn new(buffer: Arc<B>, edge: Arc<E>, budget: Arc<Budget>, options: DrainOptions) -> Self {
        let distributions = options.distributions.len();
        Self {
            parts: DrainParts {
                rate_limit: Arc::new(RateLimit::new(options.calls_per_second)),
                options,
                buffer,
                edge,
                budget,
                invalidation_log: History::off(),
                reports: Reports::default(),
                in_flight: InFlight::of(distributions),
                buried: BuriedMessages::default(),
                stopping: CancellationToken::new(),
            },
        }
    }

    /// Writes the invalidations it makes to `invalidation_log`, and reads there
    /// which ones other drains of this machine have made.
    #[must_use]
    pub fn recording(mut self, invalidation_log: History) -> Self {
        self.parts.invalidation_log = invalidation_log;
        self
    }

    /// Says in `reports` how it goes.
    #[must_use]
    pub fn reporting(mut self, reports: Reports) -> Self {
        self.parts.reports = reports;
        self
    }

    /// Works until `shutdown` is cancelled. Requests without an answer are then
    /// finished within the grace period; everything else is given back at once.
    ///
    /// Outages of the buffer or the edge never end it: they are retried,
    /// logged and counted. Dropping the future loses nothing either.
    pub async fn run(self, shutdown: CancellationToken) -> Stopped {
        let mut parts = self.parts;
        parts.stopping = shutdown.clone();
        let names = parts.options.distributions.keys();
        info!(distributions = names.len(), "sending buffered paths");
        parts.reports.board.counts_in(&parts.budget);
        // Aborted when it is dropped.
        let mut background = JoinSet::new();
        let budget = Arc::clone(&parts.budget);
        background.spawn(budget_metrics::publish_all(
            budget,
            names.cloned().collect(),
        ));
        let mut distributions: BTreeMap<Arc<str>, Arc<Distribution>> = BTreeMap::new();
        for (name, id) in &parts.options.distributions {
            let reader = parts.invalidation_log.reader(id);
            let distribution = Arc::new(Distribution::new(reader));
            let poller = Poller {
                edge: Arc::clone(&parts.edge),
                rate_limit: Arc::clone(&parts.rate_limit),
                budget: Arc::clone(&parts.budget),
                distribution: Arc::clone(&distribution),
                name: Arc::clone(name),
                id: Arc::clone(id),
                overdue_after: parts.options.overdue_after,
            };
            background.spawn(poller.run());
            distributions.insert(Arc::clone(name), distribution);
        }
        let mut main_loop = MainLoop::new(&parts, &distributions);
        main_loop.run_until(&shutdown).await;
        let stopped = shutdown::stop(main_loop).await;
        info!(
            given_back = stopped.given_back,
            left = stopped.left,
            "the drain stopped; messages it left come back after their visibility timeout"
        );
        stopped
    }
}
