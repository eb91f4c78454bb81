//! `evictd checkpoint`: the stored position, shown, set and removed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{CommandError, preflight, print};
use crate::binlog::SourceError;
use crate::binlog::server::Server;
use crate::checkpoint::{Checkpoint, FileCheckpoint, Lock, Stored};
use crate::cli::{self, CheckpointAction, Global, OutputFormat};
use crate::config::{self, Config};
use crate::model::position::Start;

/// Does what is asked for.
pub async fn run(global: &Global, options: &cli::Checkpoint) -> Result<(), CommandError> {
    let config = config::load(&global.config)?;
    match &options.action {
        CheckpointAction::Show { format } => show(&config, *format).await,
        CheckpointAction::Set { position } => set(&config, position).await,
        CheckpointAction::Clear => clear(&config).await,
    }
}

async fn show(config: &Config, format: OutputFormat) -> Result<(), CommandError> {
    let path = config.checkpoint.display();
    let stored = FileCheckpoint::new(&config.checkpoint).load().await?;
    let Some(stored) = stored else {
        return Err(CommandError::failed(anyhow::anyhow!(
            "checkpoint {path}: there is none yet; `evictd run` begins at source.start ({})",
            config.source.start
        )));
    };
    let age_s = stored.committed_at.map(|at| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        now.saturating_sub(at.as_second()).max(0)
    });
    let running = Lock::is_taken(&config.checkpoint);
    let text = match format {
        OutputFormat::Json => {
            let json = json!({
                "path": config.checkpoint, "stored": stored, "age_s": age_s, "in_use": running,
            });
            format!("{json}\n")
        }
        OutputFormat::Text => text(&stored, &path.to_string(), age_s, running),
    };
    print(text.as_bytes())
}

fn text(stored: &Stored, path: &str, age_s: Option<i64>, running: bool) -> String {
    let gtids = stored.gtid_set.as_ref().map(ToString::to_string);
    let committed = match (stored.committed_at, age_s) {
        (Some(at), Some(age_s)) => format!("{at}, {age_s} s ago"),
        _ => "unknown".to_owned(),
    };
    format!(
        "checkpoint   {path}\nposition     {}\nGTID set     {}\nserver UUID  {}\ncommitted    {committed}\nin use       {}\n",
        stored.position(),
        gtids
            .as_deref()
            .unwrap_or("none: the server has no GTIDs, or reading began at a file and offset"),
        stored.server_uuid,
        if running { "yes: a daemon runs" } else { "no" },
    )
}

/// Stores a position that the server has, while nobody else uses the
/// checkpoint.
async fn set(config: &Config, position: &Start) -> Result<(), CommandError> {
    if *position == Start::Checkpoint {
        return Err(CommandError::configuration(
            "the checkpoint cannot be set to itself: name a position, `earliest` or `current`"
                .to_owned(),
        ));
    }
    let _lock = Lock::take(&config.checkpoint)?;
    let connector = preflight::connector(&config.source)?;
    let mut server = Server::connect(&connector).await?;
    let located = async {
        let located = server.locate(position).await?;
        server.check_boundary(&located).await?;
        Ok(located)
    };
    let located = located.await.map_err(|error| match error {
        // Not a gap that a daemon met: a position that was not typed right.
        SourceError::Gap { position, reason } => CommandError::configuration(format!(
            "position {position} is not one of {}: {reason}; nothing was stored",
            connector.address()
        )),
        other => other.into(),
    })?;
    let stored = Stored::new(&located, &server.facts().server_uuid, 0);
    FileCheckpoint::new(&config.checkpoint)
        .store(&stored)
        .await?;
    let text = format!(
        "checkpoint {} is set to {}; what was committed before is not looked at again\n",
        config.checkpoint.display(),
        match &stored.gtid_set {
            Some(gtids) => gtids.to_string(),
            None => located.to_string(),
        }
    );
    print(text.as_bytes())
}

async fn clear(config: &Config) -> Result<(), CommandError> {
    let _lock = Lock::take(&config.checkpoint)?;
    let path = config.checkpoint.display();
    let cleared = FileCheckpoint::new(&config.checkpoint).clear().await?;
    let text = match cleared {
        true => format!(
            "checkpoint {path} is gone; `evictd run` begins at source.start ({})\n",
            config.source.start
        ),
        false => format!("checkpoint {path}: there was none\n"),
    };
    print(text.as_bytes())
}
