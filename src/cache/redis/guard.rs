//! Guards: raised by a script, and spared by deletions of whole tables.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Script};

use super::connection::{Answer, Connection};
use super::error::refused_or_failed;
use super::unlink;
use crate::cache::{CacheError, Erased};
use crate::model::guards::VERSION_DIGITS_MAX;
use crate::model::{GuardPattern, Guards, KeySet};

const RAISE: &str = include_str!("raise.lua");

/// Raises the guards, then deletes the keys, in one round trip: a fill that
/// comes after the deletion finds the guard raised.
pub(super) async fn raise_and_delete(
    connection: &mut Connection,
    guards: &Guards,
    keys: &[&KeySet],
) -> Result<Erased, CacheError> {
    let script = Script::new(RAISE);
    let answers = run(connection, guards, keys, |command| {
        command.arg(script.get_hash());
        "EVALSHA"
    })
    .await?;
    Ok(answers)
}
