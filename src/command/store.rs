//! Where the checkpoint is: the configured store, behind one type.

use super::{CommandError, preflight};
use crate::cache::CacheError;
use crate::checkpoint::redis::{Held, Register, Written};
use crate::checkpoint::{Checkpoint, CheckpointError, FileCheckpoint, RegisterCheckpoint, Stored};
use crate::config::{self, Config};
use crate::redis::RedisRegister;

/// The configured store.
#[derive(Debug)]
pub(super) enum CheckpointStore {
    File(FileCheckpoint),
    Redis(RegisterCheckpoint<InRedis>),
}

impl CheckpointStore {
    /// Opens it to be read.
    pub(super) fn new(config: &Config) -> Result<Self, CommandError> {
        Ok(match &config.checkpoint {
            config::CheckpointConfig::File { path } => {
                CheckpointStore::File(FileCheckpoint::new(path))
            }
            config::CheckpointConfig::Redis { key } => {
                let register = RedisRegister::new(&preflight::redis_target(&config.redis)?, key)?;
                CheckpointStore::Redis(RegisterCheckpoint::new(InRedis(register)))
            }
        })
    }

    /// Opens it to be written. A file is kept to this process from now on;
    /// others cannot be, and tell epochs apart.
    pub(super) fn locked(config: &Config) -> Result<Self, CommandError> {
        Ok(match CheckpointStore::new(config)? {
            CheckpointStore::File(file) => CheckpointStore::File(file.lock()?),
            redis @ CheckpointStore::Redis(_) => redis,
        })
    }

    /// Begins an epoch, `floor` or later, and says what is stored.
    pub(super) async fn lead(&mut self, floor: u64) -> Result<Option<Stored>, CheckpointError> {
        match self {
            CheckpointStore::File(file) => file.lead(floor).await,
            CheckpointStore::Redis(register) => register.lead(floor).await,
        }
    }

    /// The same for a position that replaces whatever is stored.
    pub(super) async fn lead_anew(&mut self, floor: u64) -> Result<(), CheckpointError> {
        match self {
            CheckpointStore::File(file) => {
                let before = file.load().await.ok().flatten();
                let after = before.map_or(0, |stored| stored.epoch.saturating_add(1));
                file.lead_anew(floor.max(after));
                Ok(())
            }
            CheckpointStore::Redis(register) => register.lead_anew(floor).await,
        }
    }

    /// The epoch that was begun; 0 before.
    pub(super) fn epoch(&self) -> u64 {
        match self {
            CheckpointStore::File(file) => file.epoch(),
            CheckpointStore::Redis(register) => register.epoch(),
        }
    }

    /// Removes the stored position; false if there was none.
    pub(super) async fn clear(&mut self) -> Result<bool, CheckpointError> {
        match self {
            CheckpointStore::File(file) => file.clear().await,
            CheckpointStore::Redis(register) => register.clear().await,
        }
    }
}

impl Checkpoint for CheckpointStore {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        match self {
            CheckpointStore::File(file) => file.load().await,
            CheckpointStore::Redis(register) => register.load().await,
        }
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        match self {
            CheckpointStore::File(file) => file.store(stored).await,
            CheckpointStore::Redis(register) => register.store(stored).await,
        }
    }
}

/// Where the checkpoint of `config` is, for messages.
pub(super) fn place(config: &Config) -> String {
    match &config.checkpoint {
        config::CheckpointConfig::File { path } => path.display().to_string(),
        config::CheckpointConfig::Redis { key } => match config.redis.url.host_str() {
            Some(host) => format!("{key} in Redis at {host}"),
            None => format!("{key} in Redis"),
        },
    }
}

/// What a start without a stored position means.
pub(super) fn without_one(config: &Config) -> String {
    match config.checkpoint {
        config::CheckpointConfig::File { .. } => {
            format!(
                "`evictd run` begins at source.start ({})",
                config.source.start
            )
        }
        config::CheckpointConfig::Redis { .. } => "`evictd run` takes it as lost, which is a gap \
             (source.on_gap); set one to begin there"
            .to_owned(),
    }
}

/// The cache's client, as the register that the checkpoint asks for.
#[derive(Debug)]
pub(super) struct InRedis(RedisRegister);

impl InRedis {
    fn failed(&self, error: &CacheError) -> CheckpointError {
        let (place, reason) = (self.0.place(), error.to_string());
        match error {
            CacheError::Unavailable { .. } | CacheError::NoToken { .. } => {
                CheckpointError::Unavailable { place, reason }
            }
            CacheError::Refused { .. } => CheckpointError::Refused { place, reason },
        }
    }
}

impl Register for InRedis {
    fn place(&self) -> String {
        self.0.place()
    }

    async fn read(&mut self) -> Result<Option<Held>, CheckpointError> {
        let entry = self.0.read().await.map_err(|error| self.failed(&error))?;
        Ok(entry.map(|(epoch, value)| Held { epoch, value }))
    }

    async fn take(&mut self, floor: u64) -> Result<Held, CheckpointError> {
        let entry = self.0.take(floor).await;
        let (epoch, value) = entry.map_err(|error| self.failed(&error))?;
        Ok(Held { epoch, value })
    }

    async fn write(&mut self, epoch: u64, value: &[u8]) -> Result<Written, CheckpointError> {
        let answer = self.0.write(epoch, value).await;
        Ok(match answer.map_err(|error| self.failed(&error))? {
            (false, Some(by)) => Written::Refused(by),
            (_, before) => Written::Over(before),
        })
    }
}
