//! From TOML to a [`Config`]: everything that can be known without a server is
//! checked here.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use url::Url;

use super::duration;
use super::error::Lines;
use super::raw::{self, Raw};
use super::rules::{path_patterns, rules};
use super::{
    Buffer, Bulk, CloudFront, Config, ConfigError, Distribution, Redis, Source, Tls, TlsMode,
};
use crate::model::invalidation::PathClass;
use crate::model::position::Start;
use crate::rules::Rules;
use crate::rules::always::AlwaysPaths;
use crate::rules::class::PathClasses;
use crate::rules::rule::Rule;

/// A fill takes less, unless its process is held up.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// Positions and paths wait for as long: more would hold back everything.
const SETTLE_AFTER_MAX: Duration = Duration::from_secs(60);

/// CloudFront throttles an account at a rate that it does not publish; users
/// report six to ten.
const CALLS_PER_SECOND: f64 = 1.0;

/// Two and a half minutes at SQS's visibility timeout.
const MAX_RECEIVES: u32 = 5;

/// Five dollars as single paths.
const BULK_THRESHOLD: usize = 1_000;

/// Parses and validates a configuration.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let lines = Lines(text);
    let raw: Raw = toml::from_str(text).map_err(|error| lines.error(&error))?;
    let name = name(&raw.name, &lines)?;
    let checkpoint = raw
        .checkpoint
        .path
        .unwrap_or_else(|| PathBuf::from(format!("/var/lib/evictd/{name}.checkpoint.json")));
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
    let cloudfront = cloudfront.map(|section| CloudFront { always, ..section });
    let thresholds = bulk_thresholds(&raw.rules, &lines)?;
    let rules = rules(raw.rules, &raw.redis.key_prefix, &lines)?;
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
        metrics_listen: raw.metrics.listen,
        rules,
        bulk,
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

