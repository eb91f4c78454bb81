//! Deletions in one Redis server.

mod connection;
mod error;
mod scan;
mod unlink;

use self::connection::Connection;
use super::{Cache, CacheError, Outcome, Refused};
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
    async fn delete(&mut self, keys: &[&KeySet]) -> Result<Outcome, CacheError> {
        unlink::delete(&mut self.connection, keys).await
    }

    async fn increment(&mut self, key: &[u8]) -> Result<Outcome, CacheError> {
        let mut command = redis::cmd("INCR");
        command.arg(key);
        let mut outcome = Outcome::default();
        for answer in self.connection.run(vec![command]).await? {
            let Err(error) = answer else { continue };
            let Some(code) = error::refusal(&error) else {
                return Err(self.connection.failed(&error));
            };
            outcome.refused.push(Refused {
                key: key.to_vec(),
                code,
                reason: error.to_string(),
            });
        }
        Ok(outcome)
    }

    async fn delete_matching(&mut self, glob: &[u8]) -> Result<Outcome, CacheError> {
        scan::delete_matching(&mut self.connection, glob).await
    }
}
