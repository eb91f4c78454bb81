//! Keys found and deleted by glob.

use std::collections::HashSet;

use redis::FromRedisValue;
use tokio::time::Instant;

use super::outcome::{CacheError, Outcome, Refused};
use super::pace::Pace;
use super::{guard, unlink};
use crate::model::{GuardPattern, KeySet};
use crate::redis::address::Address;
use crate::redis::connection::{Connection, Keyspace};

/// Refused keys that are listed one by one (Bounded).
const REFUSED_MAX: usize = 1_000;

/// Deletes every key that matches `glob` and is not a guard.
///
/// Without a primary, the others are scanned all the same, and then the call
/// fails. `again` says that it did so before.
pub(super) async fn delete_matching(
    connection: &mut Connection,
    guards: &[GuardPattern],
    glob: &[u8],
    again: bool,
) -> Result<Outcome, CacheError> {
    let mut outcome = Outcome::default();
    // An account that may touch the keys that the glob matches may most likely
    // touch the key whose name is the text of the glob.
    let mut sweep = Sweep::begin(connection, glob, glob, again).await?;
    loop {
        let Some(mut found) = sweep.next(connection).await? else {
            return Ok(outcome);
        };
        guard::spare(connection, guards, &mut found).await?;
        let mut keys = KeySet::default();
        for key in &found {
            keys.insert(key);
        }
        if keys.is_empty() {
            continue;
        }
        sweep.pace.trip();
        let mut deleted = unlink::delete(connection, &[keys.keys()]).await?;
        if let Some(unfinished) = deleted.unfinished.take() {
            sweep.before.failure = Some(unfinished.error);
        }
        outcome.add(deleted);
        shorten(&mut outcome.refused, glob);
    }
}

/// A scan of all keys that match a glob.
///
/// SCAN returns every key that exists from its beginning to its end, some keys
/// twice (Redis manual, "Scan guarantees"). In a cluster, a key can move from a
/// primary that was not scanned yet to one that was. A second pass over all
/// primaries begins when the first has ended, and finds every key that moved
/// once. So passes are repeated until one saw no slot move, or until the slots
/// that moved during a pass had not moved during an earlier one.
pub(super) struct Sweep {
    glob: Vec<u8>,
    /// A key that may be deleted, to find out whether the server takes writes.
    spare_key: Vec<u8>,
    /// The keyspace when the pass began.
    before: Keyspace,
    /// The index of the primary that comes next, and the cursor in it.
    primary: usize,
    cursor: u64,
    pass: u64,
    moved: HashSet<u16>,
    pace: Pace,
}

impl Sweep {
    /// Begins a scan; one that failed `again` only once all primaries answer.
    pub(super) async fn begin(
        connection: &mut Connection,
        glob: &[u8],
        spare_key: &[u8],
        again: bool,
    ) -> Result<Self, CacheError> {
        let mut before = connection.keyspace().await?;
        if let Some(failure) = before.failure.take_if(|_| again) {
            return Err(failure);
        }
        Ok(Self {
            glob: glob.to_vec(),
            spare_key: spare_key.to_vec(),
            before,
            primary: 0,
            cursor: 0,
            pass: 1,
            moved: HashSet::new(),
            pace: Pace::new(),
        })
    }

    /// Some of the keys, or an empty list; `None` at the end.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Vec<Vec<u8>>>, CacheError> {
        tokio::time::sleep(self.pace.end()).await;
        if self.before.primaries.get(self.primary).is_none() && !self.again(connection).await? {
            return Ok(None);
        }
        let Some(primary) = self.before.primaries.get(self.primary) else {
            return Ok(None);
        };
        let (glob, pace) = (&self.glob, &mut self.pace);
        let page = page(connection, primary, glob, self.cursor, pace).await;
        let (next, found) = page.unwrap_or_else(|failure| {
            self.before.failure = Some(failure);
            (0, Vec::new())
        });
        self.cursor = next;
        self.primary += usize::from(next == 0);
        Ok(Some(found))
    }

    /// Ends a pass, and begins another one if keys may have been missed.
    async fn again(&mut self, connection: &mut Connection) -> Result<bool, CacheError> {
        if let Some(failure) = self.before.failure.take() {
            return Err(failure);
        }
        let mut after = connection.keyspace().await?;
        if let Some(failure) = after.failure.take() {
            return Err(failure);
        }
        let moving = moved_in_between(&self.before, &after);
        let quiet = moving.is_empty() && !self.before.moving && !after.moving;
        if quiet || self.pass > 1 && self.moved.is_disjoint(&moving) {
            take_writes(connection, &self.spare_key).await?;
            connection.scanned();
            return Ok(false);
        }
        tracing::info!(
            glob = %String::from_utf8_lossy(&self.glob),
            pass = self.pass,
            slots_moved = moving.len(),
            "slots of the cluster moved: its keys are scanned again"
        );
        self.moved.extend(moving);
        self.before = after;
        self.primary = 0;
        self.pass += 1;
        Ok(true)
    }
}

/// Fails if the scanned server is a replica by now: a replica answers SCAN, too,
/// and may be far behind.
async fn take_writes(connection: &mut Connection, spare_key: &[u8]) -> Result<(), CacheError> {
    let mut keys = KeySet::default();
    keys.insert(spare_key);
    // A replica answers READONLY, which fails the call. A refusal does not.
    unlink::delete(connection, &[keys.keys()])
        .await?
        .whole()
        .map(drop)
}

async fn page(
    connection: &mut Connection,
    primary: &Address,
    glob: &[u8],
    cursor: u64,
    pace: &mut Pace,
) -> Result<(u64, Vec<Vec<u8>>), CacheError> {
    let asked_at = Instant::now();
    connection.run_at(primary, redis::cmd("PING")).await?;
    pace.begin(asked_at.elapsed());
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(glob);
    let scanned = connection.scan_at(primary, scan, pace.count()).await?;
    FromRedisValue::from_redis_value(scanned).map_err(|error| connection.failed(&error.into()))
}

fn moved_in_between(before: &Keyspace, after: &Keyspace) -> HashSet<u16> {
    match (&before.topology, &after.topology) {
        (Some(before), Some(after)) => after.moved_since(before).collect(),
        _ => HashSet::new(),
    }
}

/// Lets the glob stand for all refused keys but the first ones.
fn shorten(refused: &mut Vec<Refused>, glob: &[u8]) {
    if refused.len() > REFUSED_MAX {
        refused.truncate(REFUSED_MAX);
        if let Some(last) = refused.last_mut() {
            last.key = glob.to_vec();
        }
    }
}
