//! `evictd replay`: a range of the binlog once more, through the daemon's own
//! pipeline. The daemon's checkpoint is read at most.

mod progress;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::progress::Progress;
use super::daemon::print_plans;
use super::parts::{derived_server_id, path_sink, settling};
use super::shutdown::{GRACE, on_signal, unless};
use super::{CommandError, aws_config, preflight, store};
use crate::binlog::server::Server;
use crate::binlog::server::barrier::Barrier;
use crate::binlog::server::since;
use crate::binlog::stream::{Source, StreamSettings};
use crate::buffer::{Buffer, Local, Sqs};
use crate::cache::{Cache, Redis};
use crate::checkpoint::{Checkpoint, Stored};
use crate::cli::{Global, Half, ReplayArgs};
use crate::config::{self, Config};
use crate::evict::noop::{NoCache, NoPaths};
use crate::evict::path_sink::{PathSink, ToLog};
use crate::evict::pipeline::{self, Eviction, PipelineError};
use crate::evict::plan_item::RuleInterest;
use crate::evict::settling::Settling;
use crate::evict::tail::Tail;
use crate::model::position::OnGap;
use crate::model::position::{Bound, Start};
use crate::model::{Current, GuardPattern, Position};
use crate::rules::glob::TableGlob;

/// Replays until the range's end, or Ctrl-C.
pub async fn run(global: &Global, options: &ReplayArgs) -> Result<(), CommandError> {
    let mut config = config::load(&global.config)?;
    let shutdown = on_signal().map_err(CommandError::failed)?;
    if let Some(table) = &options.table {
        let glob = TableGlob::parse(table, 0);
        let glob =
            glob.map_err(|reason| CommandError::configuration(format!("--table: {reason}")))?;
        config.rules.set_only(glob);
    }
    let connector = preflight::connector(&config.source)?;
    let opening = async {
        let mut server = preflight::server(&connector, &mut config, &global.config).await?;
        let range = Range::locate(&mut server, &connector, &config, options).await?;
        Ok::<_, CommandError>((server, range))
    };
    let Some((mut server, range)) = unless(&shutdown, opening).await.transpose()? else {
        return Err(CommandError::failed(anyhow::anyhow!(
            "stopped before it began"
        )));
    };
    let files = server.files().await?;
    drop(server);
    tracing::info!(from = %range.name(), to = %range.end, "replaying");
    let (reached, position) = watch::channel(None);
    let from = range.from.file.as_ref();
    let progress = Progress::new(
        files,
        (!from.is_empty()).then_some((from, range.from.offset)),
        (&range.end.file, range.end.offset),
        reached,
    );
    let work = Work {
        guards: Current::new(config.rules.guard_patterns()),
        global,
        options,
        tail: tail(&mut config, connector, &range, options),
        config,
        progress,
        shutdown: shutdown.clone(),
    };
    Box::pin(work.run()).await?;
    let reached: Option<Stored> = position.borrow().clone();
    if shutdown.is_cancelled() && !options.dry_run {
        let stopped = reached.map_or_else(|| range.name(), |stored| name(&stored.position()));
        return Err(CommandError::failed(anyhow::anyhow!(
            "stopped before the end; go on with: evictd replay --from {stopped}"
        )));
    }
    tracing::info!("replayed everything up to {}", range.end);
    Ok(())
}

/// What is replayed.
struct Range {
    from: Position,
    /// The server that a checkpoint was read from.
    server_uuid: Arc<str>,
    /// When the checkpoint's file was begun.
    file_begun_s: Option<u32>,
    to: Option<Bound>,
    /// The server's end when the replay began.
    end: Position,
}

impl Range {
    async fn locate(
        server: &mut Server,
        connector: &crate::binlog::connection::connector::Connector,
        config: &Config,
        options: &ReplayArgs,
    ) -> Result<Self, CommandError> {
        let end = server.status().await?;
        let mut server_uuid: Arc<str> = server.facts().server_uuid.as_str().into();
        let mut file_begun_s = None;
        let from = match (&options.from, options.since) {
            (Some(Start::Checkpoint), _) => {
                let stored = stored(config).await?;
                server_uuid = stored.server_uuid.as_str().into();
                file_begun_s = stored.file_begun_s;
                stored.position()
            }
            (Some(start), _) => {
                let position = server.locate(start).await?;
                server.check_boundary(&position).await?;
                position
            }
            (None, Some(since)) => {
                since::file_at(server, connector, server_id(config), since.as_second()).await?
            }
            (None, None) => {
                return Err(CommandError::configuration(
                    "replay needs --from or --since".to_owned(),
                ));
            }
        };
        let to = match &options.to {
            None | Some(Start::Current) => None,
            Some(Start::Earliest) => {
                return Err(CommandError::configuration(
                    "--to earliest is no range".to_owned(),
                ));
            }
            Some(Start::Checkpoint) => Some(bound(&stored(config).await?.position())),
            Some(Start::Offset { file, offset }) => Some(Bound::Offset {
                file: Arc::clone(file),
                offset: *offset,
            }),
            Some(Start::Gtids(set)) => Some(Bound::Gtids(set.clone())),
        };
        Ok(Self {
            from,
            server_uuid,
            file_begun_s,
            to,
            end,
        })
    }

    fn name(&self) -> String {
        name(&self.from)
    }
}

