//! What breaks.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::buffer::BufferKind;
use super::store::Layout;
use super::world::World;

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
    /// As much is in progress at CloudFront as may be, for minutes.
    EdgeFull,
    /// CloudFront lists what it has made seconds later, by a clock that is behind, and evictd is killed meanwhile.
    EdgeLateAndKilled,
    /// The distribution's name comes to stand for another one.
    DistributionReplaced,
    /// The emulator of SQS is killed. What it had accepted is lost with it, so this one ends in order.
    AwsRestarted,
    /// The local buffer comes back as it was in a backup, without the paths that wait.
    BufferSetBack,
    /// The local buffer comes back as it was in a snapshot of its disk, without the paths that wait.
    BufferRolledBack,
    /// The local buffer is gone, with the paths that wait.
    BufferLost,
    /// Pages of the local buffer are zeroes.
    BufferDamaged,
    /// The file system of the checkpoint is full.
    DiskFull,
    /// The file system of the checkpoint is full, and evictd is killed meanwhile.
    DiskFullAndKilled,
    ClockForward,
    ClockBack,
}

impl Fault {
    pub const ALL: [Fault; 46] = [
        Fault::EvictdKilled,
        Fault::BufferSetBack,
        Fault::BufferRolledBack,
        Fault::BufferLost,
        Fault::BufferDamaged,
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
    pub const SOME: [Fault; 7] = [
        Fault::EvictdKilled,
        Fault::BufferSetBack,
        Fault::CacheStalled,
        Fault::SourceCut,
        Fault::RedisKilled,
        Fault::QueueErrors,
        Fault::CommitsHeld,
    ];

    /// Whether there is such a thing.
    pub fn fits(self, layout: Layout, buffer: BufferKind) -> bool {
        match self {
            Fault::QueueUnavailable
            | Fault::QueueErrors
            | Fault::QueueDeaf
            | Fault::AwsRestarted => buffer == BufferKind::Sqs,
            Fault::BufferSetBack
            | Fault::BufferRolledBack
            | Fault::BufferLost
            | Fault::BufferDamaged => buffer == BufferKind::Local,
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

    /// Whether paths may be paid for twice. Rows are read again after a kill, an earlier position and a gap, or
    /// wildcards stand for what waits; and a buffer that was set back has again what was delivered.
    pub fn pays_twice(self) -> bool {
        matches!(
            self,
            Fault::EvictdKilled
                | Fault::EvictdReloadedAndKilled
                | Fault::EdgeLateAndKilled
                | Fault::DiskFullAndKilled
                | Fault::ClockForward
                | Fault::ClockBack
                | Fault::RedisRolledBack
                | Fault::MysqlFailedOver
                | Fault::MysqlPutBack
                | Fault::BinlogReset
                | Fault::BufferSetBack
                | Fault::BufferRolledBack
                | Fault::BufferLost
                | Fault::BufferDamaged
        )
    }

    /// How long it lasts.
    pub fn lasts(self, random: &mut StdRng) -> Duration {
        let millis = match self {
            // Writers that pause meanwhile do so once the commits are done.
            Fault::CommitsHeld => 500..3_000,
            Fault::ClockForward | Fault::ClockBack => 2_000..3_000,
            Fault::MysqlFrozen => 11_000..13_000,
            // Longer than messages stay hidden, than any pause between attempts, and than what may be held.
            Fault::EdgeFull => 120_000..150_000,
            // What waits has settled, and its position is stored.
            Fault::BufferSetBack
            | Fault::BufferRolledBack
            | Fault::BufferLost
            | Fault::BufferDamaged => 2_000..3_500,
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
}
