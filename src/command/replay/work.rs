//! The work on the changes of a range: they are printed, or invalidated.

use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::binlog::server::barrier::Barrier;
use crate::buffer::{Buffer, Local, Sender, Sqs};
use crate::cache::{Cache, Redis};
use crate::cli::{Global, Half, ReplayArgs};
use crate::command::daemon::print_plans;
use crate::command::parts::{path_sink, settling};
use crate::command::shutdown::{GRACE, unless};
use crate::command::{CommandError, aws_config, preflight};
use crate::config::{self, Config};
use crate::evict::noop::{NoCache, NoPaths};
use crate::evict::path_sink::{PathSink, ToLog};
use crate::evict::pipeline::{self, Eviction, PipelineError};
use crate::evict::settling::Settling;
use crate::evict::tail::Tail;
use crate::model::GuardPattern;

/// A replay that is ready to begin.
pub(super) struct Work<'a> {
    pub(super) guards: Arc<[GuardPattern]>,
    pub(super) global: &'a Global,
    pub(super) options: &'a ReplayArgs,
    pub(super) config: Config,
    pub(super) tail: Tail,
    pub(super) progress: Progress,
    pub(super) shutdown: CancellationToken,
}

impl Work<'_> {
    pub(super) async fn run(self) -> Result<(), CommandError> {
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
        let paths = path_sink(&self.config, Arc::new(buffer), Sender::begin());
        Box::pin(self.with_paths(paths)).await
    }

    async fn with_paths(self, paths: impl PathSink) -> Result<(), CommandError> {
        if self.options.only == Some(Half::Edge) {
            return self.invalidate([NoCache; 5], Settling::Off, paths).await;
        }
        let mut cache = Redis::new(&preflight::redis_target(&self.config.redis)?)?
            .sparing(Arc::clone(&self.guards));
        let settling = settling(&self.config)?;
        if unless(&self.shutdown, cache.check())
            .await
            .transpose()?
            .is_none()
        {
            return Ok(());
        }
        let caches = [
            cache.another(),
            cache.another(),
            cache.insisting(),
            cache.insisting(),
            cache,
        ];
        self.invalidate(caches, settling, paths).await
    }

    async fn invalidate<C: Cache>(
        self,
        [watched, again, retries, scans, cache]: [C; 5],
        settling: Settling,
        paths: impl PathSink,
    ) -> Result<(), CommandError> {
        let eviction = Eviction {
            visibility: Barrier::new(preflight::connector(&self.config.source)?),
            cache,
            again,
            watched,
            retries,
            scans,
            settling,
        };
        let (tail, progress, shutdown) = (self.tail, self.progress, self.shutdown);
        let asked_to_end = shutdown.clone();
        let overdue = async {
            asked_to_end.cancelled().await;
            sleep(GRACE).await;
        };
        Box::pin(pipeline::run(
            tail, eviction, paths, progress, shutdown, overdue,
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
