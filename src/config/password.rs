//! Passwords that are kept somewhere, and tokens of AWS IAM in their place.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::error::{ConfigError, Lines};
use super::secret::SecretRef;
use super::tls::{TlsConfig, TlsMode};

/// The password of an account; `I` says what a token is signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordConfig<I> {
    /// A secret that is kept somewhere.
    Kept(SecretRef),
    /// A token that is signed for each connection.
    Iam(I),
}

/// `source.password.iam`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceIam {
    pub region: String,
}

/// `redis.password.iam`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisIam {
    pub region: String,
    /// The cache's name in AWS, in lower case.
    pub cache: String,
    #[serde(default)]
    pub kind: RedisIamKind,
}

/// `redis.password.iam.kind`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedisIamKind {
    /// A replication group of ElastiCache.
    #[default]
    Elasticache,
    /// A serverless cache of ElastiCache.
    ElasticacheServerless,
    /// A cluster of MemoryDB.
    Memorydb,
}

/// As TOML has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum RawPassword<I> {
    Env(String),
    File(PathBuf),
    Credential(String),
    Iam(I),
}

impl<I> From<RawPassword<I>> for PasswordConfig<I> {
    fn from(raw: RawPassword<I>) -> Self {
        match raw {
            RawPassword::Env(name) => PasswordConfig::Kept(SecretRef::Env(name)),
            RawPassword::File(path) => PasswordConfig::Kept(SecretRef::File(path)),
            RawPassword::Credential(name) => PasswordConfig::Kept(SecretRef::Credential(name)),
            RawPassword::Iam(iam) => PasswordConfig::Iam(iam),
        }
    }
}

type Raw<I> = Option<Spanned<RawPassword<I>>>;

pub(super) fn source(
    raw: Raw<SourceIam>,
    tls: &TlsConfig,
    lines: &Lines<'_>,
) -> Result<Option<PasswordConfig<SourceIam>>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let line = lines.of(&raw);
    let password = raw.into_inner().into();
    if let PasswordConfig::Iam(iam) = &password {
        region(&iam.region, "source.password.iam.region", line)?;
        // The token is sent in plain text: whoever reads it can log in.
        if tls.mode == TlsMode::Disabled {
            return Err(ConfigError::at(
                line,
                "source.password.iam needs TLS: set source.tls, as in tls = { mode = \"verify-identity\", ca_file = \"…\" }",
            ));
        }
    }
    Ok(Some(password))
}

pub(super) fn redis(
    raw: Raw<RedisIam>,
    url: &Url,
    lines: &Lines<'_>,
) -> Result<Option<PasswordConfig<RedisIam>>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let line = lines.of(&raw);
    let mut password = raw.into_inner().into();
    if let PasswordConfig::Iam(iam) = &mut password {
        region(&iam.region, "redis.password.iam.region", line)?;
        let error = |message: String| Err(ConfigError::at(line, message));
        if url.scheme() != "rediss" {
            return error("redis.password.iam needs TLS: write rediss:// in redis.url".to_owned());
        }
        if url.username().is_empty() {
            return error(
                "redis.password.iam is for one user: write rediss://USER@HOST:PORT in redis.url"
                    .to_owned(),
            );
        }
        iam.cache.make_ascii_lowercase();
        if !is_name(&iam.cache) {
            return error(format!(
                "redis.password.iam.cache = \"{}\": write the cache's name, not its address",
                iam.cache
            ));
        }
    }
    Ok(Some(password))
}

fn region(region: &str, field: &str, line: usize) -> Result<(), ConfigError> {
    if is_name(region) && region.contains('-') && region.ends_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    Err(ConfigError::at(
        line,
        format!("{field} = \"{region}\": write a region, such as \"eu-west-1\""),
    ))
}

/// Whether `text` consists of lower-case letters, digits and hyphens.
fn is_name(text: &str) -> bool {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(valid)
}