fn parse_url(url: &Spanned<String>, field: &str, lines: &Lines<'_>) -> Result<Url, ConfigError> {
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

fn source(raw: raw::Source, lines: &Lines<'_>) -> Result<Source, ConfigError> {
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
            Tls {
                mode: tls.mode.into_inner(),
                ca_file: tls.ca_file,
            }
        }
        None if is_loopback(&host) => Tls {
            mode: TlsMode::Disabled,
            ca_file: None,
        },
        None => Tls {
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
    Ok(Source {
        port: url.port().unwrap_or(3306),
        user: percent_decoded(url.username()),
        host,
        password: raw.password,
        tls,
        server_id: raw.server_id.map(Spanned::into_inner),
        heartbeat: raw.heartbeat,
        start,
        on_gap: raw.on_gap,
    })
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let mut decoded = [*byte];
        if *byte == b'%'
            && let Some((digits, after)) = tail.split_at_checked(2)
            && hex::decode_to_slice(digits, &mut decoded).is_ok()
        {
            rest = after;
        }
        out.extend(decoded);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn redis(raw: raw::Redis, lines: &Lines<'_>) -> Result<Redis, ConfigError> {
    let url = parse_url(&raw.url, "redis.url", lines)?;
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        return Err(ConfigError::at(
            lines.of(&raw.url),
            "redis.url must be redis://HOST:PORT/DB, or rediss://… for TLS",
        ));
    }
    let settle_after = match &raw.settle_after {
        None => Some(SETTLE_AFTER),
        Some(text) if text.get_ref() == "off" => None,
        Some(text) => {
            let parsed = duration::parse(text.get_ref()).filter(|after| *after <= SETTLE_AFTER_MAX);
            Some(parsed.ok_or_else(|| {
                ConfigError::at(
                    lines.of(text),
                    format!(
                        "redis.settle_after = \"{}\": write a duration of at most 1m, such as \"1s\", or \"off\"",
                        text.get_ref()
                    ),
                )
            })?)
        }
    };
    Ok(Redis {
        url,
        password: raw.password,
        settle_after,
    })
}

/// How many paths of a rule a batch or a transaction may send before they go
/// as its wildcards.
fn bulk_thresholds(
    rules: &[Spanned<raw::Rule>],
    lines: &Lines<'_>,
) -> Result<Vec<usize>, ConfigError> {
    rules
        .iter()
        .map(|rule| match &rule.get_ref().bulk_threshold {
            None => Ok(BULK_THRESHOLD),
            Some(threshold) if *threshold.get_ref() == 0 => Err(ConfigError::at(
                lines.of(threshold),
                format!(
                    "rule \"{}\": bulk_threshold must not be 0: write 1 to send its wildcards for every change of two paths",
                    rule.get_ref().name.get_ref()
                ),
            )),
            Some(threshold) => Ok(*threshold.get_ref()),
        })
        .collect()
}

fn bulk(rules: &[Rule], thresholds: Vec<usize>, classes: &PathClasses) -> Vec<Bulk> {
    let rules = rules.iter().zip(thresholds);
    rules
        .map(|(rule, threshold)| {
            let paths = rule.table_wide.paths.iter();
            let cached = paths.filter(|path| classes.of(path) == PathClass::Cached);
            Bulk {
                rule: rule.name.to_string(),
                threshold,
                wildcards: cached.cloned().collect(),
            }
        })
        .collect()
}

fn buffer(section: Spanned<raw::Buffer>, lines: &Lines<'_>) -> Result<(Buffer, u32), ConfigError> {
    let line = lines.of(&section);
    let raw = section.into_inner();
    let max_receives = match raw.max_receives {
        None => MAX_RECEIVES,
        Some(number) if *number.get_ref() == 0 => {
            return Err(ConfigError::at(
                lines.of(&number),
                "buffer.max_receives must not be 0: every message is received once at least",
            ));
        }
        Some(number) => number.into_inner(),
    };
    let kind = kind_of_buffer(raw.kind, raw.queue_url, raw.path, line)?;
    Ok((kind, max_receives))
}

fn kind_of_buffer(
    kind: raw::BufferKind,
    queue_url: Option<String>,
    path: Option<PathBuf>,
    line: usize,
) -> Result<Buffer, ConfigError> {
    match (kind, queue_url, path) {
        (raw::BufferKind::Sqs, Some(queue_url), None) => {
            let valid =
                Url::parse(&queue_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !valid {
                return Err(ConfigError::at(
                    line,
                    "buffer.queue_url is no URL: write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE",
                ));
            }
            Ok(Buffer::Sqs { queue_url })
        }
        (raw::BufferKind::Local, None, Some(path)) => Ok(Buffer::Local { path }),
        (raw::BufferKind::Sqs, ..) => Err(ConfigError::at(
            line,
            "[buffer] with kind = \"sqs\" takes `queue_url`, not `path`",
        )),
        (raw::BufferKind::Local, ..) => Err(ConfigError::at(
            line,
            "[buffer] with kind = \"local\" takes `path`, not `queue_url`",
        )),
    }
}

fn cloudfront(
    section: Spanned<raw::CloudFront>,
    lines: &Lines<'_>,
) -> Result<CloudFront, ConfigError> {
    let line = lines.of(&section);
    let raw = section.into_inner();
    if raw.distributions.is_empty() {
        return Err(ConfigError::at(
            line,
            "[cloudfront] names no distribution: add [[cloudfront.distribution]] with `name` and `id`",
        ));
    }
    let mut names = HashSet::new();
    let mut distributions = Vec::new();
    for distribution in raw.distributions {
        if !names.insert(distribution.name.get_ref().clone()) {
            return Err(ConfigError::at(
                lines.of(&distribution.name),
                format!(
                    "two distributions are called \"{}\"",
                    distribution.name.get_ref()
                ),
            ));
        }
        distributions.push(Distribution {
            name: distribution.name.into_inner(),
            id: distribution.id,
            monthly_path_budget: distribution.monthly_path_budget,
        });
    }
    let calls_per_second = match raw.calls_per_second {
        None => CALLS_PER_SECOND,
        Some(rate) if (0.01..=100.0).contains(rate.get_ref()) => rate.into_inner(),
        Some(rate) => {
            return Err(ConfigError::at(
                lines.of(&rate),
                "cloudfront.calls_per_second must be between 0.01 and 100: CloudFront throttles an account at a few calls a second",
            ));
        }
    };
    Ok(CloudFront {
        window: raw.window,
        calls_per_second,
        always: AlwaysPaths::default(),
        distributions,
    })
}
