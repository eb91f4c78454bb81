//! Commands to Redis, whatever it is made of.

use redis::{Cmd, Pipeline, RedisError, Value};

use super::address::Address;
use super::cluster::Cluster;
use super::error;
use super::error::RequestError;
use super::sentinel::SentinelPrimary;
use super::server::{Reply, ServerConnection, no_answer};
use super::target::{Access, Layout, RedisTarget};
use super::topology::Topology;

/// Connections to Redis, made when they are needed.
pub(crate) struct Connection {
    reach: Servers,
    /// How many replicas have to acknowledge a change before it counts.
    replicas: u16,
}

enum Servers {
    Single(Box<ServerConnection>),
    Sentinel(Box<SentinelPrimary>),
    Cluster(Box<Cluster>),
}

/// Where keys are: the primaries, and whether some of the keys are on their way
/// from one to another.
pub(crate) struct Keyspace {
    pub(crate) primaries: Vec<Address>,
    pub(crate) moving: bool,
    /// Of a cluster.
    pub(crate) topology: Option<Topology>,
}

impl Connection {
    pub(crate) fn new(target: &RedisTarget) -> Result<Self, RequestError> {
        let (access, address) = Access::new(&target.url, target.password.as_ref(), &target.tls)?;
        let replicas = target.replicas;
        let reach = match &target.layout {
            Layout::Single => Servers::Single(Box::new(ServerConnection::new(&access, &address))),
            Layout::Cluster => Servers::Cluster(Box::new(Cluster::new(access, address, replicas))),
            Layout::Sentinel {
                master,
                urls,
                password,
            } => {
                let mut sentinels = Vec::new();
                for url in urls {
                    let (access, address) = Access::new(url, password.as_ref(), &target.tls)?;
                    sentinels.push(ServerConnection::new(&access, &address));
                }
                Servers::Sentinel(Box::new(SentinelPrimary::new(access, master, sentinels)))
            }
        };
        Ok(Self { reach, replicas })
    }

    /// Other connections to the same, not made yet.
    pub(crate) fn another(&self) -> Self {
        let reach = match &self.reach {
            Servers::Single(server) => Servers::Single(Box::new(server.another())),
            Servers::Sentinel(sentinel) => Servers::Sentinel(Box::new(sentinel.another())),
            Servers::Cluster(cluster) => Servers::Cluster(Box::new(cluster.another())),
        };
        let replicas = self.replicas;
        Self { reach, replicas }
    }

    /// Asks whether it is there, may be used, and is what it is said to be.
    pub(crate) async fn check(&mut self) -> Result<(), RequestError> {
        self.run_one(redis::cmd("PING")).await?;
        let Servers::Single(server) = &mut self.reach else {
            // Neither a cluster nor sentinels can be taken for something else.
            return Ok(());
        };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let mut pipeline = pipeline(vec![slots]);
        // An error says that it is no cluster, or that the account may not ask.
        match server.send(&mut pipeline).await?.as_slice() {
            [Ok(_)] => Err(error::is_a_cluster(server.address())),
            _ => Ok(()),
        }
    }

    /// Whether the keys of one command have to be in one slot.
    pub(crate) fn has_slots(&self) -> bool {
        matches!(self.reach, Servers::Cluster(_))
    }

    /// Sends all commands in one round trip to each primary, and gives each one's
    /// own answer, in their order. All keys of a command have to be in one slot,
    /// and only commands of one slot are sure to be done in their order.
    ///
    /// The errors among the answers are about their command alone: WRONGTYPE,
    /// NOPERM, NOSCRIPT, TRYAGAIN or ERR. Any other failure is the whole call's,
    /// which may have done any part of it.
    pub(crate) async fn run(&mut self, commands: Vec<Cmd>) -> Result<Vec<Reply>, RequestError> {
        let answers = match &mut self.reach {
            Servers::Cluster(cluster) => cluster.run(commands).await?,
            Servers::Single(server) => {
                server
                    .change(&mut pipeline(commands), self.replicas)
                    .await?
            }
            Servers::Sentinel(sentinel) => {
                let server = sentinel.primary().await?;
                let answers = server.change(&mut pipeline(commands), self.replicas).await;
                answers.inspect_err(|_| sentinel.reset())?
            }
        };
        let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        match errors.find(|error| !error::concerns_one_command(error)) {
            Some(error) => Err(self.failed(error)),
            None => Ok(answers),
        }
    }

    /// Sends one command, any error of which is the call's.
    pub(crate) async fn run_one(&mut self, command: Cmd) -> Result<Value, RequestError> {
        let answer = self.run(vec![command]).await?.pop();
        answer
            .unwrap_or_else(no_answer)
            .map_err(|error| self.failed(&error))
    }

    /// Sends a command that is about no key to one of the primaries.
    pub(crate) async fn run_at(
        &mut self,
        primary: &Address,
        command: Cmd,
    ) -> Result<Value, RequestError> {
        match &mut self.reach {
            Servers::Cluster(cluster) => cluster.run_at(primary, command).await,
            Servers::Single(_) | Servers::Sentinel(_) => self.run_one(command).await,
        }
    }

    /// Where keys are now.
    pub(crate) async fn keyspace(&mut self) -> Result<Keyspace, RequestError> {
        let primary = match &mut self.reach {
            Servers::Cluster(cluster) => {
                let (topology, moving) = cluster.look().await?;
                return Ok(Keyspace {
                    primaries: topology.primaries().to_vec(),
                    moving,
                    topology: Some(topology),
                });
            }
            Servers::Single(server) => server.address().clone(),
            Servers::Sentinel(sentinel) => sentinel.primary().await?.address().clone(),
        };
        Ok(Keyspace {
            primaries: vec![primary],
            moving: false,
            topology: None,
        })
    }

    /// Names the failure and gives every connection up.
    pub(crate) fn failed(&mut self, error: &RedisError) -> RequestError {
        match &mut self.reach {
            Servers::Single(server) => server.failed(error),
            Servers::Sentinel(sentinel) => sentinel.failed(error),
            Servers::Cluster(cluster) => cluster.failed(error),
        }
    }
}

impl std::fmt::Display for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reach {
            Servers::Single(server) => write!(f, "{}", server.address()),
            Servers::Sentinel(sentinel) => write!(f, "{}", sentinel.master()),
            Servers::Cluster(cluster) => write!(f, "{}", cluster.seed()),
        }
    }
}

fn pipeline(commands: Vec<Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len() + 1);
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}
