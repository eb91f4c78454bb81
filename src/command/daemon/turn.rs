//! The parts of a turn: checked, then opened, then run.
//!
//! Checking asks servers and touches nothing, so that a reload can check while
//! the turn before it works. Opening begins an epoch of the checkpoint and
//! opens files, which one turn at a time can do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::buffer_file;
use super::draining::{check_queue, open_drain};
use super::inheritance;
use super::source::{Mode, open_tail};
use crate::binlog::connection::connector::Connector;
use crate::binlog::server::Server;
use crate::binlog::server::address::SourceAddress;
use crate::binlog::server::barrier::Barrier;
use crate::binlog::server::end::BinlogEnd;
use crate::buffer::{Buffer, Local, Sender, Sqs};
use crate::cache::Redis;
use crate::cli::Role;
use crate::command::misfits::Misfits;
use crate::command::parts::{path_sink, settling};
use crate::command::shutdown::{GRACE, unless};
use crate::command::{CommandError, aws_config, check, lasting, preflight, store};
use crate::config::{BufferConfig, Config, RedisLayout};
use crate::edge::CloudFront;
use crate::evict::path_sink::{PathSink, ToLog};
use crate::evict::pipeline::{self, Eviction, PipelineError};
use crate::evict::plan_item::RuleInterest;
use crate::progress::binlog_lag;
use crate::progress::board::Reports;

/// Time that a reload waits for what is in flight beyond what it takes to settle.
const RELOAD_MARGIN: Duration = Duration::from_secs(2);

/// The time for which a turn lasts.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// Cancelled when the process is to end.
    pub(super) process: CancellationToken,
    /// Cancelled before `shutdown` when a reload ends the turn.
    pub(super) reload: CancellationToken,
    /// Cancelled when the work is to end in order.
    pub(super) shutdown: CancellationToken,
    /// Cancelled when another process leads: what is in flight is dropped.
    pub(super) lost: CancellationToken,
    /// When the lock was granted, ms since the epoch by the source's clock. No
    /// epoch of a checkpoint is earlier than that, whatever a store remembers.
    pub(super) granted_at_ms: u64,
    /// Whether another process may have led until then.
    pub(super) stood_by: bool,
    /// Whether a later epoch ended this process's last turn.
    pub(super) superseded: bool,
}

impl Term {
    /// Returns when what is in flight has had its time since the work was to end:
    /// the grace period at the end of the process, and at a reload what it takes
    /// to settle, since nothing is read meanwhile.
    async fn overdue(&self, settles_within: Duration) {
        self.shutdown.cancelled().await;
        if !self.reload.is_cancelled() {
            return sleep(GRACE).await;
        }
        let process_ends = async {
            self.process.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            () = process_ends => {}
            () = sleep(settles_within + RELOAD_MARGIN) => {}
        }
    }
}

/// A configuration that fits the servers that it names, which were asked.
pub(super) struct Checked {
    pub(super) config: Config,
    /// Why rules do not fit the tables that they are about.
    pub(super) misfits: Vec<String>,
    queue: Option<Sqs>,
    /// The edge, if this process sends paths.
    edge: Option<CloudFront>,
    /// The source and the cache, if this process reads the binlog.
    reading: Option<Reading>,
}

struct Reading {
    connector: Connector,
    server: Server,
    cache: Redis,
}

/// A turn whose parts are open.
pub(super) struct Opened {
    /// The position that reading begins at, if this process reads.
    pub(super) position: Option<String>,
    /// The work, which lasts until the term ends.
    pub(super) work: BoxFuture<'static, Result<(), CommandError>>,
}

/// Checks that the configuration has what the role needs.
pub(super) fn check_role(config: &Config, role: Role, dry_run: bool) -> Result<(), CommandError> {
    let refused = |message: &str| Err(CommandError::configuration(message.to_owned()));
    if role == Role::Drain && (dry_run || config.cloudfront.is_none()) {
        return refused(
            "--role drain sends buffered paths to CloudFront: it needs [buffer] and [cloudfront], and has no dry run",
        );
    }
    let local = matches!(config.buffer, Some(BufferConfig::Local { .. }));
    if local && role != Role::All && !dry_run {
        return refused(
            "--role splits the work between processes, and a buffer of kind = \"local\" belongs to one process: use kind = \"sqs\", or --role all",
        );
    }
    Ok(())
}

