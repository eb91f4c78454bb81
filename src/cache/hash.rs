//! Fields deleted from hashes.

use super::outcome::{CacheError, Outcome};
use super::refusal::unless_refused;
use crate::model::PairSet;
use crate::redis::connection::Connection;

/// Fields in one HDEL.
const FIELDS_PER_COMMAND: usize = 1_000;

/// Deletes the fields. Neighbours of one hash go in one command.
pub(super) async fn delete(
    connection: &mut Connection,
    fields: &PairSet,
) -> Result<Outcome, CacheError> {
    let mut commands = Vec::new();
    let mut keys = Vec::new();
    let mut left = fields.iter().peekable();
    while let Some((key, field)) = left.next() {
        let mut command = redis::cmd("HDEL");
        command.arg(key).arg(field);
        for _ in 1..FIELDS_PER_COMMAND {
            let Some((_, field)) = left.next_if(|(other, _)| *other == key) else {
                break;
            };
            command.arg(field);
        }
        commands.push(command);
        keys.push(key);
    }
    unless_refused(connection, commands, &keys).await
}
