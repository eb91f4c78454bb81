//! What `[redis]` says of how the server is reached.

use std::path::PathBuf;

use toml::Spanned;
use url::Url;

use super::error::Lines;
use super::raw;
use super::validate::parse_url;
use super::{ConfigError, RedisLayout};

/// A certificate and its key.
type ClientFiles = (PathBuf, PathBuf);

pub(super) fn tls(
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
            "redis.tls has no use with redis://: write rediss:// in redis.url",
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

pub(super) fn layout(
    cluster: bool,
    sentinel: Option<Spanned<raw::RawSentinel>>,
    url: &Url,
    url_line: usize,
    lines: &Lines<'_>,
) -> Result<RedisLayout, ConfigError> {
    if cluster && !matches!(url.path(), "" | "/" | "/0") {
        return Err(ConfigError::at(
            url_line,
            "redis.url: a cluster has database 0 and no other",
        ));
    }
    let Some(section) = sentinel else {
        return Ok(match cluster {
            true => RedisLayout::Cluster,
            false => RedisLayout::Single,
        });
    };
    let line = lines.of(&section);
    if cluster {
        return Err(ConfigError::at(
            line,
            "redis.sentinel has no use with redis.cluster = true: a cluster fails over by itself",
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
        let sentinel = parse_url(text, "redis.sentinel.urls", lines)?;
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
