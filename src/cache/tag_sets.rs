//! Tag sets: a SET or a ZSET whose members name keys.

use redis::{Cmd, FromRedisValue, RedisError, Value};

use super::outcome::{CacheError, Outcome, Refused};
use super::refusal::{refused, unless_refused};
use super::steps::{MemberRemoval, TagKind, TagScan, TagStep};
use crate::redis::connection::Connection;
use crate::redis::server::Reply;

/// Members that one step looks at. A set that Redis keeps as a list comes whole.
const SCAN_COUNT: usize = 500;

/// Members in one SREM or ZREM.
const MEMBERS_PER_COMMAND: usize = 1_000;

/// Reads some members of each set.
pub(super) async fn scan(
    connection: &mut Connection,
    sets: &[TagScan<'_>],
) -> Result<Vec<TagStep>, CacheError> {
    let kinds = kinds(connection, sets).await?;
    let mut commands = Vec::new();
    for (set, kind) in sets.iter().zip(&kinds) {
        let mut command = match kind {
            Ok(Some(TagKind::Set)) => redis::cmd("SSCAN"),
            Ok(Some(TagKind::SortedSet)) => redis::cmd("ZSCAN"),
            Ok(None) | Err(_) => continue,
        };
        command.arg(set.key).arg(set.cursor);
        command.arg("COUNT").arg(SCAN_COUNT);
        commands.push(command);
    }
    let (mut answers, failure) = run(connection, commands).await?;
    let mut steps = Vec::new();
    for (set, kind) in sets.iter().zip(kinds) {
        let step = match kind {
            Err(step) => step,
            Ok(None) => TagStep::End,
            Ok(Some(kind)) => match (answers.next().flatten(), &failure) {
                (Some(Ok(page)), _) => {
                    members(kind, page).map_err(|error| connection.failed(&error))?
                }
                (Some(Err(error)), _) => TagStep::Refused(refused(connection, set.key, &error)?),
                (None, Some(failure)) => TagStep::Failed(failure.clone()),
                (None, None) => TagStep::End,
            },
        };
        steps.push(step);
    }
    Ok(steps)
}

/// The type of each set; `None` where there is no set. A step instead, where that
/// cannot be known.
async fn kinds(
    connection: &mut Connection,
    sets: &[TagScan<'_>],
) -> Result<Vec<Result<Option<TagKind>, TagStep>>, CacheError> {
    let commands: Vec<Cmd> = sets
        .iter()
        .filter(|set| set.kind.is_none())
        .map(|set| {
            let mut command = redis::cmd("TYPE");
            command.arg(set.key);
            command
        })
        .collect();
    let (mut answers, failure) = run(connection, commands).await?;
    let mut kinds = Vec::new();
    for set in sets {
        let kind = match set.kind {
            Some(kind) => Ok(Some(kind)),
            None => match (answers.next().flatten(), &failure) {
                (Some(answer), _) => {
                    match answer.and_then(|value| Ok(String::from_redis_value(value)?)) {
                        Ok(name) => kind_called(&name, set.key).map_err(TagStep::Refused),
                        Err(error) => Err(TagStep::Refused(refused(connection, set.key, &error)?)),
                    }
                }
                (None, Some(failure)) => Err(TagStep::Failed(failure.clone())),
                (None, None) => Ok(None),
            },
        };
        kinds.push(kind);
    }
    Ok(kinds)
}

/// The answers to commands in their order, and why some have none.
type SetAnswers = (std::vec::IntoIter<Option<Reply>>, Option<CacheError>);

/// Runs commands, if there are any.
async fn run(connection: &mut Connection, commands: Vec<Cmd>) -> Result<SetAnswers, CacheError> {
    if commands.is_empty() {
        return Ok((Vec::new().into_iter(), None));
    }
    let answers = connection.run_each(commands).await?;
    Ok((answers.replies.into_iter(), answers.failure))
}

fn kind_called(name: &str, key: &[u8]) -> Result<Option<TagKind>, Refused> {
    match name {
        "none" => Ok(None),
        "set" => Ok(Some(TagKind::Set)),
        "zset" => Ok(Some(TagKind::SortedSet)),
        other => Err(Refused {
            key: key.to_vec(),
            code: "wrong-type",
            reason: format!("the key of a tag set holds a {other}"),
        }),
    }
}

/// The members in an answer to SSCAN or ZSCAN, which adds a score to each.
fn members(kind: TagKind, page: Value) -> Result<TagStep, RedisError> {
    let (next, mut members): (u64, Vec<Vec<u8>>) = FromRedisValue::from_redis_value(page)?;
    if kind == TagKind::SortedSet {
        members = members.into_iter().step_by(2).collect();
    }
    Ok(TagStep::Members {
        kind,
        members,
        next,
    })
}

/// Removes members from their sets.
pub(super) async fn remove_members(
    connection: &mut Connection,
    removals: &[MemberRemoval<'_>],
) -> Result<Outcome, CacheError> {
    let mut commands = Vec::new();
    let mut keys = Vec::new();
    for set in removals {
        for members in set.members.chunks(MEMBERS_PER_COMMAND) {
            let mut command = redis::cmd(match set.kind {
                TagKind::Set => "SREM",
                TagKind::SortedSet => "ZREM",
            });
            command.arg(set.key);
            members.iter().for_each(|member| {
                command.arg(member);
            });
            commands.push(command);
            keys.push(set.key);
        }
    }
    unless_refused(connection, commands, &keys).await
}
