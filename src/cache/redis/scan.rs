//! Deletions of every key that matches a glob.

use std::collections::HashSet;
use std::time::Instant;

use redis::FromRedisValue;

use super::connection::{Connection, Keyspace};
use super::target::Address;
use super::unlink;
use crate::cache::{CacheError, Outcome, Refused};
use crate::model::KeySet;

/// How many keys one SCAN call looks at. It blocks the server for that long.
const SCAN_COUNT: usize = 1_000;

/// How many refused keys are named one by one (Bounded).
const REFUSED_MAX: usize = 1_000;

/// Deletes every key that matches `glob`.
///
/// SCAN returns every key that is there from its beginning to its end, some of
/// them twice (Redis manual, "Scan guarantees"). In a cluster a key can leave a
/// primary before it is found there, for one that was scanned already. A second
/// pass over all primaries begins when the first has ended, and finds every key
/// that moved once; so passes are repeated until one saw no slot moving, or
/// until two saw none that had moved before.
pub(super) async fn delete_matching(
    connection: &mut Connection,
    glob: &[u8],
) -> Result<Outcome, CacheError> {
    let mut outcome = Outcome::default();
    let mut moved: HashSet<u16> = HashSet::new();
    let mut before = connection.keyspace().await?;
    for pass in 1_u64.. {
        for primary in &before.primaries {
            outcome.add(pass_over(connection, primary, glob).await?);
            shorten(&mut outcome.refused, glob);
        }
        let after = connection.keyspace().await?;
        let moving = moved_in_between(&before, &after);
        let quiet = moving.is_empty() && !before.moving && !after.moving;
        if quiet || pass > 1 && moved.is_disjoint(&moving) {
            break;
        }
        tracing::info!(
            glob = %String::from_utf8_lossy(glob),
            pass,
            slots_moved = moving.len(),
            "slots of the cluster move: its keys are scanned again"
        );
        moved.extend(moving);
        before = after;
    }
    take_writes(connection, glob).await?;
    Ok(outcome)
}

/// Fails if what was scanned is a replica by now, which answers SCAN like any
/// other server and may be far behind.
///
/// It deletes the key that is written like the glob, since an account that may
/// touch what the glob matches may most likely touch it.
async fn take_writes(connection: &mut Connection, glob: &[u8]) -> Result<(), CacheError> {
    let mut literally = KeySet::default();
    literally.insert(glob);
    // Refused or not, it is no replica's answer.
    unlink::delete(connection, &[&literally]).await.map(drop)
}

async fn pass_over(
    connection: &mut Connection,
    primary: &Address,
    glob: &[u8],
) -> Result<Outcome, CacheError> {
    let mut outcome = Outcome::default();
    let mut cursor = 0_u64;
    loop {
        let asked_at = Instant::now();
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(glob);
        scan.arg("COUNT").arg(SCAN_COUNT);
        let scanned = connection.run_at(primary, scan).await?;
        let (next, found): (u64, Vec<Vec<u8>>) = FromRedisValue::from_redis_value(scanned)
            .map_err(|error| connection.failed(&error.into()))?;
        let mut keys = KeySet::default();
        found.iter().for_each(|key| {
            keys.insert(key);
        });
        outcome.add(unlink::delete(connection, &[&keys]).await?);
        shorten(&mut outcome.refused, glob);
        if next == 0 {
            return Ok(outcome);
        }
        cursor = next;
        // Others get at least half of the server's time.
        tokio::time::sleep(asked_at.elapsed()).await;
    }
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