impl Checked {
    /// Asks every server that `config` names for what `role` needs. The rules
    /// come back fitted to the tables.
    ///
    /// # Errors
    ///
    /// A server does not answer, or does not fit; or a rule does not, unless
    /// `misfits` lets it.
    pub(super) async fn new(
        mut config: Config,
        config_path: &Path,
        role: Role,
        misfits: Misfits,
    ) -> Result<Self, CommandError> {
        check_role(&config, role, false)?;
        misfits.pass_over_buffer(lasting::problem(&config))?;
        let mut queue = None;
        let mut edge = None;
        if let (Some(buffer), Some(cloudfront)) = (&config.buffer, &config.cloudfront) {
            let aws = aws_config().await;
            if let BufferConfig::Sqs { queue_url } = buffer {
                queue = Some(Sqs::new(&aws, queue_url.as_str()));
            }
            if role != Role::Tail {
                edge = Some(CloudFront::new(&aws));
            }
            let checked = async {
                if let Some(queue) = &queue {
                    check_queue(queue, config.max_receives).await?;
                }
                if let Some(edge) = &edge {
                    for distribution in &cloudfront.distributions {
                        edge.check(&distribution.id.as_str().into()).await?;
                    }
                }
                Ok(())
            };
            Box::pin(misfits.pass_over_paths(checked)).await?;
        }
        let mut reading = None;
        let mut unfit = Vec::new();
        if role != Role::Drain {
            let mut cache = Redis::new(&preflight::redis_target(&config.redis)?)?
                .sparing(config.rules.guard_patterns().into());
            let checked = async {
                cache.check().await?;
                check::log_permissions(&mut cache, &config).await
            };
            let checked = checked.await;
            if matches!(config.redis.layout, RedisLayout::Cluster) {
                misfits.pass_over_shards(checked)?;
            } else {
                checked?;
            }
            let connector = preflight::connector(&config.source)?;
            let server;
            (server, unfit) =
                preflight::server_despite(misfits, &connector, &mut config, config_path).await?;
            reading = Some(Reading {
                connector,
                server,
                cache,
            });
        }
        Ok(Self {
            config,
            misfits: unfit,
            queue,
            edge,
            reading,
        })
    }

    /// Refuses a stored position that is another source's.
    ///
    /// # Errors
    ///
    /// It is, or cannot be read.
    pub(super) async fn refuse_another_source(&mut self) -> Result<(), CommandError> {
        match &mut self.reading {
            Some(reading) => {
                inheritance::refuse_another_source(&self.config, &mut reading.server).await
            }
            None => Ok(()),
        }
    }

    /// Opens the parts. What is sent is the `sender`'s.
    ///
    /// # Errors
    ///
    /// A file or the stored position cannot be used, or the source does not
    /// answer.
    pub(super) async fn open(
        mut self,
        term: &Term,
        reports: &Reports,
        sender: Sender,
    ) -> Result<Opened, CommandError> {
        match (self.queue.take(), self.config.buffer.clone()) {
            (Some(queue), _) => Box::pin(self.open_with(queue, term, reports, sender)).await,
            (None, Some(BufferConfig::Local { path })) if self.config.cloudfront.is_some() => {
                let stored = store::buffer_mark(&self.config).await?;
                let local = Local::open_expecting(path, stored).await?;
                let watched = (local.clone(), Arc::clone(&reports.board));
                let opened = Box::pin(self.open_with(local, term, reports, sender)).await?;
                let work = buffer_file::watching(opened.work, watched).boxed();
                Ok(Opened { work, ..opened })
            }
            (None, _) => {
                let (position, work) = Box::pin(self.open_tail(ToLog, term, reports)).await?;
                Ok(Opened { position, work })
            }
        }
    }

