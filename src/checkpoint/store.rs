//! The checkpoint in one of its stores, as the configuration says.

use std::path::PathBuf;

use super::contract::{Checkpoint, CheckpointError, Stored, StoredBy};
use super::file::FileCheckpoint;
use super::redis::RedisCheckpoint;
use crate::redis::{RedisTarget, RequestError};

/// A checkpoint in a file or in Redis.
#[derive(Debug)]
pub enum CheckpointStore {
    /// In a file of this machine.
    File(FileCheckpoint),
    /// At a key in Redis.
    Redis(RedisCheckpoint),
}

impl CheckpointStore {
    /// A checkpoint in the file at `path`.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(FileCheckpoint::new(path))
    }

    /// A checkpoint at `key` in Redis.
    ///
    /// # Errors
    ///
    /// The target's URL or files cannot be used.
    pub fn redis(target: &RedisTarget, key: &str) -> Result<Self, RequestError> {
        RedisCheckpoint::new(target, key).map(Self::Redis)
    }

    /// What it stores from now on is `by` this evictd.
    #[must_use]
    pub fn by(self, by: StoredBy) -> Self {
        match self {
            Self::File(file) => Self::File(file.by(by)),
            Self::Redis(redis) => Self::Redis(redis.by(by)),
        }
    }

    /// Prepares to write. A file is locked, so that only this process writes to
    /// it; a key in Redis cannot be, and its epochs tell writers apart.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Held`] if another process has locked the file.
    pub fn lock(self) -> Result<Self, CheckpointError> {
        match self {
            Self::File(file) => file.lock().map(Self::File),
            Self::Redis(redis) => Ok(Self::Redis(redis)),
        }
    }

    /// Begins an epoch, `floor` or later, and returns the stored position.
    pub async fn lead(&mut self, floor: u64) -> Result<Option<Stored>, CheckpointError> {
        match self {
            Self::File(file) => file.lead(floor).await,
            Self::Redis(redis) => redis.lead(floor).await,
        }
    }

    /// Begins an epoch for a position that replaces whatever is stored. Returns
    /// whether that was not a checkpoint, and is removed.
    pub async fn lead_anew(&mut self, floor: u64) -> Result<bool, CheckpointError> {
        match self {
            Self::File(file) => {
                file.lead_anew(floor).await;
                Ok(false)
            }
            Self::Redis(redis) => redis.lead_anew(floor).await,
        }
    }

    /// The epoch that was begun; 0 before.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::File(file) => file.epoch(),
            Self::Redis(redis) => redis.epoch(),
        }
    }

    /// Removes the stored position; `false` if there was none.
    pub async fn clear(&mut self) -> Result<bool, CheckpointError> {
        match self {
            Self::File(file) => file.clear().await,
            Self::Redis(redis) => redis.clear().await,
        }
    }
}

impl Checkpoint for CheckpointStore {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        match self {
            Self::File(file) => file.load().await,
            Self::Redis(redis) => redis.load().await,
        }
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        match self {
            Self::File(file) => file.store(stored).await,
            Self::Redis(redis) => redis.store(stored).await,
        }
    }
}
