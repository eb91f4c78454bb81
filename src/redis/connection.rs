//! Commands to Redis, whatever the layout of its servers is.

use redis::{Cmd, Pipeline, RedisError, Value};

use super::address::Address;
use super::cluster::Cluster;
use super::error;
use super::error::RequestError;
use super::sentinel::SentinelPrimary;
use super::server::{Answers, Reply, ServerConnection, no_answer};
use super::target::{Access, Layout, RedisTarget};
use super::topology::Topology;
use crate::telemetry::repeating;

/// Connections to Redis, made when they are needed.
pub(crate) struct Connection {
    servers: Servers,
    /// The number of replicas that have to acknowledge a change before it counts.
    replicas: u16,
    /// UNLINK, or DEL for a server that does not know it.
    delete: &'static str,
    /// Keys that one SCAN may look at.
    scan_count: u32,
}

/// Keys that one SCAN looks at. The server does nothing else in the meantime.
const SCAN_COUNT_MAX: u32 = 1_000;
const SCAN_COUNT_MIN: u32 = 10;

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
    /// Why a primary does not answer, so that it is not known whether keys move.
    pub(crate) failure: Option<RequestError>,
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
        Ok(Self {
            servers,
            replicas,
            delete: "UNLINK",
            scan_count: SCAN_COUNT_MAX,
        })
    }

    /// Other connections to the same servers, not made yet.
    pub(crate) fn another(&self) -> Self {
        let servers = match &self.servers {
            Servers::Single(server) => Servers::Single(Box::new(server.another())),
            Servers::Sentinel(sentinel) => Servers::Sentinel(Box::new(sentinel.another())),
            Servers::Cluster(cluster) => Servers::Cluster(Box::new(cluster.another())),
        };
        Self { servers, ..*self }
    }

    /// Other connections to the same servers for those who try again what failed:
    /// they also ask nodes of a cluster that did not answer lately.
    pub(crate) fn insisting(&self) -> Self {
        let mut other = self.another();
        if let Servers::Cluster(cluster) = &mut other.servers {
            cluster.insist();
        }
        other
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

    /// Sends one SCAN, without its COUNT, to one of the primaries.
    ///
    /// A server closes a connection whose answer is larger than its
    /// client-output-buffer-limit. So the next attempt looks at half as many keys.
    pub(crate) async fn scan_at(
        &mut self,
        primary: &Address,
        mut scan: Cmd,
        count: u32,
    ) -> Result<Value, RequestError> {
        scan.arg("COUNT").arg(count.min(self.scan_count));
        let answer = self.run_at(primary, scan).await;
        if let Err(RequestError::Unavailable {
            code: "connection", ..
        }) = &answer
        {
            self.scan_count = SCAN_COUNT_MIN.max(self.scan_count / 2);
            let count = self.scan_count;
            repeating!(warn, &self.to_string(), { redis = %self, count },
                "Redis closed the connection while it answered SCAN: if its client-output-buffer-limit is low, the answer was too large for it; fewer keys are asked for at a time");
        }
        answer
    }

    /// A scan has ended: the next one may ask for more keys again.
    pub(crate) fn scanned(&mut self) {
        self.scan_count = SCAN_COUNT_MAX.min(self.scan_count * 2);
    }

    /// The command that deletes keys.
    pub(crate) fn delete_command(&self) -> &'static str {
        self.delete
    }

    /// Deletes with DEL from now on.
    pub(crate) fn do_without_unlink(&mut self) {
        repeating!(warn, &self.to_string(), { redis = %self },
            "Redis does not know UNLINK: keys are deleted with DEL, which holds other clients up while it frees large values");
        self.delete = "DEL";
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
        let answers = self.run_each(commands).await?;
        match answers.failure {
            Some(failure) => Err(failure),
            None => Ok(answers.replies.into_iter().flatten().collect()),
        }
    }

    /// The same, but what fails does not fail the rest: a command has no answer if
    /// its primary failed, or if it needs memory and there is none.
    ///
    /// # Errors
    ///
    /// Nothing can be done: the one server failed, or it is not known which
    /// primaries a cluster has.
    pub(crate) async fn run_each(&mut self, commands: Vec<Cmd>) -> Result<Answers, RequestError> {
        let (answers, address) = match &mut self.servers {
            Servers::Cluster(cluster) => return cluster.run(commands).await,
            Servers::Single(server) => {
                let mut pipeline = pipeline(commands);
                let answers = server.change(&mut pipeline, self.replicas).await?;
                (answers, server.address().clone())
            }
            Servers::Sentinel(sentinel) => {
                let server = sentinel.primary().await?;
                let address = server.address().clone();
                let answers = server.change(&mut pipeline(commands), self.replicas).await;
                (answers.inspect_err(|_| sentinel.reset())?, address)
            }
        };
        let mut failure = None;
        let mut replies = Vec::with_capacity(answers.len());
        for answer in answers {
            replies.push(match answer {
                Err(error) if error::fails_alone(&error) => {
                    failure = Some(error::named(&error, &address));
                    None
                }
                Err(error) if !error::concerns_one_command(&error) => {
                    return Err(self.failed(&error));
                }
                answer => Some(answer),
            });
        }
        Ok(Answers { replies, failure })
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
                let (moving, failure) = match moving {
                    Ok(moving) => (moving, None),
                    Err(failure) => (false, Some(failure)),
                };
                return Ok(Keyspace {
                    primaries: topology.primaries().to_vec(),
                    moving,
                    topology: Some(topology),
                    failure,
                });
            }
            Servers::Single(server) => server.address().clone(),
            Servers::Sentinel(sentinel) => sentinel.primary().await?.address().clone(),
        };
        Ok(Keyspace {
            primaries: vec![primary],
            moving: false,
            topology: None,
            failure: None,
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
