//! Guards, which a script raises and deletions by glob spare.
//!
//! A guard is a key that holds the version of a row. The script that readers fill
//! the cache with stores nothing that is older than the guard.

use std::collections::HashSet;
use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, FromRedisValue, Script, ServerErrorKind};

use super::outcome::{CacheError, Outcome};
use super::refusal::refused;
use super::unlink;
use crate::model::guards::VERSION_DIGITS_MAX;
use crate::model::{GuardPattern, Guards, KeyList, KeySet};
use crate::redis::connection::Connection;
use crate::redis::error;
use crate::redis::server::Reply;
use crate::redis::slot;

const RAISE: &str = include_str!("raise.lua");

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(RAISE));

/// Raises the guards and then deletes the keys, in one round trip. A fill that
/// comes after the deletion finds the guard raised.
///
/// Where a guard cannot be raised, because its primary failed, memory is full or
/// scripts may not be run, the keys are deleted all the same. Those that may belong
/// to it are unfinished with it: a fill of the old row may come before the guard is
/// raised.
pub(super) async fn raise_and_delete(
    connection: &mut Connection,
    guards: &Guards,
    keys: &[&KeyList],
) -> Result<Outcome, CacheError> {
    let raise = commands(guards, "EVALSHA", SCRIPT.get_hash());
    let (mut answers, mut outcome) = unlink::delete_after(connection, raise, keys).await?;
    if answers.iter().any(is_unknown_script) {
        // The keys are deleted again, because the guards have to be raised
        // before.
        let raise = commands(guards, "EVAL", RAISE);
        let (again, second) = unlink::delete_after(connection, raise, keys).await?;
        answers = again;
        outcome = Outcome {
            existed: outcome.existed + second.existed,
            ..second
        };
    }
    let mut unraised = Vec::new();
    let mut failure = None;
    for ((key, ..), answer) in guards.iter().zip(answers) {
        match answer {
            Some(Ok(_)) => {}
            Some(Err(error)) => match refused(connection, key, &error) {
                Ok(refused) => outcome.refused.push(refused),
                Err(error) => {
                    unraised.push(key.to_vec());
                    failure = Some(error);
                }
            },
            None => unraised.push(key.to_vec()),
        }
    }
    outcome.unfinished(Vec::new(), failure);
    if let Some(unfinished) = outcome.unfinished.as_mut().filter(|_| !unraised.is_empty()) {
        unfinished.keys.extend(guarded(connection, &unraised, keys));
        unfinished.guards = unraised;
    }
    Ok(outcome)
}

/// The keys that one of these guards may be for. In a cluster, a guard and its
/// keys are in one slot, since the script that fills takes both.
fn guarded(connection: &Connection, guards: &[Vec<u8>], keys: &[&KeyList]) -> Vec<Vec<u8>> {
    let has_slots = connection.has_slots();
    let slots: HashSet<u16> = guards.iter().map(|guard| slot::of_key(guard)).collect();
    keys.iter()
        .flat_map(|keys| keys.iter())
        .filter(|key| !has_slots || slots.contains(&slot::of_key(key)))
        .map(<[u8]>::to_vec)
        .collect()
}

fn commands(guards: &Guards, name: &str, script: &str) -> Vec<Cmd> {
    let raise = |(key, version, ttl): (&[u8], u128, std::time::Duration)| {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(key).arg(version.to_string());
        command.arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        command
    };
    guards.iter().map(raise).collect()
}

fn is_unknown_script(answer: &Option<Reply>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    let answer = answer.as_ref();
    answer.is_some_and(|answer| answer.as_ref().is_err_and(|error| error.kind() == unknown))
}

/// Removes guards from `found`: without its guard, a reader could store an old
/// row again. Another entry with the name of a guard holds more than a number.
pub(super) async fn spare(
    connection: &mut Connection,
    patterns: &[GuardPattern],
    found: &mut Vec<Vec<u8>>,
) -> Result<(), CacheError> {
    let named = |key: &[u8]| patterns.iter().any(|pattern| pattern.matches(key));
    let like: Vec<Vec<u8>> = found.iter().filter(|key| named(key)).cloned().collect();
    if like.is_empty() {
        return Ok(());
    }
    let read = |key: &Vec<u8>| {
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(0).arg(VERSION_DIGITS_MAX);
        command
    };
    let answers = connection.run(like.iter().map(read).collect()).await?;
    let mut guards = KeySet::default();
    for (key, answer) in like.iter().zip(answers) {
        match answer.and_then(|value| Ok(Vec::<u8>::from_redis_value(value)?)) {
            Ok(value) if is_version(&value) => {
                guards.insert(key);
            }
            Ok(_) => {}
            // A key of another type is not a guard. One that may not be read may
            // not be deleted either.
            Err(error) if error::refusal(&error).is_some() => {}
            Err(error) => return Err(connection.failed(&error)),
        }
    }
    found.retain(|key| !guards.contains(key));
    Ok(())
}

fn is_version(value: &[u8]) -> bool {
    (1..=VERSION_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}
