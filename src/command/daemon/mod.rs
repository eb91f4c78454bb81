//! `evictd run`: the daemon.

mod http;
pub(super) mod reload;
mod systemd;
mod turns;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::reload::{InUse, Reload};
use self::turns::{Term, take_turns};
use super::status::document::Daemon;
use super::store::{self, CheckpointStore};
use super::{CommandError, aws_config, preflight};
use crate::binlog::server::barrier::Barrier;
use crate::binlog::server::end::BinlogEnd;
use crate::binlog::server::replica_lag::{AURORA_TABLE, ReplicaLag};
use crate::binlog::stream::{Source, StreamSettings};
use crate::buffer::{Buffer, Local, Sqs};
use crate::cache::Redis;
use crate::checkpoint::{Checkpoint, Stored};
use crate::cli::{Global, OutputFormat, Role, RunArgs};
use crate::config::{self, Config, SettleConfig};
use crate::drain::{Drain, DrainOptions};
use crate::edge::budget::Budget;
use crate::edge::cloudfront::CloudFront;
use crate::edge::invalidation_log::History;
use crate::evict::bulk_paths::{BulkGuard, BulkRule, BulkRules};
use crate::evict::path_sink::{PathSink, ToBuffer, ToLog};
use crate::evict::pipeline;
use crate::evict::pipeline::Eviction;
use crate::evict::plan_item::RuleInterest;
use crate::evict::settling::Settling;
use crate::evict::switch::switcher;
use crate::evict::tail::Tail;
use crate::ledger::{self, Ledger};
use crate::model::position::Start;
use crate::plans::lines;
use crate::progress::binlog_lag;
use crate::progress::board::Reports;
use crate::telemetry::log::LogLevel;

/// How long what is in flight may take after SIGTERM. Below the 30 s after
/// which ECS kills a task, and systemd's 90 s.
pub(super) const GRACE: Duration = Duration::from_secs(20);

/// How long the last records may take after that.
pub(super) const LEDGER_GRACE: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
pub async fn run(global: &Global, options: &RunArgs, log: &LogLevel) -> Result<(), CommandError> {
    let config = config::load(&global.config)?;
    if options.role == Role::Drain && (options.dry_run || config.cloudfront.is_none()) {
        return Err(CommandError::configuration(
            "--role drain sends buffered paths to CloudFront: it needs [buffer] and [cloudfront], and has no dry run".to_owned(),
        ));
    }
    let shutdown = on_signal().map_err(CommandError::failed)?;
    let reload = Reload::new(global, log, &config)?;
    let reports = reports(&config, options).await?;
    let role = match (options.dry_run, options.role) {
        (true, _) => "dry-run",
        (false, Role::All) => "all",
        (false, Role::Tail) => "tail",
        (false, Role::Drain) => "drain",
    };
    let daemon = Daemon {
        name: config.name.clone(),
        role: role.to_owned(),
        started_at: jiff::Timestamp::now(),
        lag_max: config.lag_max,
        loaded: reload.loaded(),
    };
    systemd::report(&daemon, &reports, &shutdown)?;
    if let Some(listen) = config.metrics_listen {
        http::start(listen, daemon, reports.clone()).await?;
        http::from_zero(&config);
    }
    let ledger = reports.ledger.clone();
    let outcome = Box::pin(run_role(config, reload, options, reports, shutdown)).await;
    ledger.flush(LEDGER_GRACE).await;
    outcome
}

/// Dry runs and drains work beside others; of those who read for a checkpoint
/// one at a time does.
async fn run_role(
    config: Config,
    reload: Reload,
    options: &RunArgs,
    reports: Reports,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    if options.dry_run {
        reload.goes_nowhere();
        return Box::pin(dry_run(config, reload, options, reports, shutdown)).await;
    }
    let role = options.role;
    if role == Role::Drain {
        let term = Term::without_end(shutdown);
        return Box::pin(work(config, reload, role, reports, term)).await;
    }
    if matches!(config.buffer, Some(config::BufferConfig::Local { .. })) && role != Role::All {
        return Err(local_belongs_to_one());
    }
    let turn = |term| {
        let (reload, reports) = (reload.clone(), reports.clone());
        Box::pin(async move {
            // What was loaded while another one led counts.
            let config = reload.starts().await?;
            let stands_by = InUse::new(&config);
            let outcome = Box::pin(work(config, reload.clone(), role, reports, term)).await;
            reload.goes_to(stands_by);
            outcome
        })
    };
    reload.goes_to(InUse::new(&config));
    Box::pin(take_turns(
        &config,
        reload.path(),
        &reports,
        &shutdown,
        turn,
    ))
    .await
}

