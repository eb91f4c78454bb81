//! Follows the source through outages, and hands on what it says.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan_item::{RuleInterest, TrackedTable, plan_item};
use super::widening_log::{self, WideningLog};
use crate::binlog::SourceError;
use crate::binlog::reader::Item;
use crate::binlog::server::reach::StatementReach;
use crate::binlog::statement::Dml;
use crate::binlog::stream::{Came, Source};
use crate::model::RowChange;
use crate::model::invalidation::{Plan, Widening};
use crate::model::position::OnGap;
use crate::progress::backoff::Backoff;
use crate::progress::board::{Component, Reports};
use crate::rules::{RenderBuffers, Rules};
use crate::telemetry::metric;

/// The source with its reconnects.
pub struct Tail {
    source: Source<RuleInterest>,
    rules: Arc<Rules>,
    on_gap: OnGap,
    connected: bool,
    server_uuid: Option<Arc<str>>,
    backoff: Backoff,
    connected_at: Instant,
    /// When another replica of the same id was let in instead, last.
    replaced_at: Option<Instant>,
    /// The last connection broke so soon that the next one has to wait.
    hasty: bool,
    /// A gap that showed only once the binlog was read.
    gap: Option<SourceError>,
    scratch: RenderBuffers,
    since_us: u64,
    reports: Reports,
    widening_log: WideningLog,
}

/// How [`Tail::connect`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connected {
    /// The binlog goes on where it was left, or the shutdown came.
    Resumed,
    /// Changes are lost. Everything is planned to be invalidated, and the
    /// position is where reading goes on: connect again.
    Skipped {
        /// Why they are lost.
        reason: String,
    },
}

/// A connection that lasted this long is no failed attempt. Two readers with
/// one server_id, say, both connect and are thrown out at once, for ever.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Thrown out twice within this time, it was no hand-over.
const CLASH_WITHIN: Duration = Duration::from_secs(60);

/// The connection was lost; [`Tail::connect`] again.
#[derive(Debug)]
pub struct Disconnected;

