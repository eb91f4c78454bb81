//! What the leaders before have left, and whether this process may go on with it.

use crate::binlog::server::Server;
use crate::checkpoint::{Checkpoint, FileCheckpoint, Stored};
use crate::cli::Role;
use crate::command::{CommandError, store};
use crate::config::{CheckpointConfig, Config};

/// Whether a leader before has stored a position, which is left alone. `superseded`
/// says that another process has just ended this one's turn.
///
/// # Errors
///
/// The position cannot be read, or is another evictd's.
pub(super) async fn is_there(
    config: &Config,
    role: Role,
    superseded: bool,
) -> Result<bool, CommandError> {
    if role == Role::Drain {
        return Ok(false);
    }
    let Some(stored) = store::open(config)?.load().await? else {
        return Ok(false);
    };
    // A file that another process of this name uses is waited for, whatever it reads.
    let in_use = matches!(&config.checkpoint, CheckpointConfig::File { path } if FileCheckpoint::is_in_use(path));
    refuse_anothers(&stored, config, superseded && !in_use)?;
    Ok(true)
}

/// The outcome of what comes before a turn. What is refused now was not refused
/// to a leader that has stored a position.
pub(super) async fn judged<T>(
    config: &Config,
    role: Role,
    outcome: Result<T, CommandError>,
) -> Result<T, CommandError> {
    let error = match outcome {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let inherited = is_there(config, role, false).await;
    Err(if let Ok(true) = inherited {
        error.of_what_worked_before()
    } else {
        error
    })
}

/// Two that go on from one position each skip what only the other has done.
fn refuse_anothers(stored: &Stored, config: &Config, superseded: bool) -> Result<(), CommandError> {
    // One of an earlier version gets a name with the next position.
    let Some(by) = &stored.by else {
        return Ok(());
    };
    let (place, own) = (store::place(config), store::stored_by(config));
    let field = match config.checkpoint {
        CheckpointConfig::File { .. } => "checkpoint.path",
        CheckpointConfig::Redis { .. } => "checkpoint.key",
    };
    if by.name != own.name {
        return Err(CommandError::configuration(format!(
            "checkpoint {place} is of an evictd called \"{}\", and this one is called \"{}\": give this one \
             another {field}; if it is that one under another name, stop that one, and take its position \
             over with `evictd checkpoint set P`",
            by.name, own.name
        )));
    }
    // A standby takes over on the same source. An address that has changed is
    // another matter: its process began with it.
    if superseded && by.source != own.source {
        return Err(CommandError::configuration(format!(
            "checkpoint {place} was taken over by an evictd of the same name that reads {}, and this one \
             reads {}: give each source a `name` and a {field} of its own, or this one the other's source.url",
            by.source, own.source
        )));
    }
    Ok(())
}

/// Refuses a position in Redis that an evictd stored from another source, which may
/// be at work with it: each would skip to the end of its own source and invalidate
/// everything, whenever the other has stored.
///
/// A source that moved, or that failed over under another address, goes on with the
/// GTIDs of before. Without GTIDs it cannot be told from one that has nothing to do
/// with it.
pub(super) async fn refuse_another_source(
    config: &Config,
    server: &mut Server,
) -> Result<(), CommandError> {
    if !matches!(config.checkpoint, CheckpointConfig::Redis { .. }) {
        return Ok(());
    }
    let Some(stored) = store::open(config)?.load().await? else {
        return Ok(());
    };
    let own = store::stored_by(config);
    let elsewhere = stored.by.as_ref().filter(|by| by.source != own.source);
    let (Some(by), Some(gtids), true) = (elsewhere, &stored.position().gtids, server.facts().gtids)
    else {
        return Ok(());
    };
    if stored.server_uuid == server.facts().server_uuid || server.shares_history(gtids).await? {
        return Ok(());
    }
    Err(CommandError::configuration(format!(
        "checkpoint {} is of an evictd of the same name that reads {}, and {} has none of the transactions \
         that were read there ({gtids}): give each source a `name` and a checkpoint.key of its own, or this \
         one the other's source.url; if that source is gone and this one takes its place, name where to \
         begin with `evictd checkpoint set P`",
        store::place(config),
        by.source,
        own.source,
    )))
}

/// Says so if a process that begins to stand by has nothing to go on from.
pub(super) fn warn_without(config: &Config) {
    if let CheckpointConfig::File { path } = &config.checkpoint {
        tracing::warn!(
            checkpoint = %path.display(),
            "this standby has no stored position, since the leader's is in a file elsewhere: taking over will be a gap; set checkpoint.store = \"redis\" on all machines"
        );
    }
}
