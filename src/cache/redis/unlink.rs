//! Deletions of keys that are known by name.

use redis::{Cmd, FromRedisValue};

use super::connection::{Answer, Connection};
use super::error;
use crate::cache::{CacheError, Outcome, Refused};
use crate::model::KeySet;

/// Keys in one UNLINK. Long commands hold up other clients for as long as they
/// run; a thousand keys take well under a millisecond.
const KEYS_PER_COMMAND: usize = 1_000;

/// Deletes all keys.
///
/// An UNLINK with one key that the account may not touch deletes none of its
/// keys. It is sent again in halves, until the key stands alone.
pub(super) async fn delete(
    connection: &mut Connection,
    keys: &[&KeySet],
) -> Result<Outcome, CacheError> {
    let (_, outcome) = delete_after(connection, Vec::new(), keys).await?;
    Ok(outcome)
}

/// The same after other commands, in one round trip, with what they answer.
pub(super) async fn delete_after(
    connection: &mut Connection,
    mut first: Vec<Cmd>,
    keys: &[&KeySet],
) -> Result<(Vec<Answer>, Outcome), CacheError> {
    let mut outcome = Outcome::default();
    let mut firsts_answers = Vec::new();
    let mut pending = chunks(keys);
    while !pending.is_empty() || !first.is_empty() {
        let before = first.len();
        let mut commands = std::mem::take(&mut first);
        commands.extend(pending.iter().map(unlink));
        let mut answers = connection.run(commands).await?;
        if before > 0 {
            let of_keys = answers.split_off(before.min(answers.len()));
            firsts_answers = std::mem::replace(&mut answers, of_keys);
        }
        let mut refused = Vec::new();
        for (keys, answer) in pending.into_iter().zip(answers) {
            let count = answer.and_then(|value| Ok(u64::from_redis_value(value)?));
            match count {
                Ok(count) => outcome.existed += count,
                Err(error) => refused.push((keys, error)),
            }
        }
        pending = Vec::new();
        for (keys, error) in refused {
            let Some(code) = error::refusal(&error) else {
                return Err(connection.failed(&error));
            };
            match keys.as_slice() {
                [key] => outcome.refused.push(Refused {
                    key: key.to_vec(),
                    code,
                    reason: error.to_string(),
                }),
                keys => {
                    let (front, back) = keys.split_at(keys.len() / 2);
                    pending.extend([front.to_vec(), back.to_vec()]);
                }
            }
        }
    }
    Ok((firsts_answers, outcome))
}

fn unlink(keys: &Vec<&[u8]>) -> Cmd {
    let mut command = redis::cmd("UNLINK");
    for key in keys {
        command.arg(key);
    }
    command
}

/// All keys, in chunks of [`KEYS_PER_COMMAND`].
fn chunks<'k>(keys: &[&'k KeySet]) -> Vec<Vec<&'k [u8]>> {
    let mut all = keys.iter().flat_map(|keys| keys.iter()).peekable();
    let mut chunks = Vec::new();
    while all.peek().is_some() {
        chunks.push(all.by_ref().take(KEYS_PER_COMMAND).collect());
    }
    chunks
}
