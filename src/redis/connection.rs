//! Commands to Redis, whatever the layout of its servers is.

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
    servers: Servers,
    /// The number of replicas that have to acknowledge a change before it counts.
    replicas: u16,
}

enum Servers {
    Single(Box<ServerConnection>),
    Sentinel(Box<SentinelPrimary>),
    Cluster(Box<Cluster>),
}

/// The primaries, and whether keys are moving from one to another.
pub(crate) struct Keyspace {
    pub(crate) primaries: Vec<Address>,
    pub(crate) moving: bool,
    /// The slots of the primaries, in a cluster.
    pub(crate) topology: Option<Topology>,
}

impl Connection {
    pub(crate) fn new(target: &RedisTarget) -> Result<Self, RequestError> {
        let (access, address) = Access::new(&target.url, target.password.as_ref(), &target.tls)?;
        let replicas = target.replicas;
        let servers = match &target.layout {
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
        Ok(Self { servers, replicas })
    }

    /// Other connections to the same servers, not made yet.
    pub(crate) fn another(&self) -> Self {
        let servers = match &self.servers {
            Servers::Single(server) => Servers::Single(Box::new(server.another())),
            Servers::Sentinel(sentinel) => Servers::Sentinel(Box::new(sentinel.another())),
            Servers::Cluster(cluster) => Servers::Cluster(Box::new(cluster.another())),
        };
        let replicas = self.replicas;
        Self { servers, replicas }
    }

    /// Checks that Redis answers, may be used, and has the configured layout.
    pub(crate) async fn check(&mut self) -> Result<(), RequestError> {
        self.run_one(redis::cmd("PING")).await?;
        let Servers::Single(server) = &mut self.servers else {
            // What is not a cluster, or not a sentinel, answered with an error.
            return Ok(());
        };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let mut pipeline = pipeline(vec![slots]);
        // An error means that it is not a cluster, or that the account may not ask.
        match server.send(&mut pipeline).await?.as_slice() {
            [Ok(_)] => Err(error::is_a_cluster(server.address())),
            _ => Ok(()),
        }
    }

    /// Whether all keys of a command have to be in one slot.
    pub(crate) fn has_slots(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    /// Whether a change counts only once replicas have acknowledged it.
    pub(crate) fn is_replicated(&self) -> bool {
        self.replicas > 0
    }

    /// Sends all commands in one round trip to each primary, and returns the
    /// answers in the order of the commands. All keys of a command have to be in
    /// one slot, and only commands of one slot take effect in their order.
    ///
    /// The errors among the answers are about their command alone: WRONGTYPE,
    /// NOPERM, NOSCRIPT, TRYAGAIN or ERR. Any other error fails the whole call, any
    /// part of which may have taken effect.
    pub(crate) async fn run(&mut self, commands: Vec<Cmd>) -> Result<Vec<Reply>, RequestError> {
        let answers = match &mut self.servers {
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

    /// Sends one command. An error in its answer fails the call.
    pub(crate) async fn run_one(&mut self, command: Cmd) -> Result<Value, RequestError> {
        let answer = self.run(vec![command]).await?.pop();
        answer
            .unwrap_or_else(no_answer)
            .map_err(|error| self.failed(&error))
    }

    /// Sends a command without keys to one of the primaries.
    pub(crate) async fn run_at(
        &mut self,
        primary: &Address,
        command: Cmd,
    ) -> Result<Value, RequestError> {
        match &mut self.servers {
            Servers::Cluster(cluster) => cluster.run_at(primary, command).await,
            Servers::Single(_) | Servers::Sentinel(_) => self.run_one(command).await,
        }
    }

    /// The primaries at this moment.
    pub(crate) async fn keyspace(&mut self) -> Result<Keyspace, RequestError> {
        let primary = match &mut self.servers {
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

    /// Drops every connection, and makes the error one for the caller.
    pub(crate) fn failed(&mut self, error: &RedisError) -> RequestError {
        match &mut self.servers {
            Servers::Single(server) => server.failed(error),
            Servers::Sentinel(sentinel) => sentinel.failed(error),
            Servers::Cluster(cluster) => cluster.failed(error),
        }
    }
}

impl std::fmt::Display for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.servers {
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
