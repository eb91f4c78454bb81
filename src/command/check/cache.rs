//! The permissions of the account in Redis, and what Redis evicts when it is
//! full.

use std::collections::BTreeSet;

use crate::cache::{MemoryPolicy, MissingPermission, Permissions, Redis, UNKNOWN_COMMAND_REMEDY};
use crate::command::finding::{Finding, Level};
use crate::command::{CommandError, preflight};
use crate::config::Config;
use crate::model::CacheUses;

/// Keys and channels that are named for one command that the account lacks.
const NAMES_MAX: usize = 3;

/// Asks Redis about the account and about its memory.
///
/// # Errors
///
/// Redis does not answer.
pub async fn examine(config: &Config) -> Result<Vec<Finding>, CommandError> {
    let mut redis = Redis::new(&preflight::redis_target(&config.redis)?)?;
    redis.check().await?;
    let mut found = vec![Finding::new(Level::Ok, "redis", "the server answers")];
    let uses = uses(config);
    found.extend(permissions(&redis.permissions(&uses).await?));
    found.extend(memory(redis.memory_policy().await?, &uses));
    Ok(found)
}

/// Logs what the account may not do, and which commands the server does not have:
/// what needs them is tried again until it may.
///
/// # Errors
///
/// Redis does not answer.
pub async fn log_permissions(redis: &mut Redis, config: &Config) -> Result<(), CommandError> {
    for finding in permissions(&redis.permissions(&uses(config)).await?) {
        match finding.level {
            Level::Ok | Level::Note => tracing::debug!("{}", finding.message),
            Level::Warning => tracing::warn!("{}", finding.message),
            Level::Error => tracing::error!("{}", finding.message),
        }
    }
    Ok(())
}

fn uses(config: &Config) -> CacheUses {
    // No row has so large a number, so no key with it exists.
    let number = rand::random_range(1_u64 << 62..1 << 63).to_string();
    config.rules.permission_probe(&number)
}

/// Some of the names that `command` was tried with, and why it did not work.
fn of_command(command: &str, all: &[MissingPermission]) -> (String, String) {
    let of_command = || all.iter().filter(|missing| missing.command == command);
    let mut names: Vec<String> = of_command()
        .take(NAMES_MAX)
        .map(|missing| String::from_utf8_lossy(&missing.on).into_owned())
        .collect();
    if of_command().count() > NAMES_MAX {
        names.push("…".to_owned());
    }
    let reason = of_command().next().map(|missing| missing.reason.clone());
    (names.join(", "), reason.unwrap_or_default())
}

fn commands(all: &[MissingPermission]) -> BTreeSet<&'static str> {
    all.iter().map(|missing| missing.command).collect()
}

fn permissions(permissions: &Permissions) -> Vec<Finding> {
    let mut found = Vec::new();
    for command in commands(&permissions.missing) {
        let (names, reason) = of_command(command, &permissions.missing);
        let message = format!(
            "the account may not {command} {names}: {reason}; grant it with ACL SETUSER, on the keys and channels of all rules"
        );
        found.push(Finding::new(Level::Error, "redis", message));
    }
    let absent = commands(&permissions.absent);
    for command in &absent {
        let (_, reason) = of_command(command, &permissions.absent);
        let finding = if *command == "UNLINK" && !absent.contains("DEL") {
            let message = "the server does not know UNLINK: keys are deleted with DEL, which holds other clients up while it frees large values";
            Finding::new(Level::Warning, "redis", message)
        } else {
            let message = format!("{command}: {reason}; {UNKNOWN_COMMAND_REMEDY}");
            Finding::new(Level::Error, "redis", message)
        };
        found.push(finding);
    }
    if !permissions.unknown.is_empty() {
        let message = format!(
            "whether the account may {} cannot be known without doing it, and this server does not say (a script can ask with redis.acl_check_cmd, which takes Redis 7 and +eval); make sure that it may",
            permissions.unknown.join(", ")
        );
        found.push(Finding::new(Level::Note, "redis", message));
    }
    if permissions.missing.is_empty() && permissions.absent.is_empty() && permissions.allowed > 0 {
        let message = format!(
            "the account may do what was tried ({} commands on keys such as the rules')",
            permissions.allowed
        );
        found.push(Finding::new(Level::Ok, "redis", message));
    }
    found
}

fn memory(policy: Option<MemoryPolicy>, uses: &CacheUses) -> Option<Finding> {
    let Some(MemoryPolicy { policy, limited }) = policy else {
        return Some(Finding::new(
            Level::Warning,
            "redis",
            "the server does not say anything of itself (INFO): make sure that maxmemory-policy spares guards and generations. Nor is a restart from an earlier snapshot seen, which brings deleted entries back; grant +info",
        ));
    };
    let evicts = limited && policy != "noeviction";
    // A guard has a time to live, so every policy that evicts may evict it.
    let (level, message) = if evicts && !uses.guards.is_empty() {
        (
            Level::Warning,
            format!(
                "maxmemory-policy is {policy}, which may evict guards: without its guard a late fill is stored; keep guards in a Redis that evicts nothing (noeviction), or give this one enough memory"
            ),
        )
    } else if evicts && policy.starts_with("allkeys") && !uses.generations.is_empty() {
        (
            Level::Warning,
            format!(
                "maxmemory-policy is {policy}, which may evict generations: a counter that starts over makes old entries reachable again; use a volatile policy, which spares keys without a time to live"
            ),
        )
    } else {
        let limit = if limited { "limited" } else { "not limited" };
        let message = format!("memory is {limit}, and maxmemory-policy is {policy}");
        (Level::Ok, message)
    };
    Some(Finding::new(level, "redis", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_may_evict_what_must_stay_are_warned_of() {
        let uses = |guards: bool, generations: bool| CacheUses {
            guards: vec![b"g".to_vec(); usize::from(guards)],
            generations: vec![b"n".to_vec(); usize::from(generations)],
            ..CacheUses::default()
        };
        for (policy, limited, uses, level) in [
            ("allkeys-lru", true, uses(false, false), Level::Ok),
            ("allkeys-lru", true, uses(true, false), Level::Warning),
            ("allkeys-lru", false, uses(true, true), Level::Ok),
            ("volatile-ttl", true, uses(true, false), Level::Warning),
            ("volatile-ttl", true, uses(false, true), Level::Ok),
            ("allkeys-lfu", true, uses(false, true), Level::Warning),
            ("noeviction", true, uses(true, true), Level::Ok),
        ] {
            let named = Some(MemoryPolicy {
                policy: policy.to_owned(),
                limited,
            });
            let finding = memory(named, &uses).unwrap();
            assert_eq!(finding.level, level, "{policy}: {}", finding.message);
            assert!(finding.message.contains(policy), "{}", finding.message);
        }
        assert_eq!(
            memory(None, &CacheUses::default()).unwrap().level,
            Level::Warning
        );
    }
}