impl Tail {
    /// Wraps a source that is not connected yet. `server_uuid` is the server
    /// that its position was read from.
    pub fn new(
        source: Source<RuleInterest>,
        rules: Arc<Rules>,
        on_gap: OnGap,
        server_uuid: Option<Arc<str>>,
    ) -> Self {
        Self {
            source,
            rules,
            on_gap,
            connected: false,
            server_uuid,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(15)),
            connected_at: Instant::now(),
            replaced_at: None,
            hasty: false,
            gap: None,
            scratch: RenderBuffers::default(),
            since_us: 0,
            reports: Reports::default(),
            widening_log: WideningLog::default(),
        }
    }

    /// Begins with a gap: what changed before the server's end is not known.
    #[must_use]
    pub fn after_loss(mut self, reason: &str) -> Self {
        self.gap = Some(SourceError::Gap {
            position: self.source.position().to_string(),
            reason: reason.to_owned(),
        });
        self
    }

    /// Plans nothing that was committed before `since_us`, microseconds since
    /// the epoch.
    #[must_use]
    pub fn since(mut self, since_us: u64) -> Self {
        self.since_us = since_us;
        self
    }

    fn too_early(&self) -> bool {
        self.source.committed_at_us() < self.since_us
    }

    /// Says there how it goes.
    #[must_use]
    pub fn reporting(mut self, reports: Reports) -> Self {
        self.reports = reports;
        self.reports.rules.set(Arc::clone(&self.rules));
        self
    }

    /// Where it says how it goes.
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The source.
    pub fn source(&self) -> &Source<RuleInterest> {
        &self.source
    }

    /// The server being read from.
    pub fn server_uuid(&self) -> Arc<str> {
        self.server_uuid.clone().unwrap_or_else(|| "".into())
    }

    /// Whether [`Tail::next`] can be asked.
    pub fn connected(&self) -> bool {
        self.connected
    }

    /// Tries to connect at the last whole transaction until it works, a gap is
    /// met, or `shutdown` comes. A gap is planned as the configuration says.
    ///
    /// # Errors
    ///
    /// Only a gap that is to halt.
    pub async fn connect<P: Plan>(
        &mut self,
        shutdown: &CancellationToken,
        plan: &mut P,
    ) -> Result<Connected, SourceError> {
        let board = Arc::clone(&self.reports.board);
        board.disconnected();
        let mut last_kind = "";
        if std::mem::take(&mut self.hasty) {
            self.pause(shutdown).await;
        }
        loop {
            board.started(&Component::Source);
            let attempt = async {
                match self.gap.take() {
                    Some(gap) => Err(gap),
                    None => self.source.reconnect(self.server_uuid.as_deref()).await,
                }
            };
            let attempt = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    board.idle(&Component::Source);
                    return Ok(Connected::Resumed);
                }
                attempt = attempt => attempt,
            };
            let error = match attempt {
                Ok(()) => {
                    self.server_uuid = self
                        .source
                        .facts()
                        .map(|facts| facts.server_uuid.as_str().into());
                    self.connected = true;
                    self.connected_at = Instant::now();
                    board.connected();
                    board.recovered(&Component::Source);
                    board.idle(&Component::Source);
                    tracing::info!(position = %self.source.position(), attempts = self.backoff.attempts(), "reading the binlog");
                    return Ok(Connected::Resumed);
                }
                Err(error @ SourceError::Gap { .. }) => match self.skip_gap(error, plan).await? {
                    Ok(reason) => return Ok(Connected::Skipped { reason }),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            metrics::counter!(metric::SOURCE_RECONNECTS, "error" => error.kind()).increment(1);
            board.failed(&Component::Source, error.to_string());
            if last_kind != error.kind() {
                last_kind = error.kind();
                tracing::warn!(%error, "the source cannot be read; trying again until it can");
            }
            self.pause(shutdown).await;
        }
    }

    async fn pause(&mut self, shutdown: &CancellationToken) {
        let delay = tokio::time::sleep(self.backoff.next_delay());
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = delay => {}
        }
    }

    /// What came after the position is lost: goes on at the server's current
    /// end and invalidates everything (Over, never under). The position is
    /// taken first, so that changes made meanwhile are still read.
    async fn skip_gap<P: Plan>(
        &mut self,
        gap: SourceError,
        plan: &mut P,
    ) -> Result<Result<String, SourceError>, SourceError> {
        if self.on_gap == OnGap::Halt {
            return Err(gap);
        }
        match self.source.skip_to_current().await {
            // The position is one of this server from now on.
            Ok(uuid) => self.server_uuid = Some(uuid.as_str().into()),
            Err(error) => return Ok(Err(error)),
        }
        let to = self.source.position();
        tracing::error!(%gap, %to, "changes are lost: invalidating everything that any rule covers");
        metrics::counter!(metric::GAPS).increment(1);
        self.rules.widen_all(Widening::Gap, plan);
        let reason = match gap {
            SourceError::Gap { reason, .. } => reason,
            other => other.to_string(),
        };
        Ok(Ok(reason))
    }

    /// What the binlog says next. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Came<TrackedTable>, Disconnected> {
        let next = self.source.next().await;
        next.map_err(|error| self.disconnected(error))
    }

    /// Plans what `next` calls for. Must not be cancelled.
    pub async fn plan<P: Plan>(
        &mut self,
        next: Came<TrackedTable>,
        plan: &mut P,
        watch: impl FnMut(&RowChange<'_>, &mut P),
    ) -> Result<(), Disconnected> {
        match next {
            Came::End | Came::Quiet => {}
            Came::Item(Item::Statement(dml)) => return self.plan_statement(&dml, plan).await,
            Came::Item(item) => self.plan_item(item, plan, watch),
            Came::LookUp(needed) => match self.source.look_up(needed).await {
                Ok(Some(item)) => self.plan_item(item, plan, watch),
                Ok(None) => {}
                Err(error) => return Err(self.disconnected(error)),
            },
            Came::Idle(idle) => match self.source.compare(idle).await {
                Ok(Some(item)) => self.plan_item(item, plan, watch),
                Ok(None) => {}
                Err(error) => return Err(self.disconnected(error)),
            },
        }
        Ok(())
    }

    /// Invalidates the tables that a statement names, or all of them where it
    /// can have changed others too.
    async fn plan_statement<P: Plan>(
        &mut self,
        dml: &Dml,
        plan: &mut P,
    ) -> Result<(), Disconnected> {
        if self.too_early() {
            return Ok(());
        }
        match self.source.reach(dml).await {
            Ok(StatementReach::Named) => {
                for table in dml.targets.iter().filter(|table| self.rules.wants(table)) {
                    widening_log::table_changed(table, &self.source);
                    self.rules.widen_table(table, Widening::Statement, plan);
                }
            }
            Ok(StatementReach::Any(reason)) => {
                widening_log::any_changed(dml, reason, &self.source);
                self.rules.widen_all(Widening::Statement, plan);
            }
            Err(error) => {
                widening_log::any_changed(dml, "the catalog cannot be read", &self.source);
                self.rules.widen_all(Widening::Statement, plan);
                return Err(self.disconnected(error));
            }
        }
        Ok(())
    }

    fn disconnected(&mut self, error: SourceError) -> Disconnected {
        self.connected = false;
        self.hasty = self.connected_at.elapsed() < STEADY_AFTER;
        if !self.hasty {
            self.backoff.reset();
        }
        metrics::counter!(metric::SOURCE_RECONNECTS, "error" => error.kind()).increment(1);
        tracing::warn!(%error, position = %self.source.position(), "the binlog stream broke");
        self.reports.board.disconnected();
        self.reports
            .board
            .failed(&Component::Source, error.to_string());
        match error {
            SourceError::Gap { .. } => self.gap = Some(error),
            SourceError::Replaced { server_id, .. } => self.replaced(server_id),
            _ => {}
        }
        Disconnected
    }

    /// Once may be the last of an evictd that is being replaced itself; twice
    /// is another replica that comes back as this one does.
    fn replaced(&mut self, server_id: u32) {
        let before = self.replaced_at.replace(Instant::now());
        if before.is_some_and(|before| before.elapsed() < CLASH_WITHIN) {
            metrics::counter!(metric::SERVER_ID_CLASHES).increment(1);
            tracing::error!(
                server_id,
                "another replica connects with the same server_id, and the two throw each other out: \
                 give one of them another source.server_id (SHOW REPLICAS on the server lists who has which)"
            );
        }
    }

    fn plan_item<P: Plan>(
        &mut self,
        item: Item<TrackedTable>,
        plan: &mut P,
        watch: impl FnMut(&RowChange<'_>, &mut P),
    ) {
        if self.too_early() {
            return;
        }
        if let Some(widened) = plan_item(&self.rules, item, &mut self.scratch, plan, watch) {
            let ledger = &self.reports.ledger;
            self.widening_log
                .report(widened, &self.source, &self.rules, ledger);
        }
    }
}
