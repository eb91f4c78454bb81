//! Deletions of keys that are known by name.

use redis::{Cmd, FromRedisValue};

use super::connection::Connection;
use super::error;
use super::server::Answer;
use super::slot;
use crate::cache::{CacheError, Outcome, Refused};
use crate::model::KeyList;

/// Keys in one UNLINK. Long commands hold up other clients for as long as they
/// run; a thousand keys take well under a millisecond.
const KEYS_PER_COMMAND: usize = 1_000;

/// Deletes all keys.
///
/// An UNLINK with one key that the account may not touch deletes none of its
/// keys, and one whose slot is moving can find its keys on both sides. Such a
/// command is sent again in halves, until the key stands alone.
pub(super) async fn delete(
    connection: &mut Connection,
    keys: &[&KeyList],
) -> Result<Outcome, CacheError> {
    let (_, outcome) = delete_after(connection, Vec::new(), keys).await?;
    Ok(outcome)
}

/// The same after other commands, in one round trip, with what they answer.
pub(super) async fn delete_after(
    connection: &mut Connection,
    mut first: Vec<Cmd>,
    keys: &[&KeyList],
) -> Result<(Vec<Answer>, Outcome), CacheError> {
    let mut outcome = Outcome::default();
    let mut firsts_answers = Vec::new();
    let mut pending = match connection.has_slots() {
        true => chunks_of_slots(keys),
        false => chunks(keys),
    };
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
            let refusal = error::refusal(&error);
            match (keys.as_slice(), refusal) {
                ([key], Some(code)) => outcome.refused.push(Refused {
                    key: key.to_vec(),
                    code,
                    reason: error.to_string(),
                }),
                (keys, refusal)
                    if keys.len() > 1 && (refusal.is_some() || error::is_divided(&error)) =>
                {
                    let (front, back) = keys.split_at(keys.len() / 2);
                    pending.extend([front.to_vec(), back.to_vec()]);
                }
                _ => return Err(connection.failed(&error)),
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
fn chunks<'k>(keys: &[&'k KeyList]) -> Vec<Vec<&'k [u8]>> {
    let mut all = keys.iter().flat_map(|keys| keys.iter()).peekable();
    let mut chunks = Vec::new();
    while all.peek().is_some() {
        chunks.push(all.by_ref().take(KEYS_PER_COMMAND).collect());
    }
    chunks
}

/// All keys, in chunks of one slot and at most [`KEYS_PER_COMMAND`].
fn chunks_of_slots<'k>(keys: &[&'k KeyList]) -> Vec<Vec<&'k [u8]>> {
    let all = keys.iter().flat_map(|keys| keys.iter());
    let mut by_slot: Vec<(u16, &[u8])> = all.map(|key| (slot::of_key(key), key)).collect();
    by_slot.sort_unstable_by_key(|(slot, _)| *slot);
    let of_one_slot = by_slot.chunk_by(|(one, _), (other, _)| one == other);
    of_one_slot
        .flat_map(|keys| keys.chunks(KEYS_PER_COMMAND))
        .map(|keys| keys.iter().map(|(_, key)| *key).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySet;

    fn set(keys: impl IntoIterator<Item = String>) -> KeySet {
        let mut set = KeySet::default();
        for key in keys {
            set.insert(key.as_bytes());
        }
        set
    }

    #[test]
    fn every_key_is_in_one_chunk_and_a_chunk_is_of_one_slot() {
        let tagged = set((0..2_500).map(|n| format!("{{tag}}:{n}")));
        let others = set((0..2_500).map(|n| format!("user:{n}")));
        let chunks = chunks_of_slots(&[tagged.keys(), others.keys()]);
        let mut seen = set([]);
        for chunk in &chunks {
            assert!(chunk.len() <= KEYS_PER_COMMAND);
            let slots: Vec<u16> = chunk.iter().map(|key| slot::of_key(key)).collect();
            assert!(slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
            assert!(chunk.iter().all(|key| seen.insert(key)));
        }
        assert_eq!(seen.len(), 5_000);
        let largest = chunks.iter().filter(|chunk| chunk.len() > 100).count();
        assert_eq!(largest, 3, "those of the tag are together");
    }
}
