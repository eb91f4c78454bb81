//! `[redis]`

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use url::Url;

use super::error::{ConfigError, Lines};
use super::settings::{RedisConfig, RedisLayout, SettleConfig};
use super::{duration, field_url, password, raw};

/// Default of `settle_after`. A fill takes less, unless its process is held up.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// Longest `settle_after`: paths and positions wait as long.
const SETTLE_AFTER_MAX: Duration = Duration::from_secs(60);

pub(super) fn redis(raw: raw::RawRedis, lines: &Lines<'_>) -> Result<RedisConfig, ConfigError> {
    let url = field_url::parse(&raw.url, "redis.url", lines)?;
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        return Err(ConfigError::at(
            lines.of(&raw.url),
            "redis.url must be redis://HOST:PORT/DB, or rediss://… for TLS",
        ));
    }
    let (ca_file, client_files) = tls(raw.tls, &url, lines)?;
    Ok(RedisConfig {
        layout: layout(raw.cluster, raw.sentinel, &url, lines.of(&raw.url), lines)?,
        password: password::redis(raw.password, &url, lines)?,
        url,
        ca_file,
        client_files,
        replicas: raw.replicas,
        settle_after: settle_after(raw.settle_after.as_ref(), lines)?,
    })
}

/// A certificate and its key.
type ClientFiles = (PathBuf, PathBuf);

fn tls(
    section: Option<Spanned<raw::RawRedisTls>>,
    url: &Url,
    lines: &Lines<'_>,
) -> Result<(Option<PathBuf>, Option<ClientFiles>), ConfigError> {
    let Some(section) = section else {
        return Ok((None, None));
    };
    let line = lines.of(&section);
    if url.scheme() != "rediss" {
        return Err(ConfigError::at(
            line,
            "redis.tls has no effect with redis://: write rediss:// in redis.url",
        ));
    }
    let raw = section.into_inner();
    let client_files = match (raw.cert_file, raw.key_file) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(ConfigError::at(
                line,
                "redis.tls: `cert_file` and `key_file` come together",
            ));
        }
    };
    Ok((raw.ca_file, client_files))
}

fn layout(
    cluster: bool,
    sentinel: Option<Spanned<raw::RawSentinel>>,
    url: &Url,
    url_line: usize,
    lines: &Lines<'_>,
) -> Result<RedisLayout, ConfigError> {
    if cluster && !matches!(url.path(), "" | "/" | "/0") {
        return Err(ConfigError::at(
            url_line,
            "redis.url: a cluster has only database 0",
        ));
    }
    let Some(section) = sentinel else {
        return Ok(if cluster {
            RedisLayout::Cluster
        } else {
            RedisLayout::Single
        });
    };
    let line = lines.of(&section);
    if cluster {
        return Err(ConfigError::at(
            line,
            "redis.sentinel has no effect with redis.cluster = true: a cluster fails over by itself",
        ));
    }
    let raw = section.into_inner();
    if raw.urls.is_empty() {
        return Err(ConfigError::at(
            line,
            "redis.sentinel.urls is empty: name the sentinels, as redis://HOST:26379",
        ));
    }
    let mut urls = Vec::new();
    for text in &raw.urls {
        let sentinel = field_url::parse(text, "redis.sentinel.urls", lines)?;
        let has_host = sentinel.host_str().is_some_and(|host| !host.is_empty());
        if !has_host || !matches!(sentinel.scheme(), "redis" | "rediss") {
            return Err(ConfigError::at(
                lines.of(text),
                "redis.sentinel.urls: write redis://HOST:26379, or rediss://… for TLS",
            ));
        }
        urls.push(sentinel);
    }
    Ok(RedisLayout::Sentinel {
        master: raw.master,
        urls,
        password: raw.password,
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
