//! A validated configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::password::{PasswordConfig, RedisIam, SourceIam};
use super::secret::SecretRef;
use super::tls::TlsConfig;
use crate::model::position::{OnGap, Start};
use crate::rules::Rules;
use crate::rules::budget_exempt::AlwaysPaths;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names the checkpoint, the leader's lock, the buffer's messages and the
    /// metrics label.
    pub name: String,
    pub source: SourceConfig,
    pub checkpoint: CheckpointConfig,
    pub redis: RedisConfig,
    /// The queue between the tail and the drain; present if and only if
    /// `cloudfront` is.
    pub buffer: Option<BufferConfig>,
    /// Number of times that a message that cannot be used is received before it
    /// becomes a dead letter.
    pub max_receives: u32,
    /// The edge; without it paths are logged.
    pub cloudfront: Option<CloudFrontConfig>,
    /// The directory in which gaps and dead letters are put on record; without
    /// it they are only logged.
    pub ledger_dir: Option<PathBuf>,
    /// The address at which metrics and the status are served, if any.
    pub metrics_listen: Option<SocketAddr>,
    /// Largest lag at which the daemon still counts as ready.
    pub lag_max: Duration,
    /// The log level, unless the command line gives one.
    pub log_level: Option<String>,
    pub rules: Rules,
    /// The wildcards in place of very many paths, rule by rule.
    pub bulk: Vec<Bulk>,
    /// The configuration as it was written.
    pub text: String,
}

impl Config {
    /// The file that counts the month's paths, beside the checkpoint or in the
    /// ledger's directory; `None` to count in memory.
    pub fn budget_file(&self) -> Option<PathBuf> {
        let name = format!("{}.budget.json", self.name);
        match &self.checkpoint {
            CheckpointConfig::File { path } => Some(path.with_file_name(name)),
            CheckpointConfig::Redis { .. } => self.ledger_dir.as_ref().map(|dir| dir.join(name)),
        }
    }

    /// The file in which this machine's drains keep their recent invalidations,
    /// beside the month's count.
    pub fn history_file(&self) -> Option<PathBuf> {
        let name = format!("{}.invalidations.jsonl", self.name);
        Some(self.budget_file()?.with_file_name(name))
    }
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointConfig {
    /// A file on this machine.
    File { path: PathBuf },
    /// A key of the Redis that `[redis]` describes, without `key_prefix`.
    Redis { key: String },
}

/// `rule.bulk_threshold`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// The rule's name.
    pub rule: String,
    /// Most paths that are sent as they are.
    pub threshold: usize,
    /// The rule's `table_wide` paths of class `cached`, and its `table_wide` tags.
    pub wildcards: Vec<String>,
}

/// `[source]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<PasswordConfig<SourceIam>>,
    pub tls: TlsConfig,
    /// The id as a replica; `None` to derive it from the configuration's and the
    /// machine's name.
    pub server_id: Option<u32>,
    /// Time between two signs of life of the server while nothing happens.
    pub heartbeat: Duration,
    /// The position to begin at without a checkpoint.
    pub start: Start,
    pub on_gap: OnGap,
}

impl SourceConfig {
    /// Whether connections made by `self` and by `other` lead to the same server
    /// and account in the same way.
    pub fn connects_like(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.user) == (&other.host, other.port, &other.user)
            && (&self.password, &self.tls) == (&other.password, &other.tls)
    }
}

/// `[redis]`
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The server's URL, without a password.
    pub url: url::Url,
    pub password: Option<PasswordConfig<RedisIam>>,
    /// A PEM file of the only authorities to accept; `None` for the public ones.
    pub ca_file: Option<PathBuf>,
    /// PEM files of the certificate to present and of its key.
    pub client_files: Option<(PathBuf, PathBuf)>,
    pub layout: RedisLayout,
    /// Number of replicas that have to acknowledge a deletion.
    pub replicas: u16,
    /// When keys are deleted a second time.
    pub settle_after: SettleConfig,
}

/// `redis.settle_after`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleConfig {
    Off,
    /// This long after the change was visible.
    Fixed(Duration),
    /// Once the change was visible on every reader of an Aurora cluster.
    ReplicaLag {
        /// This long after the slowest reader had the change.
        min: Duration,
        /// This long after the change was visible on the writer at the latest.
        max: Duration,
    },
}

impl SettleConfig {
    /// The longest time from a change's visibility to its second deletion.
    pub fn longest(self) -> Duration {
        match self {
            Self::Off => Duration::ZERO,
            Self::Fixed(after) => after,
            Self::ReplicaLag { max, .. } => max,
        }
    }
}

/// The kind of deployment that `redis.url` leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisLayout {
    /// One primary.
    Single,
    /// A node of a cluster.
    Cluster,
    /// A primary that sentinels know.
    Sentinel {
        /// The name that the sentinels have for the primary.
        master: String,
        /// The sentinels' URLs.
        urls: Vec<url::Url>,
        /// The sentinels' own password.
        password: Option<SecretRef>,
    },
}

/// `[buffer]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BufferConfig {
    /// An SQS queue.
    Sqs { queue_url: String },
    /// A file on this machine.
    Local { path: PathBuf },
}

/// `[cloudfront]`
#[derive(Clone, Debug)]
pub struct CloudFrontConfig {
    /// Longest time that paths gather before they are sent.
    pub window: Duration,
    /// Calls to CloudFront, for all distributions together.
    pub calls_per_second: f64,
    /// Time after which an invalidation that is still in progress is reported.
    pub overdue_after: Duration,
    /// Paths that are sent as they are, whatever the budget says.
    pub always: AlwaysPaths,
    pub distributions: Vec<DistributionConfig>,
}

impl CloudFrontConfig {
    /// The monthly path budget of each distribution, by its name.
    pub fn path_budgets(&self) -> BTreeMap<Arc<str>, Option<u64>> {
        self.distributions
            .iter()
            .map(|distribution| {
                let name = distribution.name.as_str().into();
                (name, distribution.monthly_path_budget)
            })
            .collect()
    }
}

/// `[[cloudfront.distribution]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionConfig {
    /// The name in messages and metrics.
    pub name: String,
    /// CloudFront's id.
    pub id: String,
    /// Paths that may be paid for in a month.
    pub monthly_path_budget: Option<u64>,
}
