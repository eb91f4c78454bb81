//! What breaks, and how it is whole again.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::probes::Probes;
use super::proxy::Mode;
use super::store::Layout;
use super::world::World;
use crate::support::{Clock, FakeSettings};

/// How slow a slow connection is.
const SLOW: Duration = Duration::from_millis(40);

/// Longer than a commit takes that is not held, and than settling.
const HELD: Duration = Duration::from_millis(2_500);

/// How late CloudFront's list is, and how far its clock is behind.
const LATE: Duration = Duration::from_secs(12);

/// Something that breaks, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// evictd is killed and starts again.
    EvictdKilled,
    /// evictd is stopped in order and starts again.
    EvictdRestarted,
    /// evictd is frozen.
    EvictdFrozen,
    /// evictd gets another configuration, and is killed while another evictd stands by.
    EvictdReloadedAndKilled,
    RedisRestarted,
    RedisKilled,
    RedisFrozen,
    /// A primary of the cluster is killed, and its replica takes over.
    RedisFailover,
    /// A primary of the cluster and its replica change places.
    RedisSwitchover,
    /// Redis comes back as it was a while before, with entries that had been deleted.
    RedisRolledBack,
    /// Redis takes nothing that needs memory.
    RedisFull,
    /// A primary of the cluster is killed, and another cluster listens at its address.
    RedisForeign,
    /// Everything that Redis holds has to be looked at.
    KeysScanned,
    MysqlRestarted,
    MysqlKilled,
    /// MySQL is frozen for longer than evictd waits for an answer.
    MysqlFrozen,
    /// MySQL dies with transactions that its replica, which takes over, never got.
    MysqlFailedOver,
    /// A replica takes over by name, and the writer before it lives on, read-only.
    MysqlSwitchedOver,
    /// MySQL comes back with an earlier copy of its data, and goes on from there before evictd looks.
    MysqlPutBack,
    /// `RESET BINARY LOGS AND GTIDS`.
    BinlogReset,
    /// Every commit is in the binlog long before its rows can be read.
    CommitsHeld,
    SourceStalled,
    SourceCut,
    SourceSlow,
    CacheStalled,
    CacheCut,
    CacheSlow,
    /// SQS refuses connections.
    QueueUnavailable,
    /// SQS answers 503.
    QueueErrors,
    /// SQS does what it is asked to, and does not answer.
    QueueDeaf,
    /// CloudFront answers 500.
    EdgeErrors,
    /// CloudFront answers 503.
    EdgeUnavailable,
    /// CloudFront does what it is asked to, and does not answer.
    EdgeDeaf,
    /// CloudFront answers 408, which it does not document.
    EdgeTimesOut,
    /// As much is in progress at CloudFront as may be, for a long time.
    EdgeFull,
    /// CloudFront lists what it has made seconds later, by a clock that is behind, and evictd is killed meanwhile.
    EdgeLateAndKilled,
    /// The distribution's name comes to stand for another one.
    DistributionReplaced,
    /// The emulator of SQS is killed. What it had accepted is lost with it, so this one ends in order.
    AwsRestarted,
    /// The file system of the checkpoint is full.
    DiskFull,
    /// The file system of the checkpoint is full, and evictd is killed meanwhile.
    DiskFullAndKilled,
    ClockForward,
    ClockBack,
}

impl Fault {
    pub const ALL: [Fault; 42] = [
        Fault::EvictdKilled,
        Fault::RedisFailover,
        Fault::RedisSwitchover,
        Fault::RedisForeign,
        Fault::MysqlFailedOver,
        Fault::RedisRolledBack,
        Fault::DistributionReplaced,
        Fault::EdgeFull,
        Fault::EdgeLateAndKilled,
        Fault::EdgeTimesOut,
        Fault::EvictdReloadedAndKilled,
        Fault::KeysScanned,
        Fault::MysqlPutBack,
        Fault::RedisFull,
        Fault::MysqlSwitchedOver,
        Fault::BinlogReset,
        Fault::MysqlFrozen,
        Fault::CacheStalled,
        Fault::SourceCut,
        Fault::RedisKilled,
        Fault::QueueErrors,
        Fault::DiskFull,
        Fault::CommitsHeld,
        Fault::EdgeErrors,
        Fault::MysqlKilled,
        Fault::EvictdRestarted,
        Fault::EvictdFrozen,
        Fault::RedisRestarted,
        Fault::RedisFrozen,
        Fault::MysqlRestarted,
        Fault::SourceStalled,
        Fault::SourceSlow,
        Fault::CacheCut,
        Fault::CacheSlow,
        Fault::QueueUnavailable,
        Fault::QueueDeaf,
        Fault::EdgeUnavailable,
        Fault::EdgeDeaf,
        Fault::AwsRestarted,
        Fault::DiskFullAndKilled,
        Fault::ClockForward,
        Fault::ClockBack,
    ];

