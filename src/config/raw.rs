//! The configuration as TOML has it, before it is checked.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::{OnGap, SecretRef, TlsMode, duration};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub name: Spanned<String>,
    pub source: Source,
    #[serde(default)]
    pub checkpoint: Checkpoint,
    pub redis: Redis,
    pub buffer: Option<Spanned<Buffer>>,
    pub cloudfront: Option<Spanned<CloudFront>>,
    #[serde(default)]
    pub ledger: Ledger,
    #[serde(default)]
    pub metrics: Metrics,
    #[serde(default, rename = "path")]
    pub paths: Vec<PathPattern>,
    #[serde(default, rename = "rule")]
    pub rules: Vec<Spanned<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub url: Spanned<String>,
    pub password: Option<SecretRef>,
    pub tls: Option<Tls>,
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
pub(super) struct Tls {
    pub mode: Spanned<TlsMode>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    #[expect(
        dead_code,
        reason = "the file is the only store; the field says so in a configuration"
    )]
    pub store: Option<Store>,
    pub path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Store {
    File,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redis {
    pub url: Spanned<String>,
    pub password: Option<SecretRef>,
    pub tls: Option<Spanned<RedisTls>>,
    #[serde(default)]
    pub cluster: bool,
    pub sentinel: Option<Spanned<Sentinel>>,
    #[serde(default)]
    pub replicas: u16,
    #[serde(default)]
    pub key_prefix: String,
    pub settle_after: Option<Spanned<SettleAfter>>,
}

/// A duration or `off`, or a table.
#[derive(Debug)]
pub(super) enum SettleAfter {
    Text(String),
    ReplicaLag(ReplicaLag),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicaLag {
    pub replica_lag: bool,
    #[serde(default = "one_second", deserialize_with = "duration::deserialize")]
    pub min: Duration,
    #[serde(default = "ten_seconds", deserialize_with = "duration::deserialize")]
    pub max: Duration,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

/// Not serde's `untagged`, which would not say which field of the table is
/// wrong.
impl<'de> Deserialize<'de> for SettleAfter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> de::Visitor<'de> for TextOrTable {
            type Value = SettleAfter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1s\", \"off\", or { replica_lag = true, … }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SettleAfter, E> {
                Ok(SettleAfter::Text(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<SettleAfter, A::Error> {
                let table = de::value::MapAccessDeserializer::new(map);
                ReplicaLag::deserialize(table).map(SettleAfter::ReplicaLag)
            }
        }

        from.deserialize_any(TextOrTable)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisTls {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sentinel {
    pub master: String,
    pub urls: Vec<Spanned<String>>,
    pub password: Option<SecretRef>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Buffer {
    pub kind: BufferKind,
    pub queue_url: Option<String>,
    pub path: Option<PathBuf>,
    pub max_receives: Option<Spanned<u32>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BufferKind {
    Sqs,
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloudFront {
    #[serde(default = "two_seconds", deserialize_with = "duration::deserialize")]
    pub window: Duration,
    pub calls_per_second: Option<Spanned<f64>>,
    #[serde(
        default = "a_quarter_of_an_hour",
        deserialize_with = "duration::deserialize"
    )]
    pub overdue_after: Duration,
    #[serde(default, rename = "distribution")]
    pub distributions: Vec<Distribution>,
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn a_quarter_of_an_hour() -> Duration {
    Duration::from_secs(15 * 60)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Distribution {
    pub name: Spanned<String>,
    pub id: String,
    pub monthly_path_budget: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub listen: Option<SocketAddr>,
    #[serde(default = "one_minute", deserialize_with = "duration::deserialize")]
    pub lag_max: Duration,
}

impl Default for Metrics {
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
pub(super) struct Ledger {
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PathPattern {
    pub pattern: Spanned<String>,
    pub class: PathClass,
    #[serde(default)]
    pub always: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PathClass {
    Strong,
    Immutable,
    ShortTtl,
    Cached,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub name: Spanned<String>,
    pub tables: Vec<Spanned<String>>,
    pub on: Option<Spanned<Vec<Op>>>,
    #[serde(default)]
    pub changed: Vec<Spanned<String>>,
    pub when: Option<Spanned<String>>,
    pub version: Option<Spanned<String>>,
    #[serde(default)]
    pub keys: Vec<Spanned<String>>,
    #[serde(default)]
    pub tag_sets: Vec<Spanned<TagSet>>,
    #[serde(default)]
    pub hash_fields: Vec<HashField>,
    pub guard: Option<Guard>,
    pub publish: Option<Spanned<String>>,
    #[serde(default)]
    pub paths: Vec<Spanned<String>>,
    pub bulk_threshold: Option<Spanned<usize>>,
    pub table_wide: Option<TableWide>,
    #[serde(default)]
    pub cascade_from: Vec<CascadeFrom>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guard {
    pub key: Spanned<String>,
    pub ttl: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HashField {
    pub key: Spanned<String>,
    pub field: Spanned<String>,
}

/// A text, or a table with the members' prefix.
#[derive(Debug)]
pub(super) struct TagSet {
    pub key: String,
    pub member_prefix: Option<String>,
}

impl<'de> Deserialize<'de> for TagSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            key: String,
            member_prefix: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = TagSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template, or { key = \"…\", member_prefix = \"…\" }")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<TagSet, E> {
                Ok(TagSet {
                    key: key.to_owned(),
                    member_prefix: None,
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TagSet, A::Error> {
                let from = de::value::MapAccessDeserializer::new(map);
                let Table { key, member_prefix } = Table::deserialize(from)?;
                Ok(TagSet { key, member_prefix })
            }
        }
        from.deserialize_any(Either)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CascadeFrom {
    pub table: Spanned<String>,
    pub keys: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Op {
    Insert,
    Update,
    Delete,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableWide {
    pub generation: Option<Spanned<String>>,
    #[serde(default)]
    pub keys: Vec<Spanned<String>>,
    #[serde(default)]
    pub tag_sets: Vec<Spanned<TagSet>>,
    #[serde(default)]
    pub paths: Vec<Spanned<String>>,
}
