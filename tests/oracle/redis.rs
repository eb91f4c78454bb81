//! What becomes of Redis in a case.

use std::time::{Duration, Instant};

use super::fates::RedisFate;
use super::steps::Allows;
use super::topology::Place;
use super::world::{POLL_EVERY, World};
use crate::support::{Cut, Redis, RedisOptions};

/// evictd looks at Redis as soon as it reads.
const LOOKED_WITHIN: Duration = Duration::from_secs(5);

/// A replica on this machine has it in a moment.
const REPLICATED_WITHIN: Duration = Duration::from_secs(30);

impl World<'_> {
    pub async fn redis_meets(&mut self, fate: RedisFate) {
        match fate {
            RedisFate::Save => {
                if self.cache.full {
                    return;
                }
                let save = redis::cmd("SAVE");
                let () = save
                    .query_async(&mut self.cache.conn)
                    .await
                    .expect("Redis saves");
            }
            RedisFate::GoesBack => self.begins_anew(Anew::AsSaved).await,
            RedisFate::Lost => self.begins_anew(Anew::Empty).await,
            RedisFate::Replica => self.replicate_redis().await,
            RedisFate::CutOff => {
                if let Some(replica) = &self.lane.redis_replica {
                    replicate(replica, &["NO", "ONE"]).await;
                }
            }
            RedisFate::FailOver => self.begins_anew(Anew::AsReplica).await,
            RedisFate::Full => {
                self.announce_mark().await;
                self.lane.redis.limit_memory(1).await;
                self.set_full(true).await;
            }
            RedisFate::Well => {
                self.lane.redis.configure("maxmemory", "0").await;
                self.set_full(false).await;
            }
        }
    }

    async fn set_full(&mut self, full: bool) {
        self.cache.full = full;
        if let Some(origin) = &self.origin {
            origin.lock().await.cache.full = full;
        }
    }

    /// A replica that has everything by now.
    async fn replicate_redis(&mut self) {
        if self.lane.redis_replica.is_some() {
            return;
        }
        let replica = Redis::start(RedisOptions::default()).await;
        let port = self.lane.redis.port().to_string();
        replicate(&replica, &["127.0.0.1", &port]).await;
        let begun = Instant::now();
        while !info(&replica, "replication")
            .await
            .contains("master_link_status:up")
        {
            assert!(begun.elapsed() < REPLICATED_WITHIN, "the replica follows");
            tokio::time::sleep(POLL_EVERY).await;
        }
        self.lane.redis_replica = Some(replica);
    }

    /// Nothing if the position would be lost while evictd is away: its start would be a first one, at which a rule that
    /// does not fit its tables is refused.
    async fn begins_anew(&mut self, how: Anew) {
        if self.evictd.is_none() && self.case.topology.checkpoint == Place::Redis {
            return;
        }
        if matches!(how, Anew::AsReplica) && self.lane.redis_replica.is_none() {
            return;
        }
        self.look_was_taken().await;
        let origin = self.origin.clone();
        let mut origin = match &origin {
            Some(origin) => Some(origin.lock().await),
            None => None,
        };
        self.lane.redis.kill();
        match how {
            Anew::AsSaved => self.lane.redis.start_again().await,
            Anew::Empty => {
                self.lane.redis.forget_snapshot();
                self.lane.redis.start_again().await;
            }
            Anew::AsReplica => {
                if let Some(replica) = self.lane.redis_replica.take() {
                    replicate(&replica, &["NO", "ONE"]).await;
                    self.lane.redis = replica;
                }
            }
        }
        self.lane.redis_relay.lead_to(self.lane.redis.port());
        self.lane.redis_relay.cut(Cut::All);
        self.cache.conn = self.lane.redis.conn().await;
        self.redis_run = self.cache.run().await;
        self.cache.full = false;
        // Counters may be what they were before.
        self.now.generations = self.cache.generations().await;
        if let Some(origin) = &mut origin {
            origin.cache = self.cache.clone();
        }
        self.allowed.push(Allows::Everything);
        self.pays_twice = true;
        self.mark_ahead = None;
    }

    /// evictd knows a Redis only once it has looked at it, and has said so with its position.
    async fn look_was_taken(&mut self) {
        let begun = Instant::now();
        while self.evictd.is_some() && !self.frozen && begun.elapsed() < LOOKED_WITHIN {
            let stored = self.stored().await.unwrap_or_default();
            let runs = stored["cache_runs"].as_array();
            if runs.is_some_and(|runs| !runs.is_empty()) {
                return;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// With what Redis begins.
#[derive(Clone, Copy)]
enum Anew {
    AsSaved,
    Empty,
    /// As its replica has it, which takes over.
    AsReplica,
}

async fn replicate(redis: &Redis, of: &[&str]) {
    let mut command = redis::cmd("REPLICAOF");
    command.arg(of);
    let () = command
        .query_async(&mut redis.conn().await)
        .await
        .expect("Redis runs");
}

async fn info(redis: &Redis, section: &str) -> String {
    let mut command = redis::cmd("INFO");
    command.arg(section);
    command
        .query_async(&mut redis.conn().await)
        .await
        .expect("Redis runs")
}