    /// One of each kind: for a run of a minute, in which servers have no time to restart twice.
    pub const SOME: [Fault; 6] = [
        Fault::EvictdKilled,
        Fault::CacheStalled,
        Fault::SourceCut,
        Fault::RedisKilled,
        Fault::QueueErrors,
        Fault::CommitsHeld,
    ];

    /// Whether there is such a thing.
    pub fn fits(self, layout: Layout) -> bool {
        match self {
            Fault::RedisFailover | Fault::RedisSwitchover | Fault::RedisForeign => {
                layout == Layout::Cluster
            }
            Fault::RedisRestarted
            | Fault::RedisKilled
            | Fault::RedisRolledBack
            | Fault::RedisFull
            | Fault::RedisFrozen
            | Fault::CacheStalled
            | Fault::CacheCut
            | Fault::CacheSlow => layout == Layout::Single,
            _ => true,
        }
    }

    /// Why it cannot be had on this machine.
    pub fn impossible(self, world: &World) -> Option<&'static str> {
        let full = matches!(self, Fault::DiskFull | Fault::DiskFullAndKilled);
        (full && !world.disk.is_tiny()).then_some("no mounts without privileges on this machine")
    }

    pub async fn inject(self, world: &mut World, probes: &Probes) {
        match self {
            Fault::EvictdKilled => world.kill_evictd(),
            Fault::EvictdRestarted => world.stop_evictd().await,
            Fault::EvictdFrozen => world.evictd().signal("STOP"),
            Fault::RedisRestarted => world.redis.single().stop().await,
            Fault::RedisKilled => world.redis.single().kill(),
            Fault::RedisFrozen => world.redis.single().signal("STOP"),
            Fault::EvictdReloadedAndKilled => world.reload_beside_standby().await,
            Fault::RedisFailover => world.redis.fail_over().await,
            Fault::RedisSwitchover => world.redis.switch_over().await,
            Fault::RedisForeign => world.redis.replace_by_foreign().await,
            Fault::RedisRolledBack => world.redis.snapshot().await,
            Fault::RedisFull => world.redis.set("maxmemory", "1").await,
            Fault::KeysScanned => world.mysql.exec("TRUNCATE soak.listed").await,
            Fault::MysqlRestarted => world.mysql.stop().await,
            Fault::MysqlKilled => world.mysql.kill(),
            Fault::MysqlFrozen => world.mysql.signal("STOP"),
            Fault::MysqlFailedOver => world.fail_over(&probes.traffic).await,
            Fault::MysqlSwitchedOver => world.switch_over().await,
            Fault::MysqlPutBack => {
                world.back_up().await;
                world.source.set(Mode::Cut);
                world.put_back(&probes.traffic).await;
            }
            Fault::BinlogReset => world.mysql.exec("RESET BINARY LOGS AND GTIDS").await,
            Fault::CommitsHeld => {
                let millis = HELD.as_millis();
                world
                    .mysql
                    .exec(format!(
                        "SET GLOBAL rpl_semi_sync_source_timeout = {millis}; \
                         SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'; \
                         SET GLOBAL rpl_semi_sync_source_enabled = ON"
                    ))
                    .await;
            }
            Fault::SourceStalled => world.source.set(Mode::Stall),
            Fault::SourceCut => world.source.set(Mode::Cut),
            Fault::SourceSlow => world.source.set(Mode::Slow(SLOW)),
            Fault::CacheStalled => world.cache.set(Mode::Stall),
            Fault::CacheCut => world.cache.set(Mode::Cut),
            Fault::CacheSlow => world.cache.set(Mode::Slow(SLOW)),
            Fault::QueueUnavailable => world.queue().set(Mode::Cut),
            Fault::QueueErrors => world.queue().set(Mode::Answer(503)),
            Fault::QueueDeaf => world.queue().set(Mode::Deaf),
            Fault::EdgeErrors => world.edge().set(Mode::Answer(500)),
            Fault::EdgeUnavailable => world.edge().set(Mode::Answer(503)),
            Fault::EdgeDeaf => world.edge().set(Mode::Deaf),
            Fault::EdgeTimesOut => world.edge().set(Mode::Answer(408)),
            Fault::EdgeFull => world.cloudfront.change(|settings| {
                (settings.singles_max, settings.wildcards_max) = (0, 0);
            }),
            Fault::EdgeLateAndKilled => {
                world.cloudfront.change(|settings| {
                    settings.unlisted_for = LATE;
                    settings.unreadable_for = LATE / 4;
                    settings.clock_behind = LATE;
                });
                tokio::time::sleep(LATE / 6).await;
                world.kill_evictd();
                world.start_evictd().await;
            }
            Fault::DistributionReplaced => world.replace_distribution(probes).await,
            Fault::AwsRestarted => world.aws.stop().await,
            Fault::DiskFull | Fault::DiskFullAndKilled => world.disk.fill(),
            Fault::ClockForward | Fault::ClockBack => {
                // Only a process of its own has a clock of its own.
                world.kill_evictd();
                world.clock = Some(Clock::new());
                world.start_evictd().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                let offset = if self == Fault::ClockBack { "-1" } else { "+1" };
                world.clock.as_ref().unwrap().set(offset);
            }
        }
    }

    /// How long it lasts.
    pub fn lasts(self, random: &mut StdRng) -> Duration {
        let millis = match self {
            // Writers that pause meanwhile do so once the commits are done.
            Fault::CommitsHeld => 500..3_000,
            Fault::ClockForward | Fault::ClockBack => 2_000..3_000,
            Fault::MysqlFrozen | Fault::EdgeFull => 11_000..13_000,
            // More is written anew than was lost.
            Fault::MysqlPutBack => 3_000..4_000,
            _ => 300..3_500,
        };
        Duration::from_millis(random.random_range(millis))
    }

    /// Whether writers and probes can finish what they are at. Otherwise they try until the servers are back.
    pub fn writers_may_pause_during(self) -> bool {
        !matches!(
            self,
            Fault::MysqlRestarted
                | Fault::MysqlKilled
                | Fault::MysqlFrozen
                | Fault::MysqlPutBack
                | Fault::RedisFull
                | Fault::RedisRestarted
                | Fault::RedisKilled
                | Fault::RedisFrozen
        )
    }

    pub async fn heal(self, world: &mut World, probes: &Probes) {
        match self {
            Fault::EvictdKilled | Fault::EvictdRestarted => world.start_evictd().await,
            Fault::EvictdFrozen => world.evictd().signal("CONT"),
            Fault::RedisRestarted | Fault::RedisKilled => world.redis.single().start_again().await,
            Fault::RedisFrozen => world.redis.single().signal("CONT"),
            Fault::EvictdReloadedAndKilled => world.take_over().await,
            Fault::RedisFailover | Fault::RedisForeign => world.redis.whole_again().await,
            Fault::RedisRolledBack => {
                probes.restored();
                world.roll_redis_back().await;
            }
            Fault::RedisFull => world.redis.set("maxmemory", "0").await,
            Fault::MysqlFrozen => world.mysql.signal("CONT"),
            Fault::MysqlPutBack => world.source.set(Mode::Pass),
            Fault::RedisSwitchover
            | Fault::DistributionReplaced
            | Fault::KeysScanned
            | Fault::MysqlFailedOver
            | Fault::MysqlSwitchedOver
            | Fault::BinlogReset => {}
            Fault::MysqlRestarted | Fault::MysqlKilled => {
                world.mysql.start_again().await;
                world.delay_commits().await;
            }
            Fault::CommitsHeld => {
                world
                    .mysql
                    .exec("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
                    .await;
            }
            Fault::SourceStalled | Fault::SourceCut | Fault::SourceSlow => {
                world.source.set(Mode::Pass);
            }
            Fault::CacheStalled | Fault::CacheCut | Fault::CacheSlow => world.cache.set(Mode::Pass),
            Fault::QueueUnavailable | Fault::QueueErrors | Fault::QueueDeaf => {
                world.queue().set(Mode::Pass);
            }
            Fault::EdgeErrors | Fault::EdgeUnavailable | Fault::EdgeDeaf | Fault::EdgeTimesOut => {
                world.edge().set(Mode::Pass);
            }
            Fault::EdgeLateAndKilled => world.cloudfront.change(|settings| {
                settings.unlisted_for = Duration::ZERO;
                settings.unreadable_for = Duration::ZERO;
                settings.clock_behind = Duration::ZERO;
            }),
            Fault::EdgeFull => world.cloudfront.change(|settings| {
                let FakeSettings {
                    singles_max,
                    wildcards_max,
                    ..
                } = FakeSettings::default();
                (settings.singles_max, settings.wildcards_max) = (singles_max, wildcards_max);
            }),
            Fault::AwsRestarted => world.aws.start_again().await,
            Fault::DiskFull => world.disk.empty(),
            Fault::DiskFullAndKilled => {
                world.kill_evictd();
                world.disk.empty();
                world.start_evictd().await;
            }
            Fault::ClockForward | Fault::ClockBack => {
                world.kill_evictd();
                world.clock = None;
                world.start_evictd().await;
            }
        }
    }
}
