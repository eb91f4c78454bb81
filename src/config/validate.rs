//! From TOML to a [`Config`]: everything that can be known without a server is
//! checked here.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use toml::Spanned;
use url::Url;

use super::cache;
use super::duration;
use super::edge::{MAX_RECEIVES, buffer, bulk, bulk_thresholds, cloudfront};
use super::error::Lines;
use super::password;
use super::raw::{self, RawConfig};
use super::rules::{path_patterns, rules};
use super::{
    CheckpointConfig, Config, ConfigError, RedisConfig, SettleConfig, SourceConfig, TlsConfig,
    TlsMode,
};
use crate::model::position::Start;
use crate::rules::Rules;
use crate::rules::budget_exempt::AlwaysPaths;
use crate::rules::path_class::PathClasses;

/// A fill takes less, unless its process is held up.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// Positions and paths wait for as long: more would hold back everything.
const SETTLE_AFTER_MAX: Duration = Duration::from_secs(60);

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
        // For machines without a disk.
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
                "[buffer] has no use without [cloudfront]: add a [[cloudfront.distribution]], or remove it",
            ));
        }
        _ => {}
    }
    let patterns = path_patterns(&raw.paths, &lines)?;
    let always = raw.paths.iter().map(|path| path.always);
    let always = AlwaysPaths::new(patterns.iter().zip(always));
    let cloudfront = cloudfront.map(|section| section.with_always(always));
    let thresholds = bulk_thresholds(&raw.rules, &lines)?;
    let distributions = cloudfront.iter().flat_map(|section| &section.distributions);
    let distributions: Vec<&str> = distributions.map(|it| it.name.as_str()).collect();
    let rules = rules(raw.rules, &raw.redis.key_prefix, &distributions, &lines)?;
    let classes = PathClasses::new(&patterns);
    let bulk = bulk(&rules, thresholds, &classes);
    let rules = Rules::new(rules, classes, &raw.redis.key_prefix)
        .map_err(|error| ConfigError::at(error.line, error.message))?;
    Ok(Config {
        name,
        source: source(raw.source, &lines)?,
        checkpoint,
        redis: redis_section(raw.redis, &lines)?,
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
    // GET_LOCK's names, among others, are limited to 64 characters.
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
            "checkpoint.key has no use with a file: set checkpoint.store = \"redis\", or leave it out",
        )),
        (raw::RawStore::Redis, Some(path), _) => Err(ConfigError::at(
            lines.of(&path),
            "checkpoint.path has no use with checkpoint.store = \"redis\": leave it out; `checkpoint.key` names the key",
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

pub(super) fn parse_url(
    url: &Spanned<String>,
    field: &str,
    lines: &Lines<'_>,
) -> Result<Url, ConfigError> {
    let error = |message: String| ConfigError::at(lines.of(url), message);
    let parsed = Url::parse(url.get_ref())
        .map_err(|reason| error(format!("{field} is no URL: {reason}")))?;
    if parsed.password().is_some() {
        let table = field.split('.').next().unwrap_or_default();
        return Err(error(format!(
            "{field} holds a password, which logs and process lists would show; move it to `{table}.password = {{ env = \"…\" }}`, `{{ file = \"…\" }}` or `{{ credential = \"…\" }}`"
        )));
    }
    Ok(parsed)
}

fn source(raw: raw::RawSource, lines: &Lines<'_>) -> Result<SourceConfig, ConfigError> {
    let url = parse_url(&raw.url, "source.url", lines)?;
    let error = |message: &str| ConfigError::at(lines.of(&raw.url), message);
    if url.scheme() != "mysql" {
        return Err(error("source.url must begin with mysql://"));
    }
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| error("source.url names no host: write mysql://USER@HOST:PORT"))?
        .trim_matches(['[', ']'])
        .to_owned();
    if url.username().is_empty() {
        return Err(error(
            "source.url names no user: write mysql://USER@HOST:PORT",
        ));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(error(
            "source.url takes neither a database nor options: write mysql://USER@HOST:PORT",
        ));
    }
    let tls = match raw.tls {
        Some(tls) => {
            if *tls.mode.get_ref() == TlsMode::Disabled && tls.ca_file.is_some() {
                return Err(ConfigError::at(
                    lines.of(&tls.mode),
                    "source.tls: `ca_file` has no use with mode = \"disabled\"",
                ));
            }
            TlsConfig {
                mode: tls.mode.into_inner(),
                ca_file: tls.ca_file,
            }
        }
        None if is_loopback(&host) => TlsConfig {
            mode: TlsMode::Disabled,
            ca_file: None,
        },
        None => TlsConfig {
            mode: TlsMode::VerifyIdentity,
            ca_file: None,
        },
    };
    if let Some(id) = raw.server_id.as_ref().filter(|id| *id.get_ref() == 0) {
        return Err(ConfigError::at(
            lines.of(id),
            "source.server_id must not be 0: choose a number that no other replica uses",
        ));
    }
    if raw.heartbeat < Duration::from_millis(100) || raw.heartbeat > Duration::from_secs(3_600) {
        return Err(error("source.heartbeat must be between 100ms and 1h"));
    }
    let start = match raw.start {
        None => Start::Current,
        Some(start) => match start.get_ref().parse() {
            Ok(Start::Checkpoint) => {
                return Err(ConfigError::at(
                    lines.of(&start),
                    "source.start says where to begin without a checkpoint: write `current`, `earliest` or a position",
                ));
            }
            Ok(position) => position,
            Err(reason) => {
                return Err(ConfigError::at(
                    lines.of(&start),
                    format!("source.start: {reason}"),
                ));
            }
        },
    };
    Ok(SourceConfig {
        port: url.port().unwrap_or(3306),
        user: percent_decode_str(url.username())
            .decode_utf8_lossy()
            .into_owned(),
        host,
        password: password::source(raw.password, &tls, lines)?,
        tls,
        server_id: raw.server_id.map(Spanned::into_inner),
        heartbeat: raw.heartbeat,
        start,
        on_gap: raw.on_gap,
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn redis_section(raw: raw::RawRedis, lines: &Lines<'_>) -> Result<RedisConfig, ConfigError> {
    let url = parse_url(&raw.url, "redis.url", lines)?;
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        return Err(ConfigError::at(
            lines.of(&raw.url),
            "redis.url must be redis://HOST:PORT/DB, or rediss://… for TLS",
        ));
    }
    let (ca_file, client_files) = cache::tls(raw.tls, &url, lines)?;
    Ok(RedisConfig {
        layout: cache::layout(raw.cluster, raw.sentinel, &url, lines.of(&raw.url), lines)?,
        password: password::redis(raw.password, &url, lines)?,
        url,
        ca_file,
        client_files,
        replicas: raw.replicas,
        settle_after: settle_after(raw.settle_after.as_ref(), lines)?,
    })
}

fn settle_after(
    raw: Option<&Spanned<raw::RawSettleAfter>>,
    lines: &Lines<'_>,
) -> Result<SettleConfig, ConfigError> {
    let Some(raw) = raw else {
        return Ok(SettleConfig::Fixed(SETTLE_AFTER));
    };
    let error = |message: String| Err(ConfigError::at(lines.of(raw), message));
    match raw.get_ref() {
        raw::RawSettleAfter::Text(text) if text == "off" => Ok(SettleConfig::Off),
        raw::RawSettleAfter::Text(text) => match duration::parse(text) {
            Some(after) if after <= SETTLE_AFTER_MAX => Ok(SettleConfig::Fixed(after)),
            _ => error(format!(
                "redis.settle_after = \"{text}\": write a duration of at most 1m, such as \"1s\", or \"off\""
            )),
        },
        raw::RawSettleAfter::ReplicaLag(raw::RawReplicaLag {
            replica_lag: false, ..
        }) => error(
            "redis.settle_after.replica_lag = false: write a duration, such as settle_after = \"1s\", instead of the table".to_owned(),
        ),
        raw::RawSettleAfter::ReplicaLag(raw::RawReplicaLag { min, max, .. }) => {
            if max > &SETTLE_AFTER_MAX || min > max {
                return error(
                    "redis.settle_after: `min` must not be longer than `max`, and `max` at most 1m"
                        .to_owned(),
                );
            }
            Ok(SettleConfig::ReplicaLag {
                min: *min,
                max: *max,
            })
        }
    }
}
