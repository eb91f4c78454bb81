//! The cache: a single Redis server, or a cluster.

use super::clients::Address;
use crate::support::{Redis, RedisCluster, RedisOptions};

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
            Layout::Single => Self::Single(Redis::start(options).await),
            Layout::Cluster => Self::Cluster {
                cluster: RedisCluster::start_with(options).await,
                down: Vec::new(),
                turn: 0,
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

    /// Starts what was killed.
    pub async fn whole_again(&mut self) {
        if let Self::Cluster { cluster, down, .. } = self {
            for node in std::mem::take(down) {
                cluster.start_again(node).await;
            }
        }
    }
}
