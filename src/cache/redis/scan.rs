//! Deletions of every key that matches a glob.

use std::time::Instant;

use redis::{FromRedisValue, RedisError};

use super::connection::Connection;
use super::{guard, unlink};
use crate::cache::{CacheError, Found, Outcome, Refused, ScanPlace};
use crate::model::{GuardPattern, KeySet};

/// How many keys one SCAN call looks at. It blocks the server for that long.
const SCAN_COUNT: usize = 1_000;

/// How many refused keys are named one by one (Bounded).
const REFUSED_MAX: usize = 1_000;

/// Deletes every key that matches `glob`, guards left out.
///
/// SCAN returns every key that is there from its beginning to its end, some
/// of them twice (Redis manual, "Scan guarantees").
pub(super) async fn delete_matching(
    connection: &mut Connection,
    guards: &[GuardPattern],
    glob: &[u8],
) -> Result<Outcome, CacheError> {
    let mut outcome = Outcome::default();
    let mut cursor = 0_u64;
    loop {
        let asked_at = Instant::now();
        let (next, mut found) = page(connection, glob, cursor).await?;
        guard::spare(connection, guards, &mut found).await?;
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

/// Finds some of the keys that match `glob`.
pub(super) async fn find(
    connection: &mut Connection,
    glob: &[u8],
    from: ScanPlace,
) -> Result<Found, CacheError> {
    let asked_at = Instant::now();
    let (cursor, keys) = page(connection, glob, from.cursor).await?;
    tokio::time::sleep(asked_at.elapsed()).await;
    let next = (cursor != 0).then_some(ScanPlace { cursor });
    Ok(Found { keys, next })
}

async fn page(
    connection: &mut Connection,
    glob: &[u8],
    cursor: u64,
) -> Result<(u64, Vec<Vec<u8>>), CacheError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(glob);
    scan.arg("COUNT").arg(SCAN_COUNT);
    let scanned = connection.run_one(scan).await?;
    FromRedisValue::from_redis_value(scanned)
        .map_err(|error| connection.failed(&RedisError::from(error)))
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
