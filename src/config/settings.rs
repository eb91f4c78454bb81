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
    /// Where changes come from.
    pub source: SourceConfig,
    /// Where the position is kept.
    pub checkpoint: CheckpointConfig,
    /// The cache.
    pub redis: RedisConfig,
    /// Between the tail and the drain; present if and only if `cloudfront` is.
    pub buffer: Option<BufferConfig>,
    /// How often a message that cannot be used is received before it becomes a
    /// dead letter.
    pub max_receives: u32,
    /// The edge; without it paths are logged.
    pub cloudfront: Option<CloudFrontConfig>,
    /// Where gaps and dead letters are put on record; `None`: in the log only.
    pub ledger_dir: Option<PathBuf>,
    /// Where metrics and the status are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// How far behind it may be and still count as ready.
    pub lag_max: Duration,
    /// What is logged, unless the command line says.
    pub log_level: Option<String>,
    /// What invalidates what.
    pub rules: Rules,
    /// What goes in the place of very many paths.
    pub bulk: Vec<Bulk>,
    /// All of it as it was written.
    pub text: String,
}

impl Config {
    /// Where the month's paths are counted: beside the checkpoint, or with the
    /// ledger; `None`: in memory.
    pub fn budget_file(&self) -> Option<PathBuf> {
        let name = format!("{}.budget.json", self.name);
        match &self.checkpoint {
            CheckpointConfig::File { path } => Some(path.with_file_name(name)),
            CheckpointConfig::Redis { .. } => self.ledger_dir.as_ref().map(|dir| dir.join(name)),
        }
    }

    /// Where this machine's drains keep what they have had invalidated lately:
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
    File {
        /// The file.
        path: PathBuf,
    },
    /// A key of the Redis that `[redis]` describes.
    Redis {
        /// The key, whole.
        key: String,
    },
}

/// `rule.bulk_threshold`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// The rule's name.
    pub rule: String,
    /// More paths than this go as the wildcards.
    pub threshold: usize,
    /// The rule's paths for the whole table, of class `cached`, and its tags.
    pub wildcards: Vec<String>,
}

/// `[source]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The host to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The account's name.
    pub user: String,
    /// What lets the account in.
    pub password: Option<PasswordConfig<SourceIam>>,
    /// How the connection is secured.
    pub tls: TlsConfig,
    /// The replica's id; `None`: derived from the configuration's and the
    /// machine's name.
    pub server_id: Option<u32>,
    /// How often the server says that it is alive while nothing happens.
    pub heartbeat: Duration,
    /// Where to begin without a checkpoint.
    pub start: Start,
    /// What to do where changes are lost.
    pub on_gap: OnGap,
}

/// `[redis]`
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The server, without its password.
    pub url: url::Url,
    /// What lets evictd in.
    pub password: Option<PasswordConfig<RedisIam>>,
    /// The only authorities to accept, a PEM file; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// The certificate to present and its key, PEM files.
    pub client_files: Option<(PathBuf, PathBuf)>,
    /// What the URL leads to.
    pub layout: RedisLayout,
    /// How many replicas have to acknowledge a deletion.
    pub replicas: u16,
    /// When keys are deleted again.
    pub settle_after: SettleConfig,
}

/// `redis.settle_after`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleConfig {
    /// Never.
    Off,
    /// This long after the change was visible.
    Fixed(Duration),
    /// Once the change was visible on every reader of an Aurora cluster.
    ReplicaLag {
        /// This long after that.
        min: Duration,
        /// This long after the change was visible on the writer, at the latest.
        max: Duration,
    },
}

/// What `redis.url` leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisLayout {
    /// One primary.
    Single,
    /// A node of a cluster.
    Cluster,
    /// A primary that sentinels know.
    Sentinel {
        /// What they call it.
        master: String,
        /// Where they are.
        urls: Vec<url::Url>,
        /// Theirs.
        password: Option<SecretRef>,
    },
}

/// `[buffer]`
#[derive(Clone, Debug)]
pub enum BufferConfig {
    /// An SQS queue.
    Sqs {
        /// Its URL.
        queue_url: String,
    },
    /// A file on this machine.
    Local {
        /// The file.
        path: PathBuf,
    },
}

/// `[cloudfront]`
#[derive(Clone, Debug)]
pub struct CloudFrontConfig {
    /// How long paths gather before they are sent.
    pub window: Duration,
    /// Calls to CloudFront, of all distributions together.
    pub calls_per_second: f64,
    /// How long an invalidation may be in progress before it is reported.
    pub overdue_after: Duration,
    /// Paths that are sent as they are, whatever the budget says.
    pub always: AlwaysPaths,
    /// Where paths go.
    pub distributions: Vec<DistributionConfig>,
}

impl CloudFrontConfig {
    /// What each distribution may cost in a month, by its name.
    pub fn path_budgets(&self) -> BTreeMap<Arc<str>, Option<u64>> {
        let distributions = self.distributions.iter();
        distributions
            .map(|it| (it.name.as_str().into(), it.monthly_path_budget))
            .collect()
    }
}

/// `[[cloudfront.distribution]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionConfig {
    /// The name that messages and metrics use.
    pub name: String,
    /// CloudFront's id.
    pub id: String,
    /// How many paths it may cost in a month.
    pub monthly_path_budget: Option<u64>,
}
