//! The checkpoint that the configuration names.

use super::{CommandError, preflight};
use crate::checkpoint::CheckpointStore;
use crate::config::{CheckpointConfig, Config};

/// Opens the checkpoint to read it.
pub(super) fn open(config: &Config) -> Result<CheckpointStore, CommandError> {
    Ok(match &config.checkpoint {
        CheckpointConfig::File { path } => CheckpointStore::file(path),
        CheckpointConfig::Redis { key } => {
            CheckpointStore::redis(&preflight::redis_target(&config.redis)?, key)?
        }
    })
}

/// Opens the checkpoint to write to it. A file is kept to this process from now
/// on.
pub(super) fn open_locked(config: &Config) -> Result<CheckpointStore, CommandError> {
    Ok(open(config)?.lock()?)
}

/// Where the checkpoint is, for messages.
pub(super) fn place(config: &Config) -> String {
    match &config.checkpoint {
        CheckpointConfig::File { path } => path.display().to_string(),
        CheckpointConfig::Redis { key } => match config.redis.url.host_str() {
            Some(host) => format!("{key} in Redis at {host}"),
            None => format!("{key} in Redis"),
        },
    }
}

/// The beginning of `evictd run` without a stored position.
pub(super) fn without_one(config: &Config) -> String {
    match config.checkpoint {
        CheckpointConfig::File { .. } => {
            format!(
                "`evictd run` begins at source.start ({})",
                config.source.start
            )
        }
        CheckpointConfig::Redis { .. } => "`evictd run` takes it as lost, which is a gap \
             (source.on_gap); set one to begin there"
            .to_owned(),
    }
}
