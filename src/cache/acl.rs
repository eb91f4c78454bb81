//! Asks Redis what an account may do.
//!
//! ACL commands are for administrators, and ElastiCache does not offer them. So
//! this sends commands that do nothing, because nothing is at their keys: the
//! server checks permissions before it looks for the key.

use redis::{Cmd, ErrorKind, ServerErrorKind, Value};

use super::outcome::CacheError;
use super::permissions::{MemoryPolicy, MissingPermission, Permissions};
use crate::model::CacheUses;
use crate::redis::connection::Connection;
use crate::redis::error;

/// Asks whether the account may run a command, as scripts can from Redis 7 on;
/// returns -1 before.
const MAY: &str = "\
if redis.acl_check_cmd == nil then return -1 end
if redis.acl_check_cmd(unpack(ARGV)) then return 1 else return 0 end";

/// A name that no member and no field has.
const NOTHING: &str = "evictd-check";

/// The digest of a script that does not exist.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

struct Trial {
    command: &'static str,
    on: Vec<u8>,
    sent: Cmd,
    /// Whether [`MAY`] asks for the command, which is not sent itself.
    by_script: bool,
}

pub(super) async fn check(
    connection: &mut Connection,
    uses: &CacheUses,
) -> Result<Permissions, CacheError> {
    let mut permissions = Permissions::default();
    make(connection, deletions("UNLINK", uses), &mut permissions).await?;
    if !permissions.absent.is_empty() {
        make(connection, deletions("DEL", uses), &mut permissions).await?;
    }
    make(connection, trials(uses), &mut permissions).await?;
    permissions.unknown.sort_unstable();
    permissions.unknown.dedup();
    Ok(permissions)
}

/// Makes the trials, and sorts what they show.
async fn make(
    connection: &mut Connection,
    trials: Vec<Trial>,
    permissions: &mut Permissions,
) -> Result<(), CacheError> {
    if trials.is_empty() {
        return Ok(());
    }
    let commands = trials.iter().map(|trial| trial.sent.clone()).collect();
    let answers = connection.run(commands).await?;
    for (trial, answer) in trials.into_iter().zip(answers) {
        let Trial {
            command,
            on,
            by_script,
            ..
        } = trial;
        let refused = |reason: String| MissingPermission {
            command,
            on,
            reason,
        };
        match answer {
            Err(error) if error::is_unknown_command(&error) => {
                permissions.absent.push(refused(error.to_string()));
            }
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                if by_script {
                    permissions.unknown.push(command);
                } else {
                    permissions.missing.push(refused(error.to_string()));
                }
            }
            Ok(Value::Int(0)) if by_script => {
                let reason = "the account may not do it".to_owned();
                permissions.missing.push(refused(reason));
            }
            Ok(Value::Int(1)) if by_script => permissions.allowed += 1,
            _ if by_script => permissions.unknown.push(command),
            // Any other error, such as WRONGTYPE, comes after the check.
            _ => permissions.allowed += 1,
        }
    }
    Ok(())
}

/// The server's policy for full memory; `None` if it does not tell.
pub(super) async fn memory(
    connection: &mut Connection,
) -> Result<Option<MemoryPolicy>, CacheError> {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    let answer = connection.run(vec![info]).await?.pop();
    let Some(Ok(answer)) = answer else {
        return Ok(None);
    };
    let Ok(text) = redis::from_redis_value::<String>(answer) else {
        return Ok(None);
    };
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(own, _)| *own == name)?;
        Some(value.trim().to_owned())
    };
    let policy = field("maxmemory_policy");
    Ok(policy.map(|policy| MemoryPolicy {
        policy,
        limited: field("maxmemory").is_some_and(|bytes| bytes != "0"),
    }))
}

fn deletions(command: &'static str, uses: &CacheUses) -> Vec<Trial> {
    let trial = |key: &Vec<u8>| {
        let mut sent = redis::cmd(command);
        sent.arg(key);
        Trial {
            command,
            on: key.clone(),
            sent,
            by_script: false,
        }
    };
    uses.keys.iter().map(trial).collect()
}

fn trials(uses: &CacheUses) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut send = |command: &'static str, on: &[u8], before: &[&str], after: &[&str]| {
        let mut sent = redis::cmd(command);
        sent.arg(before).arg(on).arg(after);
        trials.push(Trial {
            command,
            on: on.to_vec(),
            sent,
            by_script: false,
        });
    };
    for guard in &uses.guards {
        send("EVAL", guard, &["return 0", "1"], &[]);
        send("EVALSHA", guard, &[NO_SCRIPT, "1"], &[]);
        send("GETRANGE", guard, &[], &["0", "0"]);
    }
    for set in &uses.tag_sets {
        send("TYPE", set, &[], &[]);
        send("SSCAN", set, &[], &["0", "COUNT", "1"]);
        send("ZSCAN", set, &[], &["0", "COUNT", "1"]);
        send("SREM", set, &[], &[NOTHING]);
        send("ZREM", set, &[], &[NOTHING]);
    }
    for hash in &uses.hashes {
        send("HDEL", hash, &[], &[NOTHING]);
    }
    if uses.globs {
        send("SCAN", b"0", &[], &["MATCH", NOTHING, "COUNT", "1"]);
    }
    let mut ask = |command: &'static str, on: &[u8], after: &[&str]| {
        let mut sent = redis::cmd("EVAL");
        sent.arg(MAY).arg(0).arg(command).arg(on).arg(after);
        trials.push(Trial {
            command,
            on: on.to_vec(),
            sent,
            by_script: true,
        });
    };
    for guard in &uses.guards {
        ask("GET", guard, &[]);
        ask("SET", guard, &["1", "PX", "1000"]);
        ask("PEXPIRE", guard, &["1000"]);
    }
    for generation in &uses.generations {
        ask("INCR", generation, &[]);
    }
    for channel in &uses.channels {
        ask("PUBLISH", channel, &[""]);
    }
    trials
}
