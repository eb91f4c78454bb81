//! From TOML to a [`Config`]. Everything that can be known without a server is
//! checked before anything is touched.

use std::path::PathBuf;

use toml::Spanned;

use super::cache::redis;
use super::edge::{MAX_RECEIVES, buffer, bulk, bulk_thresholds, cloudfront};
use super::error::{ConfigError, Lines};
use super::raw::{self, RawConfig};
use super::rules::{path_patterns, rules};
use super::settings::{CheckpointConfig, Config};
use super::source::source;
use crate::rules::Rules;
use crate::rules::budget_exempt::AlwaysPaths;
use crate::rules::path_class::PathClasses;

/// Parses and validates a configuration.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let lines = Lines(text);
    let raw: RawConfig = toml::from_str(text).map_err(|error| lines.error(&error))?;
    let name = name(&raw.name, &lines)?;
    let checkpoint = checkpoint(raw.checkpoint, &name, &lines)?;
    let ledger_dir = raw.ledger.dir.or_else(|| match &checkpoint {
        CheckpointConfig::File { path } => {
            Some(path.parent().map(PathBuf::from).unwrap_or_default())
        }
        // A checkpoint in Redis is for machines without a disk.
        CheckpointConfig::Redis { .. } => None,
    });
    let cloudfront_line = raw.cloudfront.as_ref().map(|section| lines.of(section));
    let cloudfront = raw
        .cloudfront
        .map(|section| cloudfront(section, &lines))
        .transpose()?;
    let buffer_line = raw.buffer.as_ref().map(|section| lines.of(section));
    let buffer = raw
        .buffer
        .map(|section| buffer(section, &lines))
        .transpose()?;
    match (cloudfront_line, buffer_line) {
        (Some(line), None) => {
            return Err(ConfigError::at(
                line,
                "[cloudfront] needs a [buffer]: add `kind = \"sqs\"` with `queue_url`, or `kind = \"local\"` with `path`",
            ));
        }
        (None, Some(line)) => {
            return Err(ConfigError::at(
                line,
                "[buffer] has no effect without [cloudfront]: add a [[cloudfront.distribution]], or remove it",
            ));
        }
        _ => {}
    }
    let patterns = path_patterns(&raw.paths, &lines)?;
    let always = raw.paths.iter().map(|path| path.always);
    let always = AlwaysPaths::new(patterns.iter().zip(always));
    let cloudfront = cloudfront.map(|section| section.with_always(always));
    let thresholds = bulk_thresholds(&raw.rules, &lines)?;
    let distributions: Vec<&str> = cloudfront
        .iter()
        .flat_map(|section| &section.distributions)
        .map(|distribution| distribution.name.as_str())
        .collect();
    let rules = rules(raw.rules, &raw.redis.key_prefix, &distributions, &lines)?;
    let classes = PathClasses::new(&patterns);
    let bulk = bulk(&rules, thresholds, &classes);
    let rules = Rules::new(rules, classes, &raw.redis.key_prefix)
        .map_err(|error| ConfigError::at(error.line, error.message))?;
    Ok(Config {
        name,
        source: source(raw.source, &lines)?,
        checkpoint,
        redis: redis(raw.redis, &lines)?,
        max_receives: buffer.as_ref().map_or(MAX_RECEIVES, |(_, number)| *number),
        buffer: buffer.map(|(buffer, _)| buffer),
        cloudfront,
        ledger_dir,
        metrics_listen: raw.metrics.listen,
        lag_max: raw.metrics.lag_max,
        log_level: raw
            .log
            .level
            .map(|level| log_level(level, &lines))
            .transpose()?,
        rules,
        bulk,
        text: text.to_owned(),
    })
}

fn name(name: &Spanned<String>, lines: &Lines<'_>) -> Result<String, ConfigError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let text = name.get_ref();
    // The name becomes a part of longer ones: those of GET_LOCK have at most 64
    // characters.
    if text.is_empty() || text.len() > 48 || !text.chars().all(valid) {
        return Err(ConfigError::at(
            lines.of(name),
            format!("name \"{text}\": use 1 to 48 letters, digits, `-` and `_`"),
        ));
    }
    Ok(text.clone())
}

/// A level, or directives such as `info,evictd=debug`.
fn log_level(level: Spanned<String>, lines: &Lines<'_>) -> Result<String, ConfigError> {
    let is_level = |word: &str| matches!(word, "error" | "warn" | "info" | "debug" | "trace");
    let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let valid = level.get_ref().split(',').all(|directive| {
        let (module, word) = directive.rsplit_once('=').unwrap_or(("evictd", directive));
        is_level(word) && !module.is_empty() && module.chars().all(in_path)
    });
    if !valid {
        return Err(ConfigError::at(
            lines.of(&level),
            format!(
                "log.level = \"{}\": write error, warn, info, debug or trace, or such words for modules too, as in \"info,evictd=debug\"",
                level.get_ref()
            ),
        ));
    }
    Ok(level.into_inner())
}

fn checkpoint(
    raw: raw::RawCheckpoint,
    name: &str,
    lines: &Lines<'_>,
) -> Result<CheckpointConfig, ConfigError> {
    match (raw.store, raw.path, raw.key) {
        (raw::RawStore::File, _, Some(key)) => Err(ConfigError::at(
            lines.of(&key),
            "checkpoint.key has no effect with a file: set checkpoint.store = \"redis\", or leave it out",
        )),
        (raw::RawStore::Redis, Some(path), _) => Err(ConfigError::at(
            lines.of(&path),
            "checkpoint.path has no effect with checkpoint.store = \"redis\": leave it out; `checkpoint.key` names the key",
        )),
        (raw::RawStore::Redis, None, Some(key)) if key.get_ref().is_empty() => {
            Err(ConfigError::at(
                lines.of(&key),
                "checkpoint.key is empty: name a key, or leave it out",
            ))
        }
        (raw::RawStore::File, path, None) => Ok(CheckpointConfig::File {
            path: match path {
                Some(path) => path.into_inner(),
                None => PathBuf::from(format!("/var/lib/evictd/{name}.checkpoint.json")),
            },
        }),
        (raw::RawStore::Redis, None, key) => Ok(CheckpointConfig::Redis {
            key: match key {
                Some(key) => key.into_inner(),
                None => format!("evictd:{name}:checkpoint"),
            },
        }),
    }
}
