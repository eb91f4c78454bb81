//! From the command line to the end of the range.

use tokio::sync::watch;

use super::progress::Progress;
use super::range::{self, Range};
use super::source::open_tail;
use super::work::Work;
use crate::checkpoint::Stored;
use crate::cli::{Global, ReplayArgs};
use crate::command::shutdown::{on_signal, unless};
use crate::command::{CommandError, preflight};
use crate::config;
use crate::rules::glob::TableGlob;

/// Replays until the end of the range, or until Ctrl-C.
pub async fn run(global: &Global, options: &ReplayArgs) -> Result<(), CommandError> {
    let mut config = config::load(&global.config)?;
    let shutdown = on_signal().map_err(CommandError::failed)?;
    if let Some(table) = &options.table {
        let glob = TableGlob::parse(table, 0)
            .map_err(|reason| CommandError::configuration(format!("--table: {reason}")))?;
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
            "the replay was stopped before it began"
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
        guards: config.rules.guard_patterns().into(),
        global,
        options,
        tail: open_tail(&mut config, connector, &range, options),
        config,
        progress,
        shutdown: shutdown.clone(),
    };
    Box::pin(work.run()).await?;
    let reached: Option<Stored> = position.borrow().clone();
    if shutdown.is_cancelled() && !options.dry_run {
        let stopped =
            reached.map_or_else(|| range.name(), |stored| range::name(&stored.position()));
        return Err(CommandError::failed(anyhow::anyhow!(
            "the replay was stopped before its end; go on with: evictd replay --from {stopped}"
        )));
    }
    tracing::info!("replayed everything up to {}", range.end);
    Ok(())
}
