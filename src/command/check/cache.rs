//! The permissions of the account in Redis, and what Redis evicts when it is
//! full.

use crate::cache::{MemoryPolicy, Permissions, Redis, Uses};
use crate::command::finding::{Finding, Level};
use crate::command::{CommandError, preflight};
use crate::config::Config;

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
    // No row has so large a number, so no key with it exists.
    let number = rand::random_range(1_u64 << 62..1 << 63).to_string();
    let uses = uses(config, &number);
    found.extend(permissions(&redis.permissions(&uses).await?));
    found.extend(memory(redis.memory_policy().await?, &uses));
    Ok(found)
}

fn uses(config: &Config, number: &str) -> Uses {
    let samples = config.rules.permission_probe(number);
    Uses {
        keys: samples.keys,
        globs: samples.globs,
        generations: samples.generations,
        guards: samples.guards,
        tag_sets: samples.tag_sets,
        hashes: samples.hashes,
        channels: samples.channels,
    }
}

fn permissions(permissions: &Permissions) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut commands: Vec<&str> = permissions
        .missing
        .iter()
        .map(|missing| missing.command)
        .collect();
    commands.sort_unstable();
    commands.dedup();
    for command in commands {
        let of_command = || {
            permissions
                .missing
                .iter()
                .filter(|missing| missing.command == command)
        };
        let mut names: Vec<String> = of_command()
            .take(NAMES_MAX)
            .map(|missing| String::from_utf8_lossy(&missing.on).into_owned())
            .collect();
        if of_command().count() > NAMES_MAX {
            names.push("…".to_owned());
        }
        let reason = of_command()
            .next()
            .map_or("", |missing| missing.reason.as_str());
        let message = format!(
            "the account may not {command} {}: {reason}; grant it with ACL SETUSER, on the keys and channels of all rules",
            names.join(", ")
        );
        found.push(Finding::new(Level::Error, "redis", message));
    }
    if !permissions.unknown.is_empty() {
        let message = format!(
            "whether the account may {} cannot be known without doing it, and this server does not say (a script can ask with redis.acl_check_cmd, which takes Redis 7 and +eval); make sure that it may",
            permissions.unknown.join(", ")
        );
        found.push(Finding::new(Level::Note, "redis", message));
    }
    if permissions.missing.is_empty() && permissions.allowed > 0 {
        let message = format!(
            "the account may do what was tried ({} commands on keys such as the rules')",
            permissions.allowed
        );
        found.push(Finding::new(Level::Ok, "redis", message));
    }
    found
}

fn memory(policy: Option<MemoryPolicy>, uses: &Uses) -> Option<Finding> {
    let Some(MemoryPolicy { policy, limited }) = policy else {
        return Some(Finding::new(
            Level::Note,
            "redis",
            "the server does not say what it does when its memory is full (INFO): make sure that maxmemory-policy spares guards and generations",
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
        let uses = |guards: bool, generations: bool| Uses {
            guards: vec![b"g".to_vec(); usize::from(guards)],
            generations: vec![b"n".to_vec(); usize::from(generations)],
            ..Uses::default()
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
        assert_eq!(memory(None, &Uses::default()).unwrap().level, Level::Note);
    }
}