    async fn open_with<B: Buffer>(
        mut self,
        buffer: B,
        term: &Term,
        reports: &Reports,
        sender: Sender,
    ) -> Result<Opened, CommandError> {
        let buffer = Arc::new(buffer);
        let sink = path_sink(&self.config, Arc::clone(&buffer), sender);
        let drain = match (self.edge.take(), self.config.cloudfront.clone()) {
            (Some(edge), Some(cloudfront)) => {
                let last_sent = self.reading.is_some().then(|| sink.last());
                Some(open_drain(&self.config, cloudfront, buffer, edge, last_sent).await?)
            }
            _ => None,
        };
        let settles_within = self.config.redis.settle_after.longest();
        let (position, tail) = Box::pin(self.open_tail(sink, term, reports)).await?;
        let Some(drain) = drain else {
            return Ok(Opened {
                position,
                work: tail,
            });
        };
        let drain = drain.reporting(reports.clone());
        let shutdown = term.shutdown.clone();
        let drains_alone = position.is_none();
        let term = term.clone();
        let work = async move {
            if drains_alone {
                drain.run(shutdown).await;
                return Ok(());
            }
            let mut draining = tokio::spawn(drain.run(shutdown.clone()));
            let outcome = tail.await;
            // The failure of either half ends both.
            shutdown.cancel();
            let ended = tokio::select! {
                ended = &mut draining => ended,
                () = term.overdue(settles_within) => {
                    // As after a crash: its messages come back to the next drain.
                    draining.abort();
                    draining.await
                }
            };
            match ended {
                Err(error) if error.is_panic() => Err(CommandError::failed(error)),
                _ => outcome,
            }
        };
        Ok(Opened {
            position,
            work: work.boxed(),
        })
    }

    /// Opens the half that reads, if this process has it.
    async fn open_tail(
        self,
        sink: impl PathSink,
        term: &Term,
        reports: &Reports,
    ) -> Result<(Option<String>, BoxFuture<'static, Result<(), CommandError>>), CommandError> {
        let Some(Reading {
            connector,
            server,
            cache,
        }) = self.reading
        else {
            return Ok((None, async { Ok(()) }.boxed()));
        };
        let config = self.config;
        let settling = settling(&config)?;
        let settles_within = config.redis.settle_after.longest();
        let barrier = Barrier::new(preflight::connector(&config.source)?);
        let watched = match config.metrics_listen {
            Some(_) => Some(BinlogEnd::new(preflight::connector(&config.source)?)),
            None => None,
        };
        // Two daemons would move one position past what only one of them has
        // done.
        let mut checkpoint = store::open_locked(&config)?;
        let interest = RuleInterest(Arc::new(config.rules.clone()));
        let address = SourceAddress::new(preflight::connector(&config.source)?, interest);
        let mode = Mode::Live {
            granted_at_ms: term.granted_at_ms,
            stood_by: term.stood_by,
        };
        let tail = open_tail(config, connector, server, &mut checkpoint, mode).await?;
        let position = tail.source().position().to_string();
        let (look, looks) = watch::channel(None);
        let tail = tail.reporting(reports.clone()).watching(looks);
        let eviction = Eviction {
            visibility: barrier,
            again: cache.another(),
            watched: cache.another(),
            retries: cache.insisting(),
            scans: cache.insisting(),
            cache,
            settling,
        };
        let (board, term) = (Arc::clone(&reports.board), term.clone());
        let work = async move {
            // Ends with the pipeline.
            let mut beside = JoinSet::new();
            beside.spawn(address.watch(look));
            if let Some(end) = watched {
                beside.spawn(binlog_lag::watch(end, board));
            }
            let shutdown = term.shutdown.clone();
            let overdue = term.overdue(settles_within);
            let running = pipeline::run(tail, eviction, sink, checkpoint, shutdown, overdue);
            // Once another process leads, it does what is in flight here: the
            // checkpoint has not passed it.
            unless(&term.lost, Box::pin(running))
                .await
                .unwrap_or(Ok(()))
                .map_err(|error| match error {
                    PipelineError::Halted(gap) => gap.into(),
                    PipelineError::Superseded(by) => by.into(),
                    other @ PipelineError::Panicked(_) => CommandError::failed(other),
                })
        };
        Ok((Some(position), work.boxed()))
    }
}
