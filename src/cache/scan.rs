//! Deletions of every key that matches a glob.

use std::collections::HashSet;
use std::time::Instant;

use redis::FromRedisValue;

use super::outcome::{CacheError, Outcome, Refused};
use super::{guard, unlink};
use crate::model::{GuardPattern, KeySet};
use crate::redis::address::Address;
use crate::redis::connection::{Connection, Keyspace};

/// How many keys one SCAN call looks at. It blocks the server for that long.
const SCAN_COUNT: usize = 1_000;

/// How many refused keys are named one by one (Bounded).
const REFUSED_MAX: usize = 1_000;

/// Deletes every key that matches `glob`, guards left out.
pub(super) async fn delete_matching(
    connection: &mut Connection,
    guards: &[GuardPattern],
    glob: &[u8],
) -> Result<Outcome, CacheError> {
    let mut outcome = Outcome::default();
    // An account that may touch what the glob matches may most likely touch the
    // key that is written like it.
    let mut sweep = Sweep::begin(connection, glob, glob).await?;
    loop {
        let asked_at = Instant::now();
        let Some(mut found) = sweep.next(connection).await? else {
            return Ok(outcome);
        };
        guard::spare(connection, guards, &mut found).await?;
        let mut keys = KeySet::default();
        found.iter().for_each(|key| {
            keys.insert(key);
        });
        outcome.add(unlink::delete(connection, &[keys.keys()]).await?);
        shorten(&mut outcome.refused, glob);
        // Others get at least half of the server's time.
        tokio::time::sleep(asked_at.elapsed()).await;
    }
}

/// A walk through all keys that match a glob.
///
/// SCAN returns every key that is there from its beginning to its end, some of
/// them twice (Redis manual, "Scan guarantees"). In a cluster a key can leave a
/// primary before it is found there, for one that was scanned already. A second
/// pass over all primaries begins when the first has ended, and finds every key
/// that moved once; so passes are repeated until one saw no slot moving, or
/// until two saw none that had moved before.
pub(super) struct Sweep {
    glob: Vec<u8>,
    /// A key that may be deleted, to see whether that can be done.
    spare_key: Vec<u8>,
    /// How the pass found the keyspace.
    before: Keyspace,
    /// Which of its primaries comes next, and where in it.
    primary: usize,
    cursor: u64,
    pass: u64,
    moved: HashSet<u16>,
}

impl Sweep {
    pub(super) async fn begin(
        connection: &mut Connection,
        glob: &[u8],
        spare_key: &[u8],
    ) -> Result<Self, CacheError> {
        Ok(Self {
            glob: glob.to_vec(),
            spare_key: spare_key.to_vec(),
            before: connection.keyspace().await?,
            primary: 0,
            cursor: 0,
            pass: 1,
            moved: HashSet::new(),
        })
    }

    /// Some of the keys, or none; `None` at the end.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Vec<Vec<u8>>>, CacheError> {
        if self.before.primaries.get(self.primary).is_none() && !self.again(connection).await? {
            return Ok(None);
        }
        let Some(primary) = self.before.primaries.get(self.primary) else {
            return Ok(None);
        };
        let (next, found) = page(connection, primary, &self.glob, self.cursor).await?;
        self.cursor = next;
        self.primary += usize::from(next == 0);
        Ok(Some(found))
    }

    /// After a pass: begins another one if keys may have been missed.
    async fn again(&mut self, connection: &mut Connection) -> Result<bool, CacheError> {
        let after = connection.keyspace().await?;
        let moving = moved_in_between(&self.before, &after);
        let quiet = moving.is_empty() && !self.before.moving && !after.moving;
        if quiet || self.pass > 1 && self.moved.is_disjoint(&moving) {
            take_writes(connection, &self.spare_key).await?;
            return Ok(false);
        }
        tracing::info!(
            glob = %String::from_utf8_lossy(&self.glob),
            pass = self.pass,
            slots_moved = moving.len(),
            "slots of the cluster move: its keys are scanned again"
        );
        self.moved.extend(moving);
        self.before = after;
        self.primary = 0;
        self.pass += 1;
        Ok(true)
    }
}

/// Fails if what was scanned is a replica by now, which answers SCAN like any
/// other server and may be far behind.
async fn take_writes(connection: &mut Connection, spare_key: &[u8]) -> Result<(), CacheError> {
    let mut keys = KeySet::default();
    keys.insert(spare_key);
    // Refused or not, it is no replica's answer.
    unlink::delete(connection, &[keys.keys()]).await.map(drop)
}

async fn page(
    connection: &mut Connection,
    primary: &Address,
    glob: &[u8],
    cursor: u64,
) -> Result<(u64, Vec<Vec<u8>>), CacheError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(glob);
    scan.arg("COUNT").arg(SCAN_COUNT);
    let scanned = connection.run_at(primary, scan).await?;
    FromRedisValue::from_redis_value(scanned).map_err(|error| connection.failed(&error.into()))
}

fn moved_in_between(before: &Keyspace, after: &Keyspace) -> HashSet<u16> {
    match (&before.topology, &after.topology) {
        (Some(before), Some(after)) => after.moved_since(before).collect(),
        _ => HashSet::new(),
    }
}

/// Lets the glob stand for all refused keys but the first.
fn shorten(refused: &mut Vec<Refused>, glob: &[u8]) {
    if refused.len() > REFUSED_MAX {
        refused.truncate(REFUSED_MAX);
        if let Some(last) = refused.last_mut() {
            last.key = glob.to_vec();
        }
    }
}
