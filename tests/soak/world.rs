//! The servers, evictd between them, and the proxies through which the two talk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use tempfile::TempDir;

use super::buffer::BufferKind;
use super::clients::{Address, Endpoint};
use super::hosts::Hosts;
use super::options;
use super::probes::{FIRST_DISTRIBUTION, Probes};
use super::proxy::{Alter, Mode, Proxy, Watch};
use super::refused;
use super::store::{Layout, Store};
use crate::support::{
    Aws, Clock, Disk, Evictd, FakeCloudFront, FakeSettings, Mysql, MysqlOptions, scratch,
};

const WITHIN: Duration = Duration::from_secs(60);

/// For everything to be deleted twice by scans, which take their time where Redis is slow.
const SCANNED_WITHIN: Duration = Duration::from_secs(180);

const POLL_EVERY: Duration = Duration::from_millis(50);

/// Room for checkpoints, and for a quarter of an hour of invalidations on record. Filled up in a moment.
const DISK: &str = "64m";

/// How much later what a lagging reader asks for arrives.
pub const LAG: Duration = Duration::from_millis(15);

/// How long the server takes between handing a transaction to its replicas and making it visible, with
/// `sync_binlog = 0`: what a slow disk does (MySQL manual, `binlog_group_commit_sync_delay`).
const COMMIT_DELAY: Duration = Duration::from_micros(1_500);

/// After it messages come back that a killed evictd had received.
const VISIBILITY_TIMEOUT_SECONDS: &str = "6";

/// After so many receives SQS gives a message up by itself, and evictd long before.
const RECEIVES_MAX: u32 = 1_000;

/// evictd says so whenever it has connected to the database.
pub const READS: &str = "reading the binlog";

/// Whether evictd is as it should be, or what protects from stale entries is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Barrier and settling.
    On,
    /// A server without GTIDs, where there is no barrier, and no settling: to see that the harness finds what
    /// comes of it.
    Off,
}

/// Everything that runs.
pub struct World {
    /// The server that is written to.
    pub mysql: Mysql,
    /// Where applications find it.
    pub database: Endpoint,
    /// How many servers there have been.
    pub servers: u32,
    /// The writer before, where it lives on.
    pub retired: Option<Mysql>,
    pub redis: Store,
    /// SQS.
    pub aws: Aws,
    pub cloudfront: FakeCloudFront,
    /// The id that the configuration has for its distribution.
    pub(super) distribution: String,
    pub buffer: BufferKind,
    pub(super) queue_url: String,
    /// What stamps the messages of SQS, and delivers some again.
    pub hosts: Arc<Hosts>,
    pub(super) rules: String,
    evictd: Option<Evictd>,
    /// Another evictd, which leads when the first one is gone.
    standby: Option<Evictd>,
    pub disk: Disk,
    pub clock: Option<Clock>,
    pub(super) protection: Protection,
    pub(super) settle_after: Duration,
    /// From evictd to the servers.
    pub source: Proxy,
    pub cache: Proxy,
    pub(super) queue: Option<Proxy>,
    pub(super) edge: Option<Proxy>,
    /// From lagging readers to the servers.
    pub lagging_database: Proxy,
    pub lagging_cache: Proxy,
    /// What earlier processes complained about.
    complaints: Vec<String>,
    pub(super) dir: TempDir,
}

