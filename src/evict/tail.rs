//! Follows the source through outages, and plans what it says.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connected::{Connected, Disconnected};
use super::marks::Mark;
use super::plan_item::{RuleInterest, TrackedTable, plan_item};
use super::reconnects::Reconnects;
use super::whereabouts::Whereabouts;
use super::widening_log::{self, WideningLog};
use crate::binlog::SourceError;
use crate::binlog::reader::{Item, TransactionsRead};
use crate::binlog::server::address::Look;
use crate::binlog::server::reach::StatementReach;
use crate::binlog::server::stream_id::StreamId;
use crate::binlog::statement::Dml;
use crate::binlog::stream::{Came, Source};
use crate::model::invalidation::{Plan, Widening};
use crate::model::position::OnGap;
use crate::model::{BufferMark, CacheRuns, CommitTime, RowChange};
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
    /// The processes whose cache has what is before the position done.
    cache_runs: CacheRuns,
    /// The buffer that accepted the paths of what is before the position.
    pub accepted_by: Option<BufferMark>,
    /// The buffer's losses that what is planned from now on makes up for, or
    /// follows.
    pub(super) losses_mended: u64,
    reconnects: Reconnects,
    /// A gap that was met only while the binlog was read.
    gap: Option<SourceError>,
    scratch: RenderBuffers,
    since: Option<CommitTime>,
    reports: Reports,
    widening_log: WideningLog,
    looks: watch::Receiver<Option<Look>>,
}

