//! Deletions in Redis.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::contract::Cache;
use super::outcome::{CacheError, Outcome};
use super::permissions::{MemoryPolicy, Permissions};
use super::refusal::unless_refused;
use super::run::{self, ServerRun};
use super::scan::Sweep;
use super::steps::{FoundKeys, MemberRemoval, ScanPlace, TagScan, TagStep};
use super::{acl, guard, hash, scan, tag_sets, unlink};
use crate::model::{CacheUses, GuardPattern, Guards, KeyList, PairSet};
use crate::redis::RedisTarget;
use crate::redis::connection::Connection;

/// Redis: one server, a cluster, or a primary that sentinels know.
pub struct Redis {
    connection: Connection,
    /// Keys that deletions by glob leave alone.
    guards: Arc<[GuardPattern]>,
    /// The scan of [`Cache::find_keys`] that is in progress.
    sweep: Option<Sweep>,
    /// Globs whose last scan failed.
    unfinished: BTreeSet<Vec<u8>>,
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
    pub fn new(target: &RedisTarget) -> Result<Self, CacheError> {
        Ok(Self {
            connection: Connection::new(target)?,
            guards: Arc::default(),
            sweep: None,
            unfinished: BTreeSet::new(),
        })
    }

    /// Lets deletions by glob spare guards. The patterns that hold when a deletion
    /// begins count.
    pub fn sparing(mut self, guards: Arc<[GuardPattern]>) -> Self {
        self.guards = guards;
        self
    }

    /// The same cache over other connections, which are not made yet.
    pub fn another(&self) -> Self {
        Self {
            connection: self.connection.another(),
            guards: Arc::clone(&self.guards),
            sweep: None,
            unfinished: BTreeSet::new(),
        }
    }

    /// The same for those who try again what failed, whom nobody waits for.
    pub fn insisting(&self) -> Self {
        Self {
            connection: self.connection.insisting(),
            ..self.another()
        }
    }

    /// Checks that Redis answers, may be used, and has the configured layout.
    pub async fn check(&mut self) -> Result<(), CacheError> {
        self.connection.check().await
    }

    /// Asks whether the account may do what it is needed for. Changes nothing.
    pub async fn permissions(&mut self, uses: &CacheUses) -> Result<Permissions, CacheError> {
        acl::check(&mut self.connection, uses).await
    }

    /// The policy of one of the servers for a full memory, if it tells.
    pub async fn memory_policy(&mut self) -> Result<Option<MemoryPolicy>, CacheError> {
        acl::memory(&mut self.connection).await
    }
}

impl Cache for Redis {
    async fn delete(&mut self, keys: &[&KeyList]) -> Result<Outcome, CacheError> {
        unlink::delete(&mut self.connection, keys).await
    }

    async fn increment(&mut self, key: &[u8]) -> Result<Outcome, CacheError> {
        let mut command = redis::cmd("INCR");
        command.arg(key);
        let mut outcome = unless_refused(&mut self.connection, vec![command], &[key]).await?;
        outcome.existed = 0;
        Ok(outcome)
    }

    async fn delete_matching(&mut self, glob: &[u8]) -> Result<Outcome, CacheError> {
        let again = self.unfinished.remove(glob);
        let deleted = scan::delete_matching(&mut self.connection, &self.guards, glob, again).await;
        if deleted.is_err() {
            self.unfinished.insert(glob.to_vec());
        }
        deleted
    }

    async fn delete_guarded(
        &mut self,
        guards: &Guards,
        keys: &[&KeyList],
    ) -> Result<Outcome, CacheError> {
        guard::raise_and_delete(&mut self.connection, guards, keys).await
    }

    async fn delete_fields(&mut self, fields: &PairSet) -> Result<Outcome, CacheError> {
        hash::delete(&mut self.connection, fields).await
    }

    async fn find_keys(&mut self, glob: &[u8], from: ScanPlace) -> Result<FoundKeys, CacheError> {
        // No tag set has this key, which may therefore be deleted.
        let spare_key = [glob, b"\0"].concat();
        let again = self.unfinished.remove(&spare_key);
        let (sweep, connection) = (self.sweep.take(), &mut self.connection);
        let found = async {
            let mut sweep = match (from, sweep) {
                (ScanPlace::Further, Some(sweep)) => sweep,
                _ => Sweep::begin(connection, glob, &spare_key, again).await?,
            };
            let found = sweep.next(connection).await?;
            Ok::<_, CacheError>(found.map(|keys| (keys, sweep)))
        };
        match found.await {
            Ok(Some((keys, sweep))) => {
                self.sweep = Some(sweep);
                let next = Some(ScanPlace::Further);
                Ok(FoundKeys { keys, next })
            }
            Ok(None) => Ok(FoundKeys::default()),
            Err(error) => {
                self.unfinished.insert(spare_key);
                Err(error)
            }
        }
    }

    async fn scan_tag_sets(&mut self, sets: &[TagScan<'_>]) -> Result<Vec<TagStep>, CacheError> {
        tag_sets::scan(&mut self.connection, sets).await
    }

    async fn remove_members(
        &mut self,
        removals: &[MemberRemoval<'_>],
    ) -> Result<Outcome, CacheError> {
        tag_sets::remove_members(&mut self.connection, removals).await
    }

    async fn publish(&mut self, channel: &str, message: &[u8]) -> Result<Outcome, CacheError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message);
        let channel = channel.as_bytes();
        unless_refused(&mut self.connection, vec![command], &[channel]).await
    }

    async fn runs(&mut self) -> Result<Vec<ServerRun>, CacheError> {
        run::runs(&mut self.connection).await
    }
}