impl World {
    pub async fn start(
        protection: Protection,
        settle_after: Duration,
        layout: Layout,
        buffer: BufferKind,
    ) -> Self {
        let gtid = protection == Protection::On;
        let mysql = MysqlOptions {
            gtid,
            extra: ["--innodb-buffer-pool-size=64M", "--max-binlog-size=256M"]
                .map(str::to_owned)
                .to_vec(),
            ..MysqlOptions::default()
        };
        let (mysql, redis, aws) =
            tokio::join!(Mysql::start(mysql), Store::start(layout), Aws::start());
        mysql
            .exec(
                "CREATE DATABASE soak; USE soak; \
                 CREATE TABLE plain (id BIGINT UNSIGNED PRIMARY KEY, version BIGINT UNSIGNED NOT NULL, \
                   content VARCHAR(40) NOT NULL); \
                 CREATE TABLE versioned LIKE plain; CREATE TABLE guarded LIKE plain; \
                 CREATE TABLE probes (id BIGINT UNSIGNED PRIMARY KEY, version BIGINT UNSIGNED NOT NULL); \
                 CREATE TABLE listed (id BIGINT UNSIGNED PRIMARY KEY); CREATE TABLE refused LIKE listed; \
                 INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            )
            .await;
        let cloudfront = FakeCloudFront::start(FakeSettings {
            refuse: Some(refused::PREFIX.to_owned()),
            ..FakeSettings::default()
        })
        .await;
        let queue_url = queue(&aws).await;
        let dir = scratch("soak");
        let disk = Disk::mount(dir.path(), DISK).await;
        let lagging_database = Proxy::tcp(mysql.port()).await;
        let lagging_cache = Proxy::tcp(redis.port()).await;
        lagging_database.set(Mode::Slow(LAG));
        lagging_cache.set(Mode::Slow(LAG));
        let world = Self {
            source: Proxy::tcp(mysql.port()).await,
            cache: Proxy::tcp(redis.port()).await,
            lagging_database,
            lagging_cache,
            queue: None,
            edge: None,
            database: Endpoint::new(mysql.port()),
            servers: 1,
            retired: None,
            mysql,
            redis,
            aws,
            cloudfront,
            distribution: FIRST_DISTRIBUTION.to_owned(),
            buffer,
            queue_url,
            hosts: Arc::new(Hosts::new(0)),
            rules: String::new(),
            evictd: None,
            standby: None,
            disk,
            clock: None,
            protection,
            settle_after,
            complaints: Vec::new(),
            dir,
        };
        world.delay_commits().await;
        world
    }

    /// After each start of the server.
    pub async fn delay_commits(&self) {
        let delay = COMMIT_DELAY.as_micros();
        self.mysql
            .exec(format!(
                "SET GLOBAL binlog_group_commit_sync_delay = {delay}"
            ))
            .await;
    }

    /// Starts the proxies to AWS, and evictd.
    pub async fn begin(&mut self, probes: &Arc<Probes>) {
        self.rules = options::rules();
        let nobody: Watch = Arc::new(|_| Box::pin(async {}));
        self.hosts = Arc::new(Hosts::new(probes.traffic.seed));
        let hosts = Arc::clone(&self.hosts);
        let stamped: Alter = Arc::new(move |answer| hosts.alter(answer));
        self.queue = Some(Proxy::http(self.aws.port(), nobody, stamped).await);
        let (watch, as_it_is): (_, Alter) = (probes.edge_watch(), Arc::new(|answer| answer));
        self.edge = Some(Proxy::http(self.cloudfront.port(), watch, as_it_is).await);
        self.start_evictd().await;
    }

    /// Starts evictd without proxies and paths.
    pub async fn begin_alone(&mut self, rules: &str) {
        self.rules = rules.to_owned();
        self.start_evictd().await;
    }

    /// Where lagging readers fill. The nodes of a cluster send clients to each other's own ports, so that there
    /// is no proxy in between.
    pub fn lagging_cache(&self) -> Address {
        match &self.redis {
            Store::Single(_) => Address::Single(self.lagging_cache.port()),
            Store::Cluster { .. } => self.redis.address(),
        }
    }

    /// Requests to SQS.
    pub fn queue(&self) -> &Proxy {
        self.queue.as_ref().expect("evictd sends paths")
    }

    /// Requests to CloudFront.
    pub fn edge(&self) -> &Proxy {
        self.edge.as_ref().expect("evictd sends paths")
    }

    /// Starts evictd and waits until it reads the binlog.
    pub async fn start_evictd(&mut self) {
        let mut evictd = Evictd::start(&self.options());
        evictd.wait_for_line(READS, WITHIN).await;
        self.evictd = Some(evictd);
    }

    /// `redis.settle_after`.
    pub fn settles(&self) -> Duration {
        match self.protection {
            Protection::On => self.settle_after,
            Protection::Off => Duration::ZERO,
        }
    }

    /// How often evictd has said this.
    pub fn said(&mut self, words: &str) -> usize {
        let lines = self.evictd().lines();
        lines.iter().filter(|line| line.contains(words)).count()
    }

    /// Waits until evictd says this once more than `before`.
    pub async fn says_again(&mut self, words: &str, before: usize) {
        let deadline = Instant::now() + WITHIN;
        while self.said(words) == before {
            assert!(Instant::now() < deadline, "{}", self.evictd().tail());
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// What is stored, or nothing.
    pub fn stored(&self) -> serde_json::Value {
        let stored = std::fs::read(self.checkpoint_file()).unwrap_or_default();
        serde_json::from_slice(&stored).unwrap_or_default()
    }

    /// Redis comes back with its snapshot, and the position is one of what was done since. Until then it says nothing
    /// about it, and may be at the server's end all the same.
    pub async fn roll_redis_back(&mut self) {
        let before = self.stored()["cache_runs"].take();
        assert!(before.is_array(), "evictd knows Redis");
        self.redis.back_to_snapshot().await;
        let deadline = Instant::now() + SCANNED_WITHIN;
        while self.stored()["cache_runs"] == before {
            assert!(Instant::now() < deadline, "{}", self.evictd().tail());
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Another evictd stands by, and then both get a configuration with one more rule.
    pub async fn reload_beside_standby(&mut self) {
        let mut standby = Evictd::start(&self.options());
        standby.wait_for_line("standing by until", WITHIN).await;
        self.standby = Some(standby);
        let rules = self.rules.matches("[[rule]]").count();
        self.rules += &format!(
            "[[rule]]\nname = \"reload {rules}\"\ntables = [\"soak.listed\"]\nkeys = [\"reload-{rules}:{{id}}\"]\n"
        );
        let config = self.config();
        for evictd in self.evictd.iter_mut().chain(&mut self.standby) {
            evictd.rewrite(&config);
            evictd.signal("HUP");
        }
    }

    /// The distribution's name comes to stand for another one.
    pub async fn replace_distribution(&mut self, probes: &Probes) {
        const LOADED: &str = "loaded again and is in use";
        let before = self.said(LOADED);
        let number: u32 = self.distribution.trim_start_matches('E').parse().unwrap();
        self.distribution = format!("E{}", number + 1);
        probes.count_at_both(&self.distribution);
        let config = self.config();
        self.evictd().rewrite(&config);
        self.evictd().signal("HUP");
        self.says_again(LOADED, before).await;
        probes.count_at_last();
    }

    /// The leader is killed, and the other evictd leads.
    pub async fn take_over(&mut self) {
        self.kill_evictd();
        let mut standby = self.standby.take().expect("another evictd stands by");
        standby.wait_for_line(READS, WITHIN).await;
        self.evictd = Some(standby);
    }

    /// The running process.
    pub fn evictd(&mut self) -> &mut Evictd {
        self.evictd.as_mut().expect("evictd runs")
    }

    /// SIGKILL.
    pub fn kill_evictd(&mut self) {
        if let Some(mut evictd) = self.evictd.take() {
            assert!(
                evictd.exited().is_none(),
                "evictd ended by itself\n{}",
                evictd.tail()
            );
            evictd.kill();
            self.complaints.extend(complaints(&evictd));
        }
    }

    /// SIGTERM, and success.
    pub async fn stop_evictd(&mut self) {
        if let Some(mut evictd) = self.evictd.take() {
            evictd.terminate();
            let status = evictd.exit(WITHIN).await;
            assert!(status.success(), "{status}\n{}", evictd.tail());
            self.complaints.extend(complaints(&evictd));
        }
    }

    /// Everything that evictd has warned of, oldest first.
    pub fn complaints(&self) -> Vec<String> {
        let mut all = self.complaints.clone();
        all.extend(self.evictd.iter().flat_map(complaints));
        all
    }
}

/// A queue with dead letters.
async fn queue(aws: &Aws) -> String {
    let (url, _) = aws
        .create_queue_with_dead_letters("soak", RECEIVES_MAX)
        .await;
    let set = aws.sqs().set_queue_attributes().queue_url(&url);
    let timeout = QueueAttributeName::VisibilityTimeout;
    let set = set.attributes(timeout, VISIBILITY_TIMEOUT_SECONDS);
    set.send().await.expect("SQS changes a queue");
    url
}

fn complaints(evictd: &Evictd) -> Vec<String> {
    let mut lines = evictd.lines();
    lines.retain(|line| {
        let complains = line.contains("WARN") || line.contains("ERROR");
        // The writers do that on purpose, all the time.
        complains && !line.contains("its version did not")
    });
    lines
}
