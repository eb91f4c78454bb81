//! The checkpoint in Redis, for several machines.
//!
//! It is a hash at one key with two fields: the epoch of the latest leader, and
//! the position that it or one before it stored. Scripts change the hash, so that
//! a leader whose epoch is over stores nothing.

use redis::{Cmd, FromRedisValue};

use super::contract::{Checkpoint, CheckpointError, Stored};
use crate::redis::connection::Connection;
use crate::redis::{RedisTarget, RequestError};
use crate::telemetry::metric;

const BEGIN_EPOCH: &str = include_str!("begin_epoch.lua");
const STORE: &str = include_str!("store.lua");

/// A checkpoint at one key of a server, a cluster or a primary that sentinels
/// know.
///
/// Every call is atomic in Redis. One that failed may have taken effect, and may
/// be repeated.
pub struct RedisCheckpoint {
    connection: Connection,
    key: String,
    epoch: u64,
}

impl std::fmt::Debug for RedisCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The connection holds the password.
        f.debug_struct("RedisCheckpoint")
            .field("place", &self.place())
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl RedisCheckpoint {
    /// Prepares connections to `target`. The key is used without a prefix.
    ///
    /// # Errors
    ///
    /// The target's URL or files cannot be used.
    pub fn new(target: &RedisTarget, key: &str) -> Result<Self, RequestError> {
        Ok(Self {
            connection: Connection::new(target)?,
            key: key.to_owned(),
            epoch: 0,
        })
    }

    /// Begins an epoch, `floor` or later, and returns the stored position.
    pub async fn lead(&mut self, floor: u64) -> Result<Option<Stored>, CheckpointError> {
        let value = self.begin_epoch(floor).await?;
        self.parse(value)
    }

    /// Begins an epoch without reading what is stored, which need not be a
    /// checkpoint.
    pub async fn lead_anew(&mut self, floor: u64) -> Result<(), CheckpointError> {
        self.begin_epoch(floor).await.map(drop)
    }

    /// The epoch that was begun; 0 before.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Removes the stored position; `false` if there was none. The epoch stays,
    /// so that earlier leaders still store nothing. An epoch has to be begun
    /// before.
    pub async fn clear(&mut self) -> Result<bool, CheckpointError> {
        if self.value().await?.is_none() {
            return Ok(false);
        }
        self.write(&[]).await?;
        Ok(true)
    }

    /// The stored value. An empty one counts as none: it is what `clear` leaves.
    async fn value(&mut self) -> Result<Option<Vec<u8>>, CheckpointError> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.key).arg("epoch").arg("value");
        let (epoch, value): (Option<u64>, Option<Vec<u8>>) = self.run(command).await?;
        Ok(value.filter(|value| epoch.is_some() && !value.is_empty()))
    }

    /// Raises the epoch above the stored one, and to `floor` at least. Returns
    /// the stored value.
    async fn begin_epoch(&mut self, floor: u64) -> Result<Option<Vec<u8>>, CheckpointError> {
        let mut command = self.script(BEGIN_EPOCH);
        command.arg(floor);
        let (epoch, value): (u64, Option<Vec<u8>>) = self.run(command).await?;
        self.epoch = epoch;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Stores a value, unless a later epoch is there.
    async fn write(&mut self, value: &[u8]) -> Result<(), CheckpointError> {
        let mut command = self.script(STORE);
        command.arg(self.epoch).arg(value);
        let (stored, found): (bool, Option<u64>) = self.run(command).await?;
        match found {
            Some(by) if !stored => {
                return Err(CheckpointError::Superseded {
                    place: self.place(),
                    epoch: self.epoch,
                    by,
                });
            }
            Some(found) if found == self.epoch => return Ok(()),
            _ => {}
        }
        // This epoch was begun there and is gone: the key was flushed or evicted,
        // or the server that answers now never received it. Nothing is lost while
        // a leader knows the position.
        metrics::counter!(metric::CHECKPOINTS_LOST).increment(1);
        tracing::error!(
            place = self.place(),
            epoch = self.epoch,
            found,
            "the stored position was lost, and is stored anew; had evictd ended before, this would be a gap: see that nothing flushes or evicts the key"
        );
        Ok(())
    }

    fn parse(&self, value: Option<Vec<u8>>) -> Result<Option<Stored>, CheckpointError> {
        let Some(value) = value else { return Ok(None) };
        let stored = Stored::parse(&value).map_err(|reason| CheckpointError::Refused {
            place: self.place(),
            reason: format!(
                "what is there cannot be understood: {reason}; evictd checkpoint set P replaces it"
            ),
        })?;
        Ok(Some(stored))
    }

    /// A command that runs a script on the key. The text is sent whole each time:
    /// it is short, is sent a few times a second, and no server has to know it.
    fn script(&self, text: &str) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(1).arg(&self.key);
        command
    }

    async fn run<T: FromRedisValue>(&mut self, command: Cmd) -> Result<T, CheckpointError> {
        let answer = match self.connection.run_one(command).await {
            Ok(answer) => {
                T::from_redis_value(answer).map_err(|error| self.connection.failed(&error.into()))
            }
            Err(error) => Err(error),
        };
        answer.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &RequestError) -> CheckpointError {
        let (place, reason) = (self.place(), error.to_string());
        match error {
            RequestError::Unavailable { .. } | RequestError::NoToken { .. } => {
                CheckpointError::Unavailable { place, reason }
            }
            RequestError::Refused { .. } => CheckpointError::Refused { place, reason },
        }
    }

    fn place(&self) -> String {
        format!("{} in Redis at {}", self.key, self.connection)
    }
}

impl Checkpoint for RedisCheckpoint {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        let value = self.value().await?;
        self.parse(value)
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        let stored = Stored {
            epoch: self.epoch,
            ..stored.clone()
        };
        let value = serde_json::to_vec(&stored).map_err(|error| CheckpointError::Refused {
            place: self.place(),
            reason: error.to_string(),
        })?;
        self.write(&value).await
    }
}
