//! Deletions of keys that are known by name.

use redis::{Cmd, FromRedisValue, RedisError};

use super::connection::Connection;
use crate::cache::CacheError;
use crate::model::KeySet;

/// Keys in one UNLINK. Long commands hold up other clients for as long as they
/// run; a thousand keys take well under a millisecond.
const KEYS_PER_COMMAND: usize = 1_000;

/// Deletes all keys, and returns how many existed.
pub(super) async fn delete(
    connection: &mut Connection,
    keys: &[&KeySet],
) -> Result<u64, CacheError> {
    let commands = commands(keys);
    if commands.is_empty() {
        return Ok(0);
    }
    let mut existed = 0;
    for answer in connection.run(commands).await? {
        let count = answer.and_then(|value| Ok(u64::from_redis_value(value)?));
        existed += count.map_err(|error: RedisError| connection.failed(&error))?;
    }
    Ok(existed)
}

/// All keys, in commands of [`KEYS_PER_COMMAND`].
fn commands(keys: &[&KeySet]) -> Vec<Cmd> {
    let mut all = keys.iter().flat_map(|keys| keys.iter()).peekable();
    let mut commands = Vec::new();
    while all.peek().is_some() {
        let mut command = redis::cmd("UNLINK");
        for key in all.by_ref().take(KEYS_PER_COMMAND) {
            command.arg(key);
        }
        commands.push(command);
    }
    commands
}
