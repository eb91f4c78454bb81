//! `evictd checkpoint`: the stored position, shown, set and removed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::parts::derived_server_id;
use super::{CommandError, Exit, preflight, print, store};
use crate::binlog::SourceError;
use crate::binlog::server::leader::LeaderLock;
use crate::binlog::server::{Server, since};
use crate::checkpoint::{Checkpoint, CheckpointError, CheckpointStore, FileCheckpoint, Stored};
use crate::cli::{self, CheckpointAction, Global, OutputFormat};
use crate::config::{self, Config};
use crate::model::position::Start;

/// Runs the subcommand.
pub async fn run(global: &Global, options: &cli::CheckpointArgs) -> Result<(), CommandError> {
    let config = config::load(&global.config)?;
    match &options.action {
        CheckpointAction::Show { format } => show(&config, *format).await,
        CheckpointAction::Set { position } => set(&config, position).await,
        CheckpointAction::Clear => clear(&config).await,
    }
}

async fn show(config: &Config, format: OutputFormat) -> Result<(), CommandError> {
    let place = store::place(config);
    let stored = store::open(config)?.load().await?;
    let Some(stored) = stored else {
        return Err(CommandError::failed(anyhow::anyhow!(
            "checkpoint {place}: there is none yet; {}",
            store::without_one(config)
        )));
    };
    let age_s = stored.committed_at.map(|at| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        now.saturating_sub(at.as_second()).max(0)
    });
    let running = in_use(config).await?;
    let text = match format {
        OutputFormat::Json => {
            let json = json!({
                "path": place, "stored": stored, "age_s": age_s, "in_use": running,
            });
            format!("{json}\n")
        }
        OutputFormat::Text => text(&stored, &place, age_s, running),
    };
    print(text.as_bytes())
}

/// Whether a daemon leads; `None` if the source does not tell.
async fn in_use(config: &Config) -> Result<Option<bool>, CommandError> {
    if let config::CheckpointConfig::File { path } = &config.checkpoint {
        return Ok(Some(FileCheckpoint::is_in_use(path)));
    }
    for (mut lock, _) in leader_locks(config).await? {
        match lock.is_taken().await {
            Ok(false) => {}
            Ok(true) => return Ok(Some(true)),
            Err(error) => {
                tracing::warn!(%error, "cannot ask whether a daemon leads");
                return Ok(None);
            }
        }
    }
    Ok(Some(false))
}

/// The locks of those who may lead with this checkpoint, each with its evictd's
/// name: of this one, and of the one that stored the position.
async fn leader_locks(config: &Config) -> Result<Vec<(LeaderLock, String)>, CommandError> {
    let connector = preflight::connector(&config.source)?;
    let stored = match store::open(config)?.load().await {
        // Nobody goes on from what cannot be understood.
        Err(error) if error.is_of_something_else() => None,
        loaded => loaded?,
    };
    let another = stored.and_then(|stored| stored.by).map(|by| by.name);
    let another = another.filter(|name| *name != config.name);
    let names = [Some(config.name.clone()), another].into_iter().flatten();
    let lock = |name: String| (LeaderLock::new(connector.clone(), &name), name);
    Ok(names.map(lock).collect())
}

/// Takes the leaders' locks, so that no daemon leads while they are held. Returns
/// them, with the time at which the last one was granted.
async fn lead(config: &Config) -> Result<(Vec<LeaderLock>, u64), CommandError> {
    let (mut held, mut granted_at_ms) = (Vec::new(), 0);
    for (mut lock, name) in leader_locks(config).await? {
        granted_at_ms = lock.take(Duration::ZERO).await?.ok_or_else(|| {
            CommandError::configuration(format!(
                "checkpoint {} is in use: an evictd called \"{name}\" leads on the source (it has the lock {}); stop it and its standbys first",
                store::place(config),
                lock.name()
            ))
        })?;
        held.push(lock);
    }
    Ok((held, granted_at_ms))
}

/// Keeps a file to this process. Whoever has it is to be stopped first, as whoever leads
/// with a position in Redis is.
fn open_locked(config: &Config) -> Result<CheckpointStore, CommandError> {
    store::open_locked(config).map_err(|error| match error.cause.downcast_ref() {
        Some(CheckpointError::Held { .. }) => CommandError {
            exit: Exit::Configuration,
            ..error
        },
        _ => error,
    })
}

