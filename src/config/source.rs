//! `[source]`

use std::time::Duration;

use percent_encoding::percent_decode_str;
use toml::Spanned;

use super::error::{ConfigError, Lines};
use super::raw::RawSource;
use super::settings::SourceConfig;
use super::tls::{TlsConfig, TlsMode};
use super::{field_url, password};
use crate::model::position::Start;

pub(super) fn source(raw: RawSource, lines: &Lines<'_>) -> Result<SourceConfig, ConfigError> {
    let url = field_url::parse(&raw.url, "source.url", lines)?;
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
                    "source.tls: `ca_file` has no effect with mode = \"disabled\"",
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
