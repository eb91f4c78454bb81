//! Deletions in one Redis server.

mod connection;
mod error;
mod scan;
mod unlink;

use self::connection::Connection;
use super::{Cache, CacheError};
use crate::model::KeySet;

/// One Redis server.
pub struct Redis {
    connection: Connection,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The connection holds the password.
        f.debug_struct("Redis")
            .field("address", &self.connection.address())
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Prepares connections to `url`, which holds no password.
    pub fn new(url: &str, password: Option<&str>) -> Result<Self, CacheError> {
        Ok(Self {
            connection: Connection::new(url, password)?,
        })
    }

    /// Another connection to the same server, not made yet.
    pub fn another(&self) -> Self {
        Self {
            connection: self.connection.another(),
        }
    }

    /// Asks the server whether it is there and may be used.
    pub async fn check(&mut self) -> Result<(), CacheError> {
        self.connection.run_one(redis::cmd("PING")).await.map(drop)
    }
}

impl Cache for Redis {
    async fn delete(&mut self, keys: &[&KeySet]) -> Result<u64, CacheError> {
        unlink::delete(&mut self.connection, keys).await
    }

    async fn increment(&mut self, key: &[u8]) -> Result<(), CacheError> {
        let mut command = redis::cmd("INCR");
        command.arg(key);
        self.connection.run_one(command).await.map(drop)
    }

    async fn delete_matching(&mut self, glob: &[u8]) -> Result<u64, CacheError> {
        scan::delete_matching(&mut self.connection, glob).await
    }
}
