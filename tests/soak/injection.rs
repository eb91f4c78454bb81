//! How it breaks, and how it is whole again.

use std::time::Duration;

use super::faults::Fault;
use super::probes::Probes;
use super::proxy::Mode;
use super::world::World;
use crate::support::{Clock, FakeSettings};

/// How slow a slow connection is.
const SLOW: Duration = Duration::from_millis(40);

/// Longer than a commit takes that is not held, and than settling.
const HELD: Duration = Duration::from_millis(2_500);

/// How late CloudFront's list is, and how far its clock is behind.
const LATE: Duration = Duration::from_secs(12);

impl Fault {
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
            Fault::BufferSetBack
            | Fault::BufferRolledBack
            | Fault::BufferLost
            | Fault::BufferDamaged => {
                match self {
                    Fault::BufferSetBack => world.back_up_buffer().await,
                    Fault::BufferRolledBack => world.snapshot_buffer().await,
                    _ => {}
                }
                // So that paths wait.
                world.edge().set(Mode::Answer(503));
            }
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
            Fault::BufferSetBack
            | Fault::BufferRolledBack
            | Fault::BufferLost
            | Fault::BufferDamaged => {
                world.kill_evictd();
                match self {
                    Fault::BufferLost => world.lose_buffer(),
                    Fault::BufferDamaged => world.damage_buffer(),
                    _ => world.set_buffer_back(),
                }
                world.edge().set(Mode::Pass);
                world.start_evictd().await;
            }
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
