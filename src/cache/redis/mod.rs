//! Deletions in Redis.
//!
//! - `target`: what to connect to.
//! - `connection`: commands to a server, a cluster, or what sentinels know.
//! - `unlink`, `scan`: deletions of keys by name and by glob.

mod cluster;
mod connection;
mod error;
mod redirection;
mod scan;
mod sentinel;
mod server;
mod slot;
mod target;
mod topology;
mod unlink;

use self::connection::Connection;
pub use self::target::{Layout, Target, TlsFiles};
use super::{Cache, CacheError, Outcome, Refused};
use crate::model::KeySet;

/// Redis: one server, a cluster, or a primary that sentinels know.
pub struct Redis {
    connection: Connection,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The connection holds the password.
        f.debug_struct("Redis")
            .field("address", &self.connection.to_string())
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Prepares connections.
    pub fn new(target: &Target) -> Result<Self, CacheError> {
        Ok(Self {
            connection: Connection::new(target)?,
        })
    }

    /// Other connections to the same, not made yet.
    pub fn another(&self) -> Self {
        Self {
            connection: self.connection.another(),
        }
    }

    /// Asks whether it is there, may be used, and is what it is said to be.
    pub async fn check(&mut self) -> Result<(), CacheError> {
        self.connection.check().await
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
