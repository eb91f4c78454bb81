//! Commands about one key each, and the keys that Redis refuses.

use redis::{Cmd, FromRedisValue, RedisError};

use super::outcome::{CacheError, Outcome, Refused};
use crate::redis::connection::Connection;
use crate::redis::error;

/// Runs commands, one for each of `keys`, and collects the keys that are refused
/// and those whose command failed.
pub(super) async fn unless_refused(
    connection: &mut Connection,
    commands: Vec<Cmd>,
    keys: &[&[u8]],
) -> Result<Outcome, CacheError> {
    let mut outcome = Outcome::default();
    if commands.is_empty() {
        return Ok(outcome);
    }
    let answers = connection.run_each(commands).await?;
    let mut failed = Vec::new();
    for (key, answer) in keys.iter().zip(answers.replies) {
        match answer {
            Some(Ok(value)) => outcome.existed += u64::from_redis_value(value).unwrap_or(0),
            Some(Err(error)) => outcome.refused.push(refused(connection, key, &error)?),
            None => failed.push(key.to_vec()),
        }
    }
    outcome.unfinished(failed, answers.failure);
    Ok(outcome)
}

/// The fault in the key of the command that `error` answers.
///
/// # Errors
///
/// The error says nothing of the key, so that the call has failed.
pub(super) fn refused(
    connection: &mut Connection,
    key: &[u8],
    error: &RedisError,
) -> Result<Refused, CacheError> {
    match error::refusal(error) {
        Some(code) => Ok(Refused {
            key: key.to_vec(),
            code,
            reason: error.to_string(),
        }),
        None => Err(connection.failed(error)),
    }
}
