//! The checkpoint in Redis, for several machines.
//!
//! It is a hash at one key with two fields: the epoch of the latest leader, and
//! the position that it or one before it stored. Scripts change the hash, so that
//! a leader whose epoch is over stores nothing.

use redis::{Cmd, FromRedisValue};

use super::contract::{Checkpoint, CheckpointError, Stored, StoredBy};
use crate::redis::connection::Connection;
use crate::redis::{RedisTarget, RequestError};
use crate::telemetry::metric;

const BEGIN_EPOCH: &str = include_str!("begin_epoch.lua");
const STORE: &str = include_str!("store.lua");

/// Lets a script write a few bytes though memory is full (Redis manual, "Script
/// flags", from 7.0 on). Earlier servers do not understand the line.
const ALLOW_OOM: &str = "#!lua flags=allow-oom\n";

/// A checkpoint at one key of a server, a cluster or a primary that sentinels
/// know.
///
/// Every call is atomic in Redis. One that failed may have taken effect, and may
/// be repeated.
pub struct RedisCheckpoint {
    connection: Connection,
    key: String,
    epoch: u64,
    by: Option<StoredBy>,
    /// The line before each script.
    flags: &'static str,
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
            by: None,
            flags: ALLOW_OOM,
        })
    }

    /// What it stores from now on is `by` this evictd.
    #[must_use]
    pub fn by(mut self, by: StoredBy) -> Self {
        self.by = Some(by);
        self
    }

    /// Begins an epoch, `floor` or later, and returns the stored position.
    pub async fn lead(&mut self, floor: u64) -> Result<Option<Stored>, CheckpointError> {
        let floor = floor.to_string();
        let (epoch, value, _): (u64, Option<Vec<u8>>, bool) =
            self.script(BEGIN_EPOCH, &[floor.as_bytes()]).await?;
        self.epoch = epoch;
        self.parse(value)
    }

    /// Begins an epoch without reading what is stored. Returns whether that was
    /// not a checkpoint, and is removed.
    pub async fn lead_anew(&mut self, floor: u64) -> Result<bool, CheckpointError> {
        let floor = floor.to_string();
        let (epoch, _, removed): (u64, Option<Vec<u8>>, bool) = self
            .script(BEGIN_EPOCH, &[floor.as_bytes(), b"anew"])
            .await?;
        self.epoch = epoch;
        Ok(removed)
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

    /// The stored value. An empty one is none: it is what `clear` leaves.
    async fn value(&mut self) -> Result<Option<Vec<u8>>, CheckpointError> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.key).arg("value").arg("epoch");
        let (value, epoch): (Option<Vec<u8>>, Option<Vec<u8>>) = self.run(command).await?;
        if value.is_none() && epoch.is_none() {
            let mut command = redis::cmd("HLEN");
            command.arg(&self.key);
            if self.run::<u64>(command).await? > 0 {
                return Err(self.something_else().await);
            }
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Stores a value, unless a later epoch is there.
    async fn write(&mut self, value: &[u8]) -> Result<(), CheckpointError> {
        let epoch = self.epoch.to_string();
        let (stored, found): (bool, Option<String>) =
            self.script(STORE, &[epoch.as_bytes(), value]).await?;
        let found_epoch = found.as_ref().and_then(|found| found.parse().ok());
        match found_epoch {
            Some(by) if !stored => {
                return Err(CheckpointError::Superseded {
                    place: self.place(),
                    epoch: self.epoch,
                    by,
                });
            }
            Some(epoch) if epoch == self.epoch => return Ok(()),
            _ => {}
        }
        // This epoch was begun there and is gone: the key was flushed, evicted or
        // overwritten, or the server that answers now never received it. Nothing
        // is lost while a leader knows the position.
        metrics::counter!(metric::CHECKPOINTS_LOST).increment(1);
        tracing::error!(
            place = self.place(),
            epoch = self.epoch,
            found,
            "the stored position was lost, and is stored anew; had evictd ended before, this would be a gap: see that nothing flushes, evicts or overwrites the key"
        );
        Ok(())
    }

    fn parse(&self, value: Option<Vec<u8>>) -> Result<Option<Stored>, CheckpointError> {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let refused = |reason| CheckpointError::Refused {
            place: self.place(),
            reason: format!(
                "what is there cannot be understood: {reason}; evictd checkpoint set P replaces it"
            ),
        };
        Stored::parse(&value, || self.place(), refused).map(Some)
    }

    /// Runs a script on the key. The text is sent whole each time: it is short, is
    /// sent a few times a second, and no server has to know it.
    async fn script<T: FromRedisValue>(
        &mut self,
        text: &str,
        args: &[&[u8]],
    ) -> Result<T, CheckpointError> {
        let answer = self.eval(self.flags, text, args).await;
        let refused = |error: &CheckpointError| error.to_string().contains("(server-error)");
        if self.flags.is_empty() || !answer.as_ref().is_err_and(refused) {
            return answer;
        }
        // Servers differ in what they say of a line that they do not understand.
        let plain = self.eval("", text, args).await;
        if plain.is_ok() {
            self.flags = "";
        }
        plain
    }

    async fn eval<T: FromRedisValue>(
        &mut self,
        flags: &str,
        text: &str,
        args: &[&[u8]],
    ) -> Result<T, CheckpointError> {
        let mut command = redis::cmd("EVAL");
        command.arg([flags, text].concat());
        command.arg(1).arg(&self.key).arg(args);
        self.run(command).await
    }

    async fn run<T: FromRedisValue>(&mut self, command: Cmd) -> Result<T, CheckpointError> {
        let answer = match self.connection.run_one(command).await {
            Ok(answer) => {
                T::from_redis_value(answer).map_err(|error| self.connection.failed(&error.into()))
            }
            Err(error) => Err(error),
        };
        match answer {
            Err(error) if error.to_string().contains("WRONGTYPE") => {
                Err(self.something_else().await)
            }
            answer => answer.map_err(|error| self.failed(&error)),
        }
    }

    /// Says what is at the key, which is not a checkpoint.
    async fn something_else(&mut self) -> CheckpointError {
        let mut command = redis::cmd("TYPE");
        command.arg(&self.key);
        // An account that may not ask need not.
        let kind = self.connection.run_one(command).await.ok();
        let kind = kind.and_then(|kind| String::from_redis_value(kind).ok());
        let found = match kind.as_deref() {
            Some("hash") => "a hash with other fields".to_owned(),
            Some(kind @ ("string" | "list" | "set" | "zset" | "stream")) => format!("a {kind}"),
            _ => "a value of another type".to_owned(),
        };
        CheckpointError::Refused {
            place: self.place(),
            reason: format!(
                "the key holds {found}, which is not a checkpoint: name another checkpoint.key, or remove what is there \
                 with `evictd checkpoint clear`"
            ),
        }
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
            by: self.by.clone(),
            ..stored.clone()
        };
        let value = serde_json::to_vec(&stored).map_err(|error| CheckpointError::Refused {
            place: self.place(),
            reason: error.to_string(),
        })?;
        self.write(&value).await
    }
}