async fn release(locks: Vec<LeaderLock>) {
    for mut lock in locks {
        lock.release().await;
    }
}

fn text(stored: &Stored, path: &str, age_s: Option<i64>, running: Option<bool>) -> String {
    let gtids = stored.gtid_set.as_ref().map(ToString::to_string);
    let committed = match (stored.committed_at, age_s) {
        (Some(at), Some(age_s)) => format!("{at}, {age_s} s ago"),
        _ => "unknown".to_owned(),
    };
    format!(
        "checkpoint   {path}\nposition     {}\nGTID set     {}\nserver UUID  {}\ncommitted    {committed}\nstored by    {}\nin use       {}\n",
        stored.position(),
        gtids
            .as_deref()
            .unwrap_or("none: the server has no GTIDs, or reading began at a file and offset"),
        stored.server_uuid,
        stored.by.as_ref().map_or_else(
            || "not known: an earlier version".to_owned(),
            |by| format!(
                "{}, from {}, configuration {}",
                by.name, by.source, by.config_sha256
            ),
        ),
        match running {
            Some(true) => "yes: a daemon runs",
            Some(false) => "no",
            None => "not known: the source does not answer",
        },
    )
}

/// Stores a position that the server has, while no other process uses the
/// checkpoint.
async fn set(config: &Config, position: &Start) -> Result<(), CommandError> {
    if *position == Start::Checkpoint {
        return Err(CommandError::configuration(
            "the checkpoint cannot be set to itself: name a position, `earliest` or `current`"
                .to_owned(),
        ));
    }
    let mut checkpoint = open_locked(config)?;
    let (locks, granted_at_ms) = lead(config).await?;
    let connector = preflight::connector(&config.source)?;
    let mut server = Server::connect(&connector).await?;
    let located = async {
        let located = server.locate(position).await?;
        server.check_boundary(&located).await?;
        Ok(located)
    };
    let located = located.await.map_err(|error| match error {
        // This is not a gap that a daemon met, but a mistyped position.
        SourceError::Gap { position, reason } => CommandError::configuration(format!(
            "position {position} is not one of {}: {reason}; nothing was stored",
            connector.address()
        )),
        other => other.into(),
    })?;
    let file_begun_s = match &*located.file {
        "" => None,
        file => Some(since::begun_s(&connector, server_id(config), file).await?),
    };
    // Paths that wait are waited for, wherever reading goes on.
    let before = checkpoint.load().await.ok().flatten();
    let stored = Stored::new(&located, &server.facts().server_uuid, None)
        .begun_at(file_begun_s)
        .accepted_by(before.and_then(|before| before.buffer).as_ref());
    checkpoint.lead_anew(granted_at_ms).await?;
    checkpoint.store(&stored).await?;
    release(locks).await;
    let text = format!(
        "checkpoint {} is set to {}; what was committed before is not looked at again\n",
        store::place(config),
        match &stored.gtid_set {
            Some(gtids) => gtids.to_string(),
            None => located.to_string(),
        }
    );
    print(text.as_bytes())
}

/// The replica id for a look at the beginning of a file.
fn server_id(config: &Config) -> u32 {
    derived_server_id(&format!("{}/checkpoint", config.name))
}

async fn clear(config: &Config) -> Result<(), CommandError> {
    let mut checkpoint = open_locked(config)?;
    let place = store::place(config);
    // A locked file can be removed without the source.
    let (mut locks, mut removed) = (Vec::new(), false);
    if let config::CheckpointConfig::Redis { .. } = config.checkpoint {
        let (held, granted_at_ms) = lead(config).await?;
        locks = held;
        removed = checkpoint.lead_anew(granted_at_ms).await?;
    }
    let cleared = checkpoint.clear().await? || removed;
    release(locks).await;
    let text = if cleared {
        format!(
            "checkpoint {place} is gone; {}\n",
            store::without_one(config)
        )
    } else {
        format!("checkpoint {place}: there was none\n")
    };
    print(text.as_bytes())
}
