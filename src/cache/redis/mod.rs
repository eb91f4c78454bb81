//! Deletions in one Redis server.

mod connection;
mod error;
mod guard;
mod hash;
mod scan;
mod tags;
mod unlink;

use std::sync::Arc;

use self::connection::Connection;
use super::{Cache, CacheError, Found, Leaving, Outcome, ScanPlace, TagScan, TagStep};
use crate::model::{GuardPattern, Guards, KeySet, PairSet};

/// One Redis server.
pub struct Redis {
    connection: Connection,
    /// What deletions by glob leave.
    guards: Arc<[GuardPattern]>,
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
            guards: Arc::default(),
        })
    }

    /// Lets deletions by glob leave the guards with such names.
    pub fn sparing(mut self, guards: Vec<GuardPattern>) -> Self {
        self.guards = guards.into();
        self
    }

    /// Another connection to the same server, not made yet.
    pub fn another(&self) -> Self {
        Self {
            connection: self.connection.another(),
            guards: Arc::clone(&self.guards),
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
        scan::find(&mut self.connection, glob, from).await
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
