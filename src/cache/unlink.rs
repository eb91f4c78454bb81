//! Deletions of keys that are known by name.

use std::ops::Range;

use redis::{Cmd, FromRedisValue};

use super::outcome::{CacheError, Outcome, Refused};
use crate::model::KeyList;
use crate::redis::connection::Connection;
use crate::redis::error;
use crate::redis::server::Reply;
use crate::redis::slot;

/// Keys in one UNLINK. A command holds up other clients while it runs; with a
/// thousand keys that is well under a millisecond.
const KEYS_PER_COMMAND: usize = 1_000;

/// Deletes all keys.
///
/// An UNLINK with a key that the account may not touch deletes none of its keys,
/// and while a slot moves, its keys can be on both sides. Such a command is sent
/// again in halves, until the key stands alone.
pub(super) async fn delete(
    connection: &mut Connection,
    keys: &[&KeyList],
) -> Result<Outcome, CacheError> {
    let (_, outcome) = delete_after(connection, Vec::new(), keys).await?;
    Ok(outcome)
}

/// Deletes all keys after other commands, in one round trip. Returns the answers
/// to those commands, too; `None` for one that failed.
pub(super) async fn delete_after(
    connection: &mut Connection,
    mut first: Vec<Cmd>,
    keys: &[&KeyList],
) -> Result<(Vec<Option<Reply>>, Outcome), CacheError> {
    let mut outcome = Outcome::default();
    let mut first_answers = Vec::new();
    let Chunks { keys, mut pending } = if connection.has_slots() {
        Chunks::of_slots(keys)
    } else {
        Chunks::new(keys)
    };
    while !pending.is_empty() || !first.is_empty() {
        let before = first.len();
        let mut commands = std::mem::take(&mut first);
        let name = connection.delete_command();
        commands.extend(
            pending
                .iter()
                .map(|chunk| delete_command(name, part(&keys, chunk))),
        );
        let answers = connection.run_each(commands).await?;
        let mut replies = answers.replies;
        if before > 0 {
            let of_keys = replies.split_off(before.min(replies.len()));
            first_answers = std::mem::replace(&mut replies, of_keys);
        }
        let mut refused = Vec::new();
        let mut failed = Vec::new();
        for (chunk, answer) in pending.into_iter().zip(replies) {
            let count =
                answer.map(|answer| answer.and_then(|value| Ok(u64::from_redis_value(value)?)));
            match count {
                Some(Ok(count)) => outcome.existed += count,
                Some(Err(error)) => refused.push((chunk, error)),
                None => failed.extend(part(&keys, &chunk).iter().map(|key| key.to_vec())),
            }
        }
        outcome.unfinished(failed, answers.failure);
        pending = Vec::new();
        for (chunk, error) in refused {
            let refusal = error::refusal(&error);
            match (part(&keys, &chunk), refusal) {
                _ if name == "UNLINK" && error::is_unknown_command(&error) => {
                    connection.do_without_unlink();
                    pending.push(chunk);
                }
                ([key], Some(code)) => outcome.refused.push(Refused {
                    key: key.to_vec(),
                    code,
                    reason: error.to_string(),
                }),
                (keys, refusal)
                    if keys.len() > 1 && (refusal.is_some() || error::is_divided(&error)) =>
                {
                    let middle = chunk.start + keys.len() / 2;
                    pending.extend([chunk.start..middle, middle..chunk.end]);
                }
                _ => return Err(connection.failed(&error)),
            }
        }
    }
    Ok((first_answers, outcome))
}

fn delete_command(name: &str, keys: &[&[u8]]) -> Cmd {
    let bytes: usize = keys.iter().map(|key| key.len()).sum();
    let mut command = Cmd::with_capacity(1 + keys.len(), name.len() + bytes);
    command.arg(name);
    for key in keys {
        command.arg(key);
    }
    command
}

/// Keys, and which of them go in one command.
struct Chunks<'k> {
    keys: Vec<&'k [u8]>,
    pending: Vec<Chunk>,
}

/// The keys of one command, by their indexes.
type Chunk = Range<usize>;

fn part<'p, 'k>(keys: &'p [&'k [u8]], chunk: &Chunk) -> &'p [&'k [u8]] {
    keys.get(chunk.clone()).unwrap_or_default()
}

impl<'k> Chunks<'k> {
    /// All keys, in chunks of [`KEYS_PER_COMMAND`].
    fn new(keys: &[&'k KeyList]) -> Self {
        let keys: Vec<&[u8]> = keys.iter().flat_map(|keys| keys.iter()).collect();
        let pending = together(0..keys.len()).collect();
        Self { keys, pending }
    }

    /// All keys, in chunks of one slot and at most [`KEYS_PER_COMMAND`].
    fn of_slots(keys: &[&'k KeyList]) -> Self {
        let mut by_slot: Vec<(u16, &[u8])> = keys
            .iter()
            .flat_map(|keys| keys.iter())
            .map(|key| (slot::of_key(key), key))
            .collect();
        by_slot.sort_unstable_by_key(|(slot, _)| *slot);
        let mut pending = Vec::new();
        let mut start = 0;
        for of_one_slot in by_slot.chunk_by(|(one, _), (other, _)| one == other) {
            let end = start + of_one_slot.len();
            pending.extend(together(start..end));
            start = end;
        }
        let keys = by_slot.into_iter().map(|(_, key)| key).collect();
        Self { keys, pending }
    }
}

/// Keys that may stand in one command, in chunks of [`KEYS_PER_COMMAND`].
fn together(keys: Range<usize>) -> impl Iterator<Item = Chunk> {
    let end = keys.end;
    keys.step_by(KEYS_PER_COMMAND)
        .map(move |start| start..end.min(start + KEYS_PER_COMMAND))
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
        let Chunks { keys, pending } = Chunks::of_slots(&[tagged.keys(), others.keys()]);
        let mut seen = set([]);
        for chunk in &pending {
            let chunk = part(&keys, chunk);
            assert!(chunk.len() <= KEYS_PER_COMMAND);
            let slots: Vec<u16> = chunk.iter().map(|key| slot::of_key(key)).collect();
            assert!(slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
            assert!(chunk.iter().all(|key| seen.insert(key)));
        }
        assert_eq!(seen.len(), 5_000);
        let largest = pending.iter().filter(|chunk| chunk.len() > 100).count();
        assert_eq!(largest, 3, "keys of one tag are together");
    }
}
