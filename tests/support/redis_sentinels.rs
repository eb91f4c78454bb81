//! A primary and a replica, watched by three sentinels.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Process, Redis, RedisOptions, eventually, free_port, scratch, servers};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// Two of three sentinels have to agree that the primary is down; it is called `shop`.
#[derive(Debug)]
pub struct RedisSentinels {
    pub primary: Redis,
    pub replica: Redis,
    sentinels: Vec<(Process, u16)>,
    _dir: TempDir,
}

impl RedisSentinels {
    pub async fn start() -> Self {
        let primary = Redis::start(RedisOptions::default()).await;
        let of = ["--replicaof", "127.0.0.1", &primary.port().to_string()].map(str::to_owned);
        let replica = Redis::start(RedisOptions {
            extra: of.to_vec(),
            ..RedisOptions::default()
        })
        .await;
        let dir = scratch("sentinels");
        let mut sentinels = Vec::new();
        for number in 1..=3 {
            let (port, name) = (free_port(), format!("sentinel{number}"));
            // It keeps what it learns in this file.
            let file = dir.path().join(format!("{name}.conf"));
            let settings = format!(
                "bind 127.0.0.1\nport {port}\nsentinel monitor shop 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 5000\n",
                primary.port()
            );
            std::fs::write(&file, settings).expect("the scratch directory is writable");
            let mut command = Command::new(&servers().redis_server);
            command.arg(&file).arg("--sentinel").current_dir(dir.path());
            sentinels.push((Process::spawn(&name, &command, dir.path()), port));
        }
        let all = Self {
            primary,
            replica,
            sentinels,
            _dir: dir,
        };
        all.replicated().await;
        all.agreed().await;
        all
    }

    /// Of the sentinels.
    pub fn urls(&self) -> Vec<String> {
        let ports = self.sentinels.iter().map(|(_, port)| port);
        ports
            .map(|port| format!("redis://127.0.0.1:{port}"))
            .collect()
    }

    /// Waits until the replica has all that the primary has.
    pub async fn replicated(&self) {
        eventually("the replica follows", READY_WITHIN, async || {
            let mut conn = self.primary.conn().await;
            let mut wait = redis::cmd("WAIT");
            wait.arg(1).arg(1_000);
            let replicas: u16 = wait.query_async(&mut conn).await.ok()?;
            (replicas == 1).then_some(())
        })
        .await;
    }

    /// Waits until every sentinel knows the replica and the two others.
    async fn agreed(&self) {
        for url in self.urls() {
            let client = redis::Client::open(url).expect("the URL is well formed");
            eventually("the sentinels know each other", READY_WITHIN, async || {
                let mut conn = client.get_multiplexed_async_connection().await.ok()?;
                let mut masters = redis::cmd("INFO");
                masters.arg("sentinel");
                let info: String = masters.query_async(&mut conn).await.ok()?;
                let known = info.contains("slaves=1") && info.contains("sentinels=3");
                known.then_some(())
            })
            .await;
        }
    }
}
