//! The configuration as it is read from TOML, before it is checked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::duration;
use super::password::{RawPassword, RedisIam, SourceIam};
use super::secret::SecretRef;
use super::tls::TlsMode;
use crate::model::position::OnGap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub name: Spanned<String>,
    pub source: RawSource,
    #[serde(default)]
    pub checkpoint: RawCheckpoint,
    pub redis: RawRedis,
    pub buffer: Option<Spanned<RawBuffer>>,
    pub cloudfront: Option<Spanned<RawCloudFront>>,
    #[serde(default)]
    pub ledger: RawLedger,
    #[serde(default)]
    pub metrics: RawMetrics,
    #[serde(default)]
    pub log: RawLog,
    #[serde(default, rename = "path")]
    pub paths: Vec<RawPathPattern>,
    #[serde(default, rename = "rule")]
    pub rules: Vec<Spanned<RawRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub url: Spanned<String>,
    pub password: Option<Spanned<RawPassword<SourceIam>>>,
    pub tls: Option<RawTls>,
    pub server_id: Option<Spanned<u32>>,
    #[serde(default = "ten_seconds", deserialize_with = "duration::deserialize")]
    pub heartbeat: Duration,
    pub start: Option<Spanned<String>>,
    #[serde(default)]
    pub on_gap: OnGap,
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub mode: Spanned<TlsMode>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheckpoint {
    #[serde(default)]
    pub store: RawStore,
    pub path: Option<Spanned<PathBuf>>,
    pub key: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawStore {
    #[default]
    File,
    Redis,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRedis {
    pub url: Spanned<String>,
    pub password: Option<Spanned<RawPassword<RedisIam>>>,
    pub tls: Option<Spanned<RawRedisTls>>,
    #[serde(default)]
    pub cluster: bool,
    pub sentinel: Option<Spanned<RawSentinel>>,
    #[serde(default)]
    pub replicas: u16,
    #[serde(default)]
    pub key_prefix: String,
    pub settle_after: Option<Spanned<RawSettleAfter>>,
}

/// A duration or `off`, or a table.
#[derive(Debug)]
pub(super) enum RawSettleAfter {
    Text(String),
    ReplicaLag(RawReplicaLag),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReplicaLag {
    pub replica_lag: bool,
    #[serde(default = "one_second", deserialize_with = "duration::deserialize")]
    pub min: Duration,
    #[serde(default = "ten_seconds", deserialize_with = "duration::deserialize")]
    pub max: Duration,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

/// Written by hand: serde's `untagged` does not say which field of the table is
/// wrong.
impl<'de> Deserialize<'de> for RawSettleAfter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> de::Visitor<'de> for TextOrTable {
            type Value = RawSettleAfter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1s\", \"off\", or { replica_lag = true, … }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawSettleAfter, E> {
                Ok(RawSettleAfter::Text(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RawSettleAfter, A::Error> {
                let table = de::value::MapAccessDeserializer::new(map);
                RawReplicaLag::deserialize(table).map(RawSettleAfter::ReplicaLag)
            }
        }

        from.deserialize_any(TextOrTable)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRedisTls {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSentinel {
    pub master: String,
    pub urls: Vec<Spanned<String>>,
    pub password: Option<SecretRef>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBuffer {
    pub kind: RawBufferKind,
    pub queue_url: Option<String>,
    pub path: Option<PathBuf>,
    pub max_receives: Option<Spanned<u32>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawBufferKind {
    Sqs,
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCloudFront {
    #[serde(default = "two_seconds", deserialize_with = "duration::deserialize")]
    pub window: Duration,
    pub calls_per_second: Option<Spanned<f64>>,
    #[serde(
        default = "a_quarter_of_an_hour",
        deserialize_with = "duration::deserialize"
    )]
    pub overdue_after: Duration,
    #[serde(default, rename = "distribution")]
    pub distributions: Vec<RawDistribution>,
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn a_quarter_of_an_hour() -> Duration {
    Duration::from_secs(15 * 60)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDistribution {
    pub name: Spanned<String>,
    pub id: String,
    pub monthly_path_budget: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMetrics {
    pub listen: Option<SocketAddr>,
    #[serde(default = "one_minute", deserialize_with = "duration::deserialize")]
    pub lag_max: Duration,
}

impl Default for RawMetrics {
    fn default() -> Self {
        Self {
            listen: None,
            lag_max: one_minute(),
        }
    }
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub level: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLedger {
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPathPattern {
    pub pattern: Spanned<String>,
    pub class: RawPathClass,
    #[serde(default)]
    pub always: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawPathClass {
    Strong,
    Immutable,
    ShortTtl,
    Cached,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub name: Spanned<String>,
    pub tables: Vec<Spanned<String>>,
    pub on: Option<Spanned<Vec<RawOp>>>,
    #[serde(default)]
    pub changed: Vec<Spanned<String>>,
    pub when: Option<Spanned<String>>,
    pub version: Option<Spanned<String>>,
    #[serde(default)]
    pub keys: Vec<Spanned<String>>,
    #[serde(default)]
    pub tag_sets: Vec<Spanned<RawTagSet>>,
    #[serde(default)]
    pub hash_fields: Vec<RawHashField>,
    pub guard: Option<RawGuard>,
    pub publish: Option<Spanned<String>>,
    #[serde(default)]
    pub paths: Vec<Spanned<String>>,
    #[serde(default)]
    pub edge_tags: Vec<Spanned<String>>,
    pub expand: Option<Spanned<BTreeMap<String, Vec<String>>>>,
    pub distributions: Option<Spanned<Vec<Spanned<String>>>>,
    pub tenant: Option<Spanned<String>>,
    pub bulk_threshold: Option<Spanned<usize>>,
    pub table_wide: Option<RawTableWide>,
    #[serde(default)]
    pub cascade_from: Vec<RawCascade>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGuard {
    pub key: Spanned<String>,
    pub ttl: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHashField {
    pub key: Spanned<String>,
    pub field: Spanned<String>,
}

/// A template, or a table with a template and the members' prefix.
#[derive(Debug)]
pub(super) struct RawTagSet {
    pub key: String,
    pub member_prefix: Option<String>,
}

impl<'de> Deserialize<'de> for RawTagSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            key: String,
            member_prefix: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawTagSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template, or { key = \"…\", member_prefix = \"…\" }")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<RawTagSet, E> {
                Ok(RawTagSet {
                    key: key.to_owned(),
                    member_prefix: None,
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RawTagSet, A::Error> {
                let from = de::value::MapAccessDeserializer::new(map);
                let Table { key, member_prefix } = Table::deserialize(from)?;
                Ok(RawTagSet { key, member_prefix })
            }
        }
        from.deserialize_any(Either)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCascade {
    pub table: Spanned<String>,
    pub keys: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawOp {
    Insert,
    Update,
    Delete,
}

/// What is not named keeps its default, and an empty list is none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTableWide {
    pub generation: Option<Spanned<String>>,
    pub keys: Option<Vec<Spanned<String>>>,
    pub tag_sets: Option<Vec<Spanned<RawTagSet>>>,
    pub paths: Option<Vec<Spanned<String>>>,
    pub edge_tags: Option<Vec<Spanned<String>>>,
}
