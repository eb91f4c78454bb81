//! The cache: a single Redis server, or a cluster.

use super::clients::Address;
use crate::support::{Redis, RedisCluster, RedisOptions};

/// Keys that nobody reads, so that to look at all keys takes a while.
const IDLE_KEYS: u32 = 200_000;

const SET_IDLE_KEYS: &str = "for i = 1, ARGV[1] do redis.call('SET', 'idle:' .. i, 'x') end";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Single,
    /// Three primaries with a replica each.
    Cluster,
}

/// What runs.
pub enum Store {
    Single(Redis),
    Cluster {
        cluster: RedisCluster,
        /// Nodes that were killed.
        down: Vec<usize>,
        /// So that each primary has its turn.
        turn: usize,
        /// A cluster of its own, where a node of this one was.
        foreign: Option<Redis>,
    },
}

impl Store {
    /// Keeps everything on disk, so that a server that starts again has all its entries: a restart that loses them
    /// proves nothing. Announces deletions.
    pub async fn start(layout: Layout) -> Self {
        let options = RedisOptions {
            append_only: true,
            extra: ["--notify-keyspace-events", "Eg"]
                .map(str::to_owned)
                .to_vec(),
            ..RedisOptions::default()
        };
        match layout {
            Layout::Single => {
                let redis = Redis::start(options).await;
                let mut set = redis::cmd("EVAL");
                set.arg(SET_IDLE_KEYS).arg(0).arg(IDLE_KEYS);
                let _: () = set.query_async(&mut redis.conn().await).await.unwrap();
                Self::Single(redis)
            }
            Layout::Cluster => Self::Cluster {
                cluster: RedisCluster::start_with(options).await,
                down: Vec::new(),
                turn: 0,
                foreign: None,
            },
        }
    }

    pub fn address(&self) -> Address {
        match self {
            Self::Single(redis) => Address::Single(redis.port()),
            Self::Cluster { cluster, .. } => Address::Cluster(cluster.urls()),
        }
    }

    /// The server, where there is one.
    pub fn single(&mut self) -> &mut Redis {
        match self {
            Self::Single(redis) => redis,
            Self::Cluster { .. } => panic!("a fault of single servers"),
        }
    }

    /// The port of the server, or of a node.
    pub fn port(&self) -> u16 {
        match self {
            Self::Single(redis) => redis.port(),
            Self::Cluster { cluster, .. } => cluster.nodes[0].port(),
        }
    }

    /// Kills a primary; its replica takes over.
    pub async fn fail_over(&mut self) {
        let Self::Cluster {
            cluster,
            down,
            turn,
            ..
        } = self
        else {
            panic!("a fault of clusters")
        };
        let primaries = cluster.primaries().await;
        *turn += 1;
        let primary = primaries[*turn % primaries.len()];
        cluster.fail_over(primary).await;
        down.push(primary);
    }

    /// A replica and its primary change places in order.
    pub async fn switch_over(&mut self) {
        let Self::Cluster { cluster, turn, .. } = self else {
            panic!("a fault of clusters")
        };
        let primaries = cluster.primaries().await;
        *turn += 1;
        cluster
            .switch_over(primaries[*turn % primaries.len()])
            .await;
    }

    /// Kills a primary. Its replica takes over, and at its address another cluster listens that serves every slot.
    pub async fn replace_by_foreign(&mut self) {
        self.fail_over().await;
        let Self::Cluster {
            cluster,
            down,
            foreign,
            ..
        } = self
        else {
            panic!("a fault of clusters")
        };
        let gone = *down.last().expect("a node was killed");
        let options = RedisOptions {
            extra: ["--cluster-enabled", "yes"].map(str::to_owned).to_vec(),
            ..RedisOptions::default()
        };
        let other = Redis::start_at(cluster.nodes[gone].port(), options).await;
        let mut serve = redis::cmd("CLUSTER");
        serve.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
        let _: () = serve.query_async(&mut other.conn().await).await.unwrap();
        *foreign = Some(other);
    }

    /// From now on nothing is kept on disk but a snapshot of this moment.
    pub async fn snapshot(&mut self) {
        self.set("appendonly", "no").await;
        let mut conn = self.single().conn().await;
        let _: () = redis::cmd("SAVE").query_async(&mut conn).await.unwrap();
    }

    /// Dies, and starts with what [`Store::snapshot`] kept.
    pub async fn back_to_snapshot(&mut self) {
        let redis = self.single();
        redis.kill();
        redis.start_again_with(&["--appendonly", "no"]).await;
        self.set("appendonly", "yes").await;
    }

    /// `CONFIG SET`.
    pub async fn set(&mut self, name: &str, value: &str) {
        self.single().configure(name, value).await;
    }

    /// Starts what was killed.
    pub async fn whole_again(&mut self) {
        if let Self::Cluster {
            cluster,
            down,
            foreign,
            ..
        } = self
        {
            drop(foreign.take());
            for node in std::mem::take(down) {
                cluster.start_again(node).await;
            }
        }
    }
}