/// A dry run touches nothing. Drains of one machine share a ledger.
async fn reports(config: &Config, options: &RunArgs) -> Result<Reports, CommandError> {
    let ledger = match options.dry_run {
        true => Ledger::off(),
        false => {
            match config.ledger_dir.as_deref() {
                Some(dir) => {
                    // A checkpoint that cannot be kept is refused in its own words.
                    if !is_kept_in(&config.checkpoint, dir) {
                        ledger::check_directory(dir)?;
                    }
                    Ledger::open(dir, &config.name).await
                }
                None => {
                    tracing::info!(
                        "ledger.dir is not set: gaps and dead letters are in this log and in the status only"
                    );
                    Ledger::off()
                }
            }
        }
    };
    Ok(Reports {
        ledger,
        ..Reports::default()
    })
}

fn is_kept_in(checkpoint: &config::CheckpointConfig, dir: &Path) -> bool {
    match checkpoint {
        config::CheckpointConfig::File { path } => path.parent() == Some(dir),
        config::CheckpointConfig::Redis { .. } => false,
    }
}

fn local_belongs_to_one() -> CommandError {
    CommandError::configuration(
        "--role splits the work between processes, and a buffer of kind = \"local\" belongs to one: use kind = \"sqs\", or --role all".to_owned(),
    )
}

async fn work(
    config: Config,
    reload: Reload,
    role: Role,
    reports: Reports,
    term: Term,
) -> Result<(), CommandError> {
    match &config.buffer {
        Some(config::BufferConfig::Sqs { queue_url }) => {
            let aws = aws_config().await;
            let sqs = Sqs::new(&aws, queue_url.as_str());
            let Some(queue) = unless(&term.shutdown, sqs.check()).await.transpose()? else {
                return Ok(());
            };
            if !queue.has_dead_letter_queue {
                tracing::warn!(
                    queue_url,
                    "the queue has no dead-letter queue: what cannot be sent comes back until its retention ends; set a redrive policy"
                );
            }
            Box::pin(with_buffer(config, reload, role, sqs, &aws, reports, term)).await
        }
        Some(config::BufferConfig::Local { .. }) if role != Role::All => {
            Err(local_belongs_to_one())
        }
        Some(config::BufferConfig::Local { path }) => {
            let local = Local::open(path).await?;
            let aws = aws_config().await;
            Box::pin(with_buffer(
                config, reload, role, local, &aws, reports, term,
            ))
            .await
        }
        None => {
            let in_use = InUse::new(&config);
            tail(config, reload, in_use, ToLog, reports, term).await
        }
    }
}

/// What `starting` gives, or nothing if `shutdown` comes first: a dependency
/// that does not answer must not keep a daemon from ending.
pub(super) async fn unless<T>(
    shutdown: &CancellationToken,
    starting: impl Future<Output = T>,
) -> Option<T> {
    shutdown.run_until_cancelled(starting).await
}

/// A token that the first SIGTERM or SIGINT cancels.
pub(super) fn on_signal() -> std::io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "finishing what is in flight");
        token.cancel();
    });
    Ok(shutdown)
}

/// Runs the halves that `role` names; either one's failure ends both.
async fn with_buffer<B: Buffer>(
    config: Config,
    reload: Reload,
    role: Role,
    buffer: B,
    aws: &aws_config::SdkConfig,
    reports: Reports,
    term: Term,
) -> Result<(), CommandError> {
    let buffer = Arc::new(buffer);
    let shutdown = term.shutdown.clone();
    let mut in_use = InUse::new(&config);
    // Without it there is no buffer.
    let Some(cloudfront) = config.cloudfront.clone() else {
        return tail(config, reload, in_use, ToLog, reports, term).await;
    };
    let limits = cloudfront.path_budgets();
    let distributions = cloudfront.distributions;
    let names: Vec<Arc<str>> = distributions
        .iter()
        .map(|it| it.name.as_str().into())
        .collect();
    let ids = distributions.iter();
    let drain_options = DrainOptions {
        window: cloudfront.window,
        grace: GRACE,
        calls_per_second: cloudfront.calls_per_second,
        max_receives: config.max_receives,
        overdue_after: cloudfront.overdue_after,
        always: in_use.always.clone(),
        distributions: ids
            .map(|it| (it.name.as_str().into(), it.id.as_str().into()))
            .collect(),
    };
    let edge = CloudFront::new(aws);
    if role != Role::Tail {
        for distribution in &distributions {
            let id = distribution.id.as_str().into();
            if unless(&shutdown, edge.check(&id))
                .await
                .transpose()?
                .is_none()
            {
                return Ok(());
            }
        }
    }
    let sink = ToBuffer::new(
        Arc::clone(&buffer),
        config.name.as_str().into(),
        names,
        BulkGuard::new(in_use.bulk.clone()),
    );
    if role == Role::Tail {
        return tail(config, reload, in_use, sink, reports, term).await;
    }
    let book = match config.budget_file() {
        Some(file) => Budget::open_file(file, limits).await?,
        None => {
            tracing::info!(
                "ledger.dir is not set: the month's paths are counted from this start on"
            );
            Budget::in_memory(limits)
        }
    };
    let history = match config.history_file() {
        Some(file) => History::open_file(file, buffer.visibility()).await?,
        // CloudFront's own list has it.
        None => History::off(),
    };
    let book = Arc::new(book);
    in_use.book = Some(Arc::clone(&book));
    let drain = Drain::new(buffer, Arc::new(edge), book, drain_options)
        .recording(history)
        .reporting(reports.clone());
    match role {
        Role::Tail | Role::Drain => {
            reload.goes_to(in_use);
            drain.run(shutdown).await;
            Ok(())
        }
        Role::All => {
            let draining = tokio::spawn(drain.run(shutdown.clone()));
            let outcome = tail(config, reload, in_use, sink, reports, term).await;
            shutdown.cancel();
            draining.await.map_err(CommandError::failed)?;
            outcome
        }
    }
}

