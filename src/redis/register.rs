//! A value in Redis that knows the epoch it was written in, changed by scripts.
//!
//! It is no part of the cache. It is here because the connections are: a
//! server, a cluster, sentinels, their failovers.

use redis::{Cmd, FromRedisValue, Value};

use super::connection::Connection;
use super::error::RequestError;
use super::target::RedisTarget;

const TAKE: &str = include_str!("take.lua");
const WRITE: &str = include_str!("write.lua");

/// The fields of the hash.
const EPOCH: &str = "epoch";
const VALUE: &str = "value";

/// What it holds: the epoch and the value.
pub type EpochValue = (u64, Option<Vec<u8>>);

/// A hash of an epoch and a value at one key.
pub struct RedisRegister {
    connection: Connection,
    key: String,
}

impl std::fmt::Debug for RedisRegister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

impl RedisRegister {
    /// Prepares connections to `target`. The key is taken as it is.
    pub fn new(target: &RedisTarget, key: &str) -> Result<Self, RequestError> {
        Ok(Self {
            connection: Connection::new(target)?,
            key: key.to_owned(),
        })
    }

    /// Where it is, for messages.
    pub fn place(&self) -> String {
        format!("{} in Redis at {}", self.key, self.connection)
    }

    /// What it holds.
    pub async fn read(&mut self) -> Result<Option<EpochValue>, RequestError> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.key).arg(EPOCH).arg(VALUE);
        let answer = self.connection.run_one(command).await?;
        let (epoch, value): (Option<u64>, Option<Vec<u8>>) = self.parse(answer)?;
        Ok(epoch.map(|epoch| (epoch, value.filter(|value| !value.is_empty()))))
    }

    /// Raises the epoch above the one that is there, and to `floor` at least.
    pub async fn take(&mut self, floor: u64) -> Result<EpochValue, RequestError> {
        let mut command = self.script(TAKE);
        command.arg(floor);
        let answer = self.connection.run_one(command).await?;
        let (epoch, value): (u64, Option<Vec<u8>>) = self.parse(answer)?;
        Ok((epoch, value.filter(|value| !value.is_empty())))
    }

    /// Writes the value unless a later epoch is there: whether it did, and the
    /// epoch that was there. An empty value is none.
    pub async fn write(
        &mut self,
        epoch: u64,
        value: &[u8],
    ) -> Result<(bool, Option<u64>), RequestError> {
        let mut command = self.script(WRITE);
        command.arg(epoch).arg(value);
        let answer = self.connection.run_one(command).await?;
        self.parse(answer)
    }

    /// Sent whole each time: it is short, comes a few times a second, and no
    /// server has to know it.
    fn script(&self, text: &str) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(1).arg(&self.key);
        command
    }

    fn parse<T: FromRedisValue>(&mut self, answer: Value) -> Result<T, RequestError> {
        T::from_redis_value(answer).map_err(|error| self.connection.failed(&error.into()))
    }
}
