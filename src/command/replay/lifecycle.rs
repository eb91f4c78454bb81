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
    tracing::info!(from = %range.name(), to = range.goal, "replaying");
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
            "the replay was stopped before its end; go on with: evictd replay --from {stopped}{}",
            others(options, &range)
        )));
    }
    let end = reached.map_or_else(|| range.from.clone(), |stored| stored.position());
    let short = range.to.as_ref().is_some_and(|to| !to.reached(&end));
    // A dry run stores nothing, and does not know how far it came.
    if short && !options.dry_run {
        tracing::warn!(
            "the binlog ends before --to {}: replayed everything up to {}",
            range.goal,
            range::name(&end)
        );
    } else {
        tracing::info!("replayed everything up to {}", range.goal);
    }
    Ok(())
}

/// The options but `--from`, for going on.
fn others(options: &ReplayArgs, range: &Range) -> String {
    let to = range.to.as_ref().map(|_| range.goal.clone());
    let table = options.table.as_ref().map(|glob| format!("'{glob}'"));
    let only = options.only.map(|half| half.as_str().to_owned());
    let since = options.since.map(|since| since.to_string());
    let given = [
        ("to", to),
        ("since", since),
        ("table", table),
        ("only", only),
    ];
    given
        .into_iter()
        .filter_map(|(option, value)| Some(format!(" --{option} {}", value?)))
        .collect()
}