/// When a rule's paths are too many, and what goes in their place.
pub(super) fn bulk_rules(config: &Config) -> BulkRules {
    let rules = config.bulk.iter().map(|bulk| {
        let rule = BulkRule {
            threshold: bulk.threshold,
            wildcards: bulk.wildcards.clone(),
        };
        (bulk.rule.as_str().into(), rule)
    });
    rules.collect()
}

/// Whether plans are acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In an epoch that begins here, or later.
    Live {
        granted_at_ms: u64,
    },
    DryRun,
}

/// The source, from the checkpoint or the configured start on.
async fn open_tail(
    mut config: Config,
    config_path: &Path,
    checkpoint: &mut CheckpointStore,
    mode: Mode,
) -> Result<Tail, CommandError> {
    let connector = preflight::connector(&config.source)?;
    let mut server = preflight::server(&connector, &mut config, config_path).await?;
    let uuid: Arc<str> = server.facts().server_uuid.as_str().into();
    let mut file_begun_s = None;
    let mut lost = None;
    let stored = match mode {
        Mode::Live { granted_at_ms } => checkpoint.lead(granted_at_ms).await?,
        Mode::DryRun => checkpoint.load().await?,
    };
    let (position, uuid) = match (stored, &config.checkpoint) {
        (Some(stored), _) => {
            file_begun_s = stored.file_begun_s;
            (stored.position(), Arc::from(stored.server_uuid.as_str()))
        }
        // Over, never under: Redis can lose a key, and does not tell that from
        // one that never was. Not stored before everything is invalidated.
        (None, config::CheckpointConfig::Redis { .. }) => {
            lost = Some(format!(
                "there is no checkpoint {}: it was lost, or this is the first start, before which \
                 `evictd checkpoint set current` says that nothing has to be invalidated",
                store::place(&config)
            ));
            (server.locate(&Start::Earliest).await?, uuid)
        }
        (None, config::CheckpointConfig::File { .. }) => {
            let position = server.locate(&config.source.start).await?;
            if mode != Mode::DryRun {
                // Nothing lost: a crash before the first commit begins here again.
                checkpoint.store(&Stored::new(&position, &uuid, 0)).await?;
            }
            (position, uuid)
        }
    };
    tracing::info!(
        source = connector.address(),
        version = server.facts().version,
        server_uuid = server.facts().server_uuid,
        position = %position,
        gtids = position.gtids.as_ref().map(ToString::to_string),
        epoch = (mode != Mode::DryRun).then(|| checkpoint.epoch()),
        "starting"
    );
    let on_gap = config.source.on_gap;
    let settings = stream_settings(&config, mode);
    let rules = Arc::new(config.rules);
    let interest = RuleInterest(Arc::clone(&rules));
    let mut source = Source::new(connector, settings, interest, position);
    if let Some(begun_s) = file_begun_s {
        source.expect_file_begun(begun_s);
    }
    let tail = Tail::new(source, rules, on_gap, Some(uuid));
    Ok(match lost {
        Some(reason) => tail.after_loss(&reason),
        None => tail,
    })
}

