//! The checkpoint that the configuration names.

use super::status::daemon::hash;
use super::{CommandError, preflight};
use crate::checkpoint::{Checkpoint, CheckpointStore, StoredBy};
use crate::config::{CheckpointConfig, Config};
use crate::model::BufferMark;

/// Opens the checkpoint to read it.
pub(super) fn open(config: &Config) -> Result<CheckpointStore, CommandError> {
    let store = match &config.checkpoint {
        CheckpointConfig::File { path } => CheckpointStore::file(path),
        CheckpointConfig::Redis { key } => {
            CheckpointStore::redis(&preflight::redis_target(&config.redis)?, key)?
        }
    };
    Ok(store.by(stored_by(config)))
}

/// The buffer that was in use when the position was stored, and how far it had come.
pub(super) async fn buffer_mark(config: &Config) -> Result<Option<BufferMark>, CommandError> {
    let stored = open(config)?.load().await?;
    Ok(stored.and_then(|stored| stored.buffer))
}

/// How positions name an evictd with this configuration.
pub(super) fn stored_by(config: &Config) -> StoredBy {
    StoredBy {
        name: config.name.clone(),
        source: format!("{}:{}", config.source.host, config.source.port),
        config_sha256: hash(&config.text),
    }
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
