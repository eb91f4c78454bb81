//! Deletions in Redis.
//!
//! - `target`: what to connect to.
//! - `connection`: commands to a server, a cluster, or what sentinels know.
//! - `unlink`, `scan`: deletions of keys by name and by glob.
//! - `guard`, `tags`, `hash`: guards, tag sets and fields of hashes.
//! - `register`: a value that is no cache entry, over the same connections.

mod cluster;
mod connection;
mod error;
mod guard;
mod hash;
mod redirection;
mod register;
mod scan;
mod sentinel;
mod server;
mod slot;
mod tags;
mod target;
mod topology;
mod unlink;

use std::sync::Arc;
use std::time::Instant;

use self::connection::Connection;
pub use self::register::RedisRegister;
use self::scan::Sweep;
pub use self::target::{Layout, Target, TlsFiles};
use super::{Cache, CacheError, Found, Leaving, Outcome, ScanPlace, TagScan, TagStep};
use crate::model::{GuardPattern, Guards, KeySet, PairSet};

/// Redis: one server, a cluster, or a primary that sentinels know.
pub struct Redis {
    connection: Connection,
    /// What deletions by glob leave.
    guards: Arc<[GuardPattern]>,
    /// Where [`Cache::find`] stands.
    sweep: Option<Sweep>,
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
            guards: Arc::default(),
            sweep: None,
        })
    }

    /// Lets deletions by glob leave the guards with such names.
    pub fn sparing(mut self, guards: Vec<GuardPattern>) -> Self {
        self.guards = guards.into();
        self
    }

    /// Other connections to the same, not made yet.
    pub fn another(&self) -> Self {
        Self {
            connection: self.connection.another(),
            guards: Arc::clone(&self.guards),
            sweep: None,
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
        let mut outcome = tags::unless_refused(&mut self.connection, vec![command], &[key]).await?;
        outcome.existed = 0;
        Ok(outcome)
    }

    async fn delete_matching(&mut self, glob: &[u8]) -> Result<Outcome, CacheError> {
        scan::delete_matching(&mut self.connection, &self.guards, glob).await
    }

    async fn delete_guarded(
        &mut self,
        guards: &Guards,
        keys: &[&KeySet],
    ) -> Result<Outcome, CacheError> {
        guard::raise_and_delete(&mut self.connection, guards, keys).await
    }

    async fn delete_fields(&mut self, fields: &PairSet) -> Result<Outcome, CacheError> {
        hash::delete(&mut self.connection, fields).await
    }

    async fn find(&mut self, glob: &[u8], from: ScanPlace) -> Result<Found, CacheError> {
        let asked_at = Instant::now();
        let mut sweep = match (from, self.sweep.take()) {
            (ScanPlace::Further, Some(sweep)) => sweep,
            _ => {
                // No key that a set could have: what is found is only read.
                let spare_key = [glob, b"\0"].concat();
                Sweep::begin(&mut self.connection, glob, &spare_key).await?
            }
        };
        let found = sweep.next(&mut self.connection).await?;
        // Others get at least half of the server's time.
        tokio::time::sleep(asked_at.elapsed()).await;
        let Some(keys) = found else {
            return Ok(Found::default());
        };
        self.sweep = Some(sweep);
        let next = Some(ScanPlace::Further);
        Ok(Found { keys, next })
    }

    async fn scan_tag_sets(&mut self, sets: &[TagScan<'_>]) -> Result<Vec<TagStep>, CacheError> {
        tags::scan(&mut self.connection, sets).await
    }

    async fn take_out(&mut self, leaving: &[Leaving<'_>]) -> Result<Outcome, CacheError> {
        tags::take_out(&mut self.connection, leaving).await
    }

    async fn publish(&mut self, channel: &str, message: &[u8]) -> Result<Outcome, CacheError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message);
        let channel = channel.as_bytes();
        tags::unless_refused(&mut self.connection, vec![command], &[channel]).await
    }
}