/// A position as `--from` takes it.
fn name(position: &Position) -> String {
    match &position.gtids {
        Some(gtids) if !gtids.is_empty() => gtids.to_string(),
        _ => position.to_string(),
    }
}

fn bound(position: &Position) -> Bound {
    match &position.gtids {
        Some(gtids) if !gtids.is_empty() => Bound::Gtids(gtids.clone()),
        _ => Bound::Offset {
            file: Arc::clone(&position.file),
            offset: position.offset,
        },
    }
}

async fn stored(config: &Config) -> Result<Stored, CommandError> {
    let stored = store::open(config)?.load().await?;
    stored.ok_or_else(|| {
        CommandError::configuration(format!(
            "checkpoint {}: there is none; name a position",
            store::place(config)
        ))
    })
}

/// Not the daemon's, which it would throw out.
fn server_id(config: &Config) -> u32 {
    derived_server_id(&format!("{}/replay", config.name))
}

fn tail(
    config: &mut Config,
    connector: crate::binlog::connection::connector::Connector,
    range: &Range,
    options: &ReplayArgs,
) -> Tail {
    let rules = Arc::new(std::mem::take(&mut config.rules));
    let mut until = vec![Bound::Offset {
        file: Arc::clone(&range.end.file),
        offset: range.end.offset,
    }];
    // A server that is asked by GTIDs leaves out what is known, and may have
    // nothing to send that would lead to the end.
    if range.from.gtids.is_some() {
        until.push(bound(&range.end));
    }
    until.extend(range.to.clone());
    let mut source = Source::new(
        connector,
        StreamSettings {
            server_id: server_id(config),
            heartbeat: config.source.heartbeat,
        },
        RuleInterest(Arc::clone(&rules)),
        range.from.clone(),
    )
    .until(until);
    if let Some(begun_s) = range.file_begun_s {
        source.expect_file_begun(begun_s);
    }
    let since_us = options.since.map_or(0, |since| since.as_microsecond());
    // A gap is for the operator, who named the range.
    Tail::new(
        source,
        rules,
        OnGap::Halt,
        Some(Arc::clone(&range.server_uuid)),
    )
    .since(u64::try_from(since_us).unwrap_or(0))
}

struct Work<'a> {
    guards: Current<Vec<GuardPattern>>,
    global: &'a Global,
    options: &'a ReplayArgs,
    config: Config,
    tail: Tail,
    progress: Progress,
    shutdown: CancellationToken,
}

impl Work<'_> {
    async fn run(self) -> Result<(), CommandError> {
        if self.options.dry_run {
            return print_plans(self.tail, self.options.format, self.shutdown).await;
        }
        if self.options.only == Some(Half::Edge) && self.config.cloudfront.is_none() {
            return Err(CommandError::configuration(format!(
                "--only edge needs [cloudfront] in {}",
                self.global.config.display()
            )));
        }
        if self.options.only == Some(Half::Cache) {
            return Box::pin(self.with_paths(NoPaths)).await;
        }
        match &self.config.buffer {
            None => Box::pin(self.with_paths(ToLog)).await,
            Some(config::BufferConfig::Sqs { queue_url }) => {
                let sqs = Sqs::new(&aws_config().await, queue_url.as_str());
                let shutdown = self.shutdown.clone();
                match unless(&shutdown, sqs.check()).await.transpose()? {
                    Some(_) => Box::pin(self.with_buffer(sqs)).await,
                    None => Ok(()),
                }
            }
            Some(config::BufferConfig::Local { path }) => {
                tracing::info!("paths wait in the local buffer until `evictd run` sends them");
                let local = Local::open(path).await?;
                Box::pin(self.with_buffer(local)).await
            }
        }
    }

    async fn with_buffer(self, buffer: impl Buffer) -> Result<(), CommandError> {
        let paths = path_sink(&self.config, Arc::new(buffer));
        Box::pin(self.with_paths(paths)).await
    }

    async fn with_paths(self, paths: impl PathSink) -> Result<(), CommandError> {
        if self.options.only == Some(Half::Edge) {
            return self
                .invalidate(NoCache, NoCache, Settling::Off, paths)
                .await;
        }
        let mut cache =
            Redis::new(&preflight::redis_target(&self.config.redis)?)?.sparing(self.guards.clone());
        let settling = settling(&self.config)?;
        if unless(&self.shutdown, cache.check())
            .await
            .transpose()?
            .is_none()
        {
            return Ok(());
        }
        let again = cache.another();
        self.invalidate(cache, again, settling, paths).await
    }

    async fn invalidate<C: Cache>(
        self,
        cache: C,
        again: C,
        settling: Settling,
        paths: impl PathSink,
    ) -> Result<(), CommandError> {
        let eviction = Eviction {
            visibility: Barrier::new(preflight::connector(&self.config.source)?),
            cache,
            again,
            settling,
        };
        let (tail, progress, shutdown) = (self.tail, self.progress, self.shutdown);
        Box::pin(pipeline::run(
            tail, eviction, paths, progress, shutdown, GRACE,
        ))
        .await
        .map_err(|error| match error {
            PipelineError::Halted(gap) => gap.into(),
            other @ (PipelineError::Panicked(_) | PipelineError::Superseded(_)) => {
                CommandError::failed(other)
            }
        })
    }
}