fn stream_settings(config: &Config, mode: Mode) -> StreamSettings {
    let server_id = match (config.source.server_id, mode) {
        (Some(id), Mode::Live { .. }) => id,
        (None, Mode::Live { .. }) => derived_server_id(&config.name),
        // A dry run beside the daemon must not throw it out.
        (_, Mode::DryRun) => derived_server_id(&format!("{}/dry-run", config.name)),
    };
    StreamSettings {
        server_id,
        heartbeat: config.source.heartbeat,
    }
}

/// An id that is stable for this configuration on this machine, and far from
/// the small numbers that people choose.
pub(super) fn derived_server_id(name: &str) -> u32 {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    crc32fast::hash(format!("{name}@{}", host.trim()).as_bytes()) | 0x8000_0000
}

async fn tail(
    config: Config,
    reload: Reload,
    mut in_use: InUse,
    sink: impl PathSink,
    reports: Reports,
    term: Term,
) -> Result<(), CommandError> {
    let settling = settling(&config)?;
    let barrier = Barrier::new(preflight::connector(&config.source)?);
    let end = BinlogEnd::new(preflight::connector(&config.source)?);
    let watched = config.metrics_listen.is_some();
    let mut cache =
        Redis::new(&preflight::redis_target(&config.redis)?)?.sparing(in_use.guards.clone());
    // Two daemons would move one position past what only one of them did.
    let mut checkpoint = CheckpointStore::locked(&config)?;
    let mode = Mode::Live {
        granted_at_ms: term.granted_at_ms,
    };
    let starting = async {
        // Before the start is stored: a refusal leaves nothing behind.
        cache.check().await?;
        open_tail(config, reload.path(), &mut checkpoint, mode).await
    };
    let starting = unless(&term.lost, unless(&term.shutdown, Box::pin(starting)));
    let Some(Some(tail)) = starting.await.map(Option::transpose).transpose()? else {
        return Ok(());
    };
    let (switcher, switches) = switcher();
    let tail = tail.reporting(reports.clone()).switching(switches);
    in_use.rules = Some(switcher);
    reload.goes_to(in_use);
    // Ends with the pipeline.
    let mut beside = JoinSet::new();
    if watched {
        beside.spawn(binlog_lag::watch(end, reports.board));
    }
    let eviction = Eviction {
        visibility: barrier,
        again: cache.another(),
        cache,
        settling,
    };
    let running = Box::pin(pipeline::run(
        tail,
        eviction,
        sink,
        checkpoint,
        term.shutdown,
        GRACE,
    ));
    // Once another one leads, what is in flight is its own to do: the
    // checkpoint has not passed it.
    let outcome = unless(&term.lost, running).await.unwrap_or(Ok(()));
    outcome.map_err(|error| match error {
        pipeline::PipelineError::Halted(gap) => gap.into(),
        pipeline::PipelineError::Superseded(by) => by.into(),
        other => CommandError::failed(other),
    })
}

/// When keys are deleted again; also starts to follow the readers, if it
/// depends on them.
pub(super) fn settling(config: &Config) -> Result<Settling, CommandError> {
    match config.redis.settle_after {
        SettleConfig::Off => Ok(Settling::Off),
        SettleConfig::Fixed(after) => Ok(Settling::After(after)),
        SettleConfig::ReplicaLag { min, max } => {
            let connector = preflight::connector(&config.source)?;
            let (publish, applied) = watch::channel(None);
            // Ends with the pipeline, which listens.
            tokio::spawn(ReplicaLag::new(connector, AURORA_TABLE).follow(publish, min, max));
            Ok(Settling::Readers { min, max, applied })
        }
    }
}

async fn dry_run(
    config: Config,
    reload: Reload,
    options: &RunArgs,
    reports: Reports,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let mut checkpoint = CheckpointStore::new(&config)?;
    let opening = open_tail(config, reload.path(), &mut checkpoint, Mode::DryRun);
    let Some(tail) = unless(&shutdown, Box::pin(opening)).await.transpose()? else {
        return Ok(());
    };
    print_plans(tail.reporting(reports), options.format, shutdown).await
}

/// Prints what `tail` reads until its end or `shutdown`.
pub(super) async fn print_plans(
    tail: Tail,
    format: OutputFormat,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let out = std::io::BufWriter::new(std::io::stdout());
    match lines::run(tail, out, format.into(), shutdown).await {
        Ok(()) => Ok(()),
        Err(lines::DryRunError::Halted(gap)) => Err(gap.into()),
        // `evictd run --dry-run | head` is no failure.
        Err(lines::DryRunError::Output(error))
            if error.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            Ok(())
        }
        Err(error) => Err(CommandError::failed(error)),
    }
}
