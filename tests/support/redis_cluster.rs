//! A Redis Cluster of six processes whose nodes can fail and whose slots can move.

use std::process::Command;
use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncCommands, FromRedisValue};

use super::{Redis, RedisOptions, eventually, servers};

const NODES: usize = 6;
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);

/// Three primaries with a replica each.
#[derive(Debug)]
pub struct RedisCluster {
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    /// Every node with these options.
    pub async fn start_with(options: RedisOptions) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let mut options = options.clone();
            let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            options.extra.extend(cluster.map(str::to_owned));
            nodes.push(Redis::start(options).await);
        }
        let cluster = Self { nodes };
        let addresses: Vec<String> = cluster.nodes.iter().map(address).collect();
        let mut arguments = vec!["create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        redis_cli(&arguments);
        cluster.healthy().await;
        cluster
    }

    /// Of every node, running or not.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// A client that finds its way by itself.
    pub async fn conn(&self) -> ClusterConnection {
        let client = ClusterClient::new(self.urls()).expect("the URLs are well formed");
        client
            .get_async_connection()
            .await
            .expect("the cluster answers")
    }

    /// Every key, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for primary in self.primaries().await {
            keys.extend(self.nodes[primary].keys().await);
        }
        keys.sort();
        keys
    }

    /// Caches something under each key.
    pub async fn fill<K: AsRef<[u8]>>(&self, keys: &[K]) {
        let mut conn = self.conn().await;
        for chunk in keys.chunks(1_000) {
            // The client sends the keys of each slot together.
            let entries: Vec<(&[u8], &str)> = chunk.iter().map(|key| (key.as_ref(), "x")).collect();
            let _: () = conn.mset(&entries).await.expect("the cluster takes keys");
        }
    }

    /// Waits until every running node says that all slots are served, and every running replica follows its
    /// primary.
    pub async fn healthy(&self) {
        eventually("the Redis Cluster is healthy", HEALTHY_WITHIN, async || {
            for node in self.running() {
                let info: String = self.ask(node, &["CLUSTER", "INFO"]).await?;
                let replication: String = self.ask(node, &["INFO", "replication"]).await?;
                let follows = replication.contains("role:master")
                    || replication.contains("master_link_status:up");
                if !info.contains("cluster_state:ok") || !follows {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// The running nodes that serve slots.
    pub async fn primaries(&self) -> Vec<usize> {
        let mut primaries = Vec::new();
        for node in self.running() {
            let own = self.own_line(node).await;
            // Slots stand after the eighth word.
            if own.contains("master") && own.split(' ').count() > 8 {
                primaries.push(node);
            }
        }
        primaries
    }

    /// Who serves the slot of this key.
    pub async fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key).await;
        for node in self.primaries().await {
            let own = self.own_line(node).await;
            let serves = own.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                match (first.parse::<u16>(), last.parse::<u16>()) {
                    (Ok(first), Ok(last)) => (first..=last).contains(&slot),
                    _ => false,
                }
            });
            if serves {
                return node;
            }
        }
        panic!("nobody serves slot {slot}");
    }

    /// The running replicas of a primary.
    pub async fn replicas(&self, primary: usize) -> Vec<usize> {
        let id = self.id(primary).await;
        let mut replicas = Vec::new();
        for node in self.running() {
            if self.own_line(node).await.contains(&format!("slave {id}")) {
                replicas.push(node);
            }
        }
        replicas
    }

    /// SIGKILL for a primary. Waits until one of its replicas has taken over and the cluster is healthy, and
    /// returns that one.
    pub async fn fail_over(&mut self, primary: usize) -> usize {
        let replicas = self.replicas(primary).await;
        self.nodes[primary].kill();
        let successor = self.promoted(&replicas).await;
        self.healthy().await;
        successor
    }

    /// A replica takes over from its primary, which stays as the replica, with CLUSTER FAILOVER.
    pub async fn switch_over(&self, primary: usize) -> usize {
        let replicas = self.replicas(primary).await;
        let first = replicas.first().expect("the primary has a replica");
        let _: () = self
            .ask(*first, &["CLUSTER", "FAILOVER"])
            .await
            .expect("the replica agrees");
        let successor = self.promoted(&replicas).await;
        self.healthy().await;
        successor
    }

    /// Starts a killed node; it joins again as a replica.
    pub async fn start_again(&mut self, node: usize) {
        self.nodes[node].start_again().await;
        self.healthy().await;
    }

    /// Moves so many slots with their keys, with redis-cli's own resharding.
    pub async fn reshard(&self, slots: usize, from: usize, to: usize) {
        let (address, count) = (address(&self.nodes[from]), slots.to_string());
        let (from, to) = (self.id(from).await, self.id(to).await);
        let moving = tokio::task::spawn_blocking(move || {
            redis_cli(&[
                "reshard",
                &address,
                "--cluster-from",
                &from,
                "--cluster-to",
                &to,
                "--cluster-slots",
                &count,
                "--cluster-yes",
            ]);
        });
        moving.await.expect("redis-cli succeeds");
    }

    /// Opens the slot of `key` for its move to another primary. Keys go with [`RedisCluster::move_keys`], and
    /// the slot itself with [`RedisCluster::finish_move`].
    pub async fn begin_move(&self, key: &str, to: usize) {
        let (from, slot) = (self.owner(key).await, self.slot(key).await.to_string());
        let (from_id, to_id) = (self.id(from).await, self.id(to).await);
        self.set_slot(to, &[&slot, "IMPORTING", &from_id]).await;
        self.set_slot(from, &[&slot, "MIGRATING", &to_id]).await;
    }

    /// Moves keys of an open slot.
    pub async fn move_keys(&self, keys: &[&str], to: usize) {
        let from = self.owner(keys[0]).await;
        let port = self.nodes[to].port().to_string();
        let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        migrate.extend(keys);
        let _: () = self.ask(from, &migrate).await.expect("the keys move");
    }

    /// The slot of `key` is the other primary's from now on.
    pub async fn finish_move(&self, key: &str, to: usize) {
        let (from, slot) = (self.owner(key).await, self.slot(key).await.to_string());
        let id = self.id(to).await;
        self.set_slot(to, &[&slot, "NODE", &id]).await;
        self.set_slot(from, &[&slot, "NODE", &id]).await;
        self.healthy().await;
    }

    /// Waits until a replica of this primary has everything.
    pub async fn replicated(&self, primary: usize) {
        eventually("a replica follows", HEALTHY_WITHIN, async || {
            let replicas: u16 = self.ask(primary, &["WAIT", "1", "1000"]).await?;
            (replicas > 0).then_some(())
        })
        .await;
    }

    /// Commands that write wait from now on.
    pub async fn hold_writes(&self, node: usize) {
        let pause = ["CLIENT", "PAUSE", "30000", "WRITE"];
        let _: () = self.ask(node, &pause).await.expect("the node agrees");
    }

    pub async fn let_writes_go(&self, node: usize) {
        let go_on = ["CLIENT", "UNPAUSE"];
        let _: () = self.ask(node, &go_on).await.expect("the node agrees");
    }

    /// Waits until somebody has scanned keys of this node.
    pub async fn scanned(&self, node: usize) {
        eventually("the node is scanned", HEALTHY_WITHIN, async || {
            let stats: String = self.ask(node, &["INFO", "commandstats"]).await?;
            stats.contains("cmdstat_scan:").then_some(())
        })
        .await;
    }

    async fn set_slot(&self, node: usize, arguments: &[&str]) {
        let command = [&["CLUSTER", "SETSLOT"], arguments].concat();
        let _: () = self.ask(node, &command).await.expect("the slot is set");
    }

    async fn slot(&self, key: &str) -> u16 {
        let node = self.running()[0];
        let slot = self.ask(node, &["CLUSTER", "KEYSLOT", key]).await;
        slot.expect("a running node answers")
    }

    async fn id(&self, node: usize) -> String {
        let id = self.ask(node, &["CLUSTER", "MYID"]).await;
        id.expect("a running node answers")
    }

    async fn promoted(&self, replicas: &[usize]) -> usize {
        eventually("a replica takes over", HEALTHY_WITHIN, async || {
            let primaries = self.primaries().await;
            replicas
                .iter()
                .copied()
                .find(|replica| primaries.contains(replica))
        })
        .await
    }

    fn running(&self) -> Vec<usize> {
        let all = self.nodes.iter().enumerate();
        let running = all.filter(|(_, node)| node.is_running());
        running.map(|(index, _)| index).collect()
    }

    /// What a node says of itself in CLUSTER NODES.
    async fn own_line(&self, node: usize) -> String {
        let nodes: String = self
            .ask(node, &["CLUSTER", "NODES"])
            .await
            .expect("a running node answers");
        let own = nodes.lines().find(|line| line.contains("myself"));
        own.expect("a node knows itself").to_owned()
    }

    async fn ask<T: FromRedisValue>(&self, node: usize, words: &[&str]) -> Option<T> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        let mut conn = self.nodes[node].conn().await;
        command.query_async(&mut conn).await.ok()
    }
}

fn address(node: &Redis) -> String {
    format!("127.0.0.1:{}", node.port())
}

fn redis_cli(cluster: &[&str]) {
    let output = Command::new(&servers().redis_cli)
        .arg("--cluster")
        .args(cluster)
        .output()
        .expect("redis-cli can be run");
    assert!(
        output.status.success(),
        "redis-cli --cluster {}:\n{}",
        cluster[0],
        String::from_utf8_lossy(&output.stdout)
    );
}