impl Tail {
    /// Wraps a source that is not connected yet. `server_uuid` names the server
    /// from which its position was read.
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
            cache_runs: CacheRuns::default(),
            accepted_by: None,
            losses_mended: 0,
            reconnects: Reconnects::default(),
            gap: None,
            scratch: RenderBuffers::default(),
            since: None,
            reports: Reports::default(),
            widening_log: WideningLog::default(),
            looks: watch::channel(None).1,
        }
    }

    /// Leaves a server that looks at the source's address do not find any more.
    #[must_use]
    pub fn watching(mut self, looks: watch::Receiver<Option<Look>>) -> Self {
        self.looks = looks;
        self
    }

    pub(super) fn whereabouts(&self) -> Whereabouts {
        Whereabouts::new(self.looks.clone())
    }

    /// Reports a look at the source's address, and ends the connection if it is
    /// to be made anew.
    pub(super) fn judge(&mut self, look: Look, whereabouts: &mut Whereabouts) {
        let read = self.server_uuid();
        let reads = (self.source.address(), &*read);
        let board = &self.reports.board;
        if let Some(error) = whereabouts.judge(look, reads, self.source.left_out(), board) {
            self.disconnected(error);
        }
    }

    /// Begins with a gap: changes before the server's present end are not known.
    #[must_use]
    pub fn after_loss(mut self, reason: &str) -> Self {
        self.gap = Some(SourceError::Gap {
            position: self.source.position().to_string(),
            reason: reason.to_owned(),
        });
        self
    }

    /// Plans nothing that was committed before `since`, if there is one.
    #[must_use]
    pub fn since(mut self, since: Option<CommitTime>) -> Self {
        self.since = since;
        self
    }

    /// Whether the transaction being read was committed before `since`.
    fn too_early(&self) -> bool {
        self.since.is_some() && self.source.committed_at() < self.since
    }

    /// What is before the position is done in the cache of these processes.
    pub fn done_in(&mut self, cache_runs: CacheRuns) {
        self.cache_runs = cache_runs;
    }

    /// Whether the next connection begins with a gap, before which no position is
    /// stored.
    pub(super) fn begins_with_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// The last whole transaction's end.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            position: self.source.position().clone(),
            server_uuid: self.server_uuid(),
            committed_at: self.source.committed_at(),
            file_begun_s: self.source.file_begun_s(),
            columns_of: self.source.columns_of().cloned(),
            cache_runs: CacheRuns::clone(&self.cache_runs),
            losses_mended: self.losses_mended,
            buffer: None,
        }
    }

    /// Goes back to an earlier position: call [`Tail::connect`].
    pub(super) fn read_again(&mut self, from: Mark) {
        self.connected = false;
        self.server_uuid = Some(from.server_uuid);
        self.source.read_again(from.position, from.file_begun_s);
        if let Some(place) = from.columns_of {
            self.source.read_with_columns_of(place);
        }
    }

    /// Reports its state to `reports`.
    #[must_use]
    pub fn reporting(mut self, reports: Reports) -> Self {
        self.reports = reports;
        self.reports.rules = Arc::clone(&self.rules);
        self
    }

    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    pub fn source(&self) -> &Source<RuleInterest> {
        &self.source
    }

    /// [`Source::take_transactions`].
    pub fn take_transactions(&mut self) -> (TransactionsRead, StreamId) {
        self.source.take_transactions()
    }

    /// UUID of the server that is read; empty if none was reached yet.
    pub fn server_uuid(&self) -> Arc<str> {
        self.server_uuid.clone().unwrap_or_else(|| "".into())
    }

    /// Whether [`Tail::next`] can be called.
    pub fn connected(&self) -> bool {
        self.connected
    }

    /// Tries to connect at the last whole transaction until it succeeds, a gap
    /// is met, or `shutdown` comes. A gap is handled as `source.on_gap` says.
    ///
    /// # Errors
    ///
    /// A gap where `source.on_gap` is `halt`.
    pub async fn connect<P: Plan>(
        &mut self,
        shutdown: &CancellationToken,
        plan: &mut P,
    ) -> Result<Connected, SourceError> {
        let board = Arc::clone(&self.reports.board);
        board.disconnected();
        let mut last_kind = "";
        self.reconnects.pause_if_hasty(shutdown).await;
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
                    let facts = self.source.facts();
                    let found = facts.map(|facts| Arc::from(&*facts.server_uuid));
                    let before = std::mem::replace(&mut self.server_uuid, found);
                    self.connected = true;
                    self.reconnects.connected();
                    board.connected();
                    match self.source.left_out() {
                        Some(reason) => board.failed(&Component::Source, reason.to_owned()),
                        None => board.recovered(&Component::Source),
                    }
                    board.idle(&Component::Source);
                    tracing::info!(position = %self.source.position(), attempts = self.reconnects.attempts(), "reading the binlog");
                    return Ok(self.compare_servers(before.as_deref(), plan));
                }
                Err(error @ SourceError::Gap { .. }) => match self.skip_gap(error, plan).await? {
                    Ok(skipped) => return Ok(skipped),
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
            self.reconnects.pause(shutdown).await;
        }
    }

    /// Invalidates everything where another server is read than `before`: with
    /// asynchronous replication it lacks what the one before had not passed on,
    /// whoever had read and cached it by then.
    fn compare_servers<P: Plan>(&self, before: Option<&str>, plan: &mut P) -> Connected {
        let now = self.server_uuid();
        match before {
            Some(before) if !before.is_empty() && *before != *now => {
                tracing::warn!(
                    %before, %now,
                    "another server is read than before, which may lack what that one had committed last: invalidating everything that any rule covers"
                );
                self.rules.widen_all(Widening::ServerChanged, plan);
                Connected::Elsewhere
            }
            _ => Connected::Resumed,
        }
    }

    /// Goes on at the server's present end after changes were lost, and invalidates
    /// everything (Over, never under). The position is taken first, so that changes
    /// made meanwhile are still read. Until it is there, the gap stays one.
    async fn skip_gap<P: Plan>(
        &mut self,
        gap: SourceError,
        plan: &mut P,
    ) -> Result<Result<Connected, SourceError>, SourceError> {
        if self.on_gap == OnGap::Halt {
            return Err(gap);
        }
        let (uuid, to) = match self.source.skip_to_current().await {
            Ok(skipped) => skipped,
            Err(error) => {
                self.gap = Some(gap);
                return Ok(Err(error));
            }
        };
        // From now on the position is one of this server's.
        self.server_uuid = Some(uuid.as_str().into());
        tracing::error!(%gap, %to, "changes are lost: invalidating everything that any rule covers");
        metrics::counter!(metric::GAPS).increment(1);
        self.rules.widen_all(Widening::Gap, plan);
        let reason = match gap {
            SourceError::Gap { reason, .. } => reason,
            other => other.to_string(),
        };
        Ok(Ok(Connected::Skipped { reason, to }))
    }

    /// Waits for what the binlog says next. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Came<TrackedTable>, Disconnected> {
        match self.source.next().await {
            Ok(next) => Ok(next),
            Err(error) => Err(self.disconnected(error)),
        }
    }

    /// Plans what `next` asks for; `watch` sees every row before its plan. Must
    /// not be cancelled: what it has taken would be lost.
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
        // One that is ended to look is no failed attempt.
        if !matches!(error, SourceError::Stalled { .. }) {
            self.reconnects.broke();
        }
        metrics::counter!(metric::SOURCE_RECONNECTS, "error" => error.kind()).increment(1);
        tracing::warn!(%error, position = %self.source.position(), "the binlog stream broke");
        self.reports.board.disconnected();
        self.reports
            .board
            .failed(&Component::Source, error.to_string());
        match error {
            SourceError::Gap { .. } => self.gap = Some(error),
            SourceError::Replaced { server_id, .. } => self.reconnects.replaced(server_id),
            _ => {}
        }
        Disconnected
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
