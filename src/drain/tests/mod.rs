//! A drain between a buffer and an edge that keep their contracts and misbehave
//! within them.
//!
//! - `fake_buffer`: the buffer.
//! - `fake_edge`: the edge, and its refusals.
//! - `rounds`: what gathers becomes invalidations, and its messages go.
//! - `refusals`: what the edge refuses is halved, renamed, or given up.
//! - `covering`: good paths that wait until it is known which paths are bad.
//! - `held`: what is refused for a reason that is not about a path, or that nobody knows.
//! - `refusing`: an edge that refuses everything for a while.
//! - `room`: an edge that has no room for more.
//! - `outages`: a buffer and an edge that do not work for a while.
//! - `dead_letters`: messages that nothing can be done with.
//! - `successors`: a drain that comes after one that was killed.
//! - `shutdown`: a drain that is told to stop.

mod covering;
mod dead_letters;
mod fake_buffer;
mod fake_edge;
mod held;
mod outages;
mod refusals;
mod refusing;
mod room;
mod rounds;
mod shutdown;
mod successors;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::fake_buffer::FakeBuffer;
use self::fake_edge::FakeEdge;
use super::{Drain, DrainOptions, Stopped};
use crate::edge::budget::{Budget, Limits};
use crate::edge::invalidation_log::History;
use crate::ledger::Ledger;
use crate::progress::board::Reports;

const WINDOW: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(10);
const NOTHING_LEFT: Stopped = Stopped {
    given_back: 0,
    left: 0,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A drain under way, in paused time.
struct Bench {
    buffer: Arc<FakeBuffer>,
    edge: Arc<FakeEdge>,
    shutdown: CancellationToken,
    drain: tokio::task::JoinHandle<Stopped>,
}

impl Bench {
    fn start(edge: FakeEdge) -> Self {
        Self::resume(Arc::default(), Arc::new(edge))
    }

    fn recording(edge: FakeEdge, ledger: Ledger) -> Self {
        let reports = Reports {
            ledger,
            ..Reports::default()
        };
        Self::reporting(Arc::default(), Arc::new(edge), reports)
    }

    fn resume(buffer: Arc<FakeBuffer>, edge: Arc<FakeEdge>) -> Self {
        Self::reporting(buffer, edge, Reports::default())
    }

    fn reporting(buffer: Arc<FakeBuffer>, edge: Arc<FakeEdge>, reports: Reports) -> Self {
        Self::with(buffer, edge, reports, History::off())
    }

    fn with(
        buffer: Arc<FakeBuffer>,
        edge: Arc<FakeEdge>,
        reports: Reports,
        invalidation_log: History,
    ) -> Self {
        Self::of((buffer, edge), reports, invalidation_log, |_| ())
    }

    fn of(
        parts: (Arc<FakeBuffer>, Arc<FakeEdge>),
        reports: Reports,
        invalidation_log: History,
        change: impl FnOnce(&mut DrainOptions),
    ) -> Self {
        Self::within(BTreeMap::new(), parts, reports, invalidation_log, change)
    }

    fn within(
        limits: Limits,
        parts: (Arc<FakeBuffer>, Arc<FakeEdge>),
        reports: Reports,
        invalidation_log: History,
        change: impl FnOnce(&mut DrainOptions),
    ) -> Self {
        let budget = Arc::new(Budget::in_memory(limits));
        Self::counting(budget, parts, reports, invalidation_log, change)
    }

    fn counting(
        budget: Arc<Budget>,
        (buffer, edge): (Arc<FakeBuffer>, Arc<FakeEdge>),
        reports: Reports,
        invalidation_log: History,
        change: impl FnOnce(&mut DrainOptions),
    ) -> Self {
        let shutdown = CancellationToken::new();
        let mut options = DrainOptions {
            source: "shop".into(),
            last_sent: None,
            window: WINDOW,
            grace: GRACE,
            distributions: [("main", "E1"), ("images", "E2")]
                .map(|(name, id)| (name.into(), id.into()))
                .into(),
            calls_per_second: 100.0,
            max_receives: 5,
            overdue_after: Duration::from_secs(900),
            budget_exempt: Default::default(),
        };
        change(&mut options);
        let drain = Drain::new(Arc::clone(&buffer), Arc::clone(&edge), budget, options)
            .recording(invalidation_log)
            .reporting(reports);
        let drain = tokio::spawn(drain.run(shutdown.clone()));
        Self {
            buffer,
            edge,
            shutdown,
            drain,
        }
    }

    async fn stop(self) -> Stopped {
        self.shutdown.cancel();
        self.drain.await.unwrap()
    }

    /// Others are accepted for so long, one every five seconds.
    async fn among_others(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.buffer.push("main", &["/others"]);
            pass(seconds(5).min(until - Instant::now())).await;
        }
    }

    /// All paths of all invalidations but for these others, sorted.
    fn paths(&self) -> Vec<String> {
        let mut paths = self.edge.paths();
        paths.retain(|path| path != "/others");
        paths
    }

    /// Waits until the buffer is empty, for an hour at most.
    async fn emptied(&self) {
        let deadline = Instant::now() + seconds(3_600);
        while self.buffer.remaining() > 0 {
            assert!(
                Instant::now() < deadline,
                "{} remain",
                self.buffer.remaining()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}
