//! Commands sent to the primaries of a cluster.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, RedisError, Value};

use super::address::Address;
use super::error;
use super::error::RequestError;
use super::redirection::{self, Goal, Group, InFlightCommand};
use super::server::{Reply, ServerConnection, no_answer};
use super::slot::{self, SLOTS};
use super::target::Access;
use super::topology::Topology;

/// Redirections that commands follow before the call fails.
const REDIRECTIONS_MAX: usize = 8;

/// Time in which a node has to say which primary serves which slots. After it the
/// next node is asked.
const TOPOLOGY_TIMEOUT: Duration = Duration::from_secs(2);

/// The nodes of a cluster.
pub(crate) struct Cluster {
    access: Access,
    seed: Address,
    replicas: u16,
    /// Dropped at every failure, and asked for again at the next call.
    topology: Option<Topology>,
    /// Every node that is known, to be asked in turn: the node that answered last
    /// may be the one that is cut off.
    known: VecDeque<Address>,
    /// The ids of the nodes when they were last asked for. A node that knows none
    /// of them is another cluster's, which has the address of one that is gone.
    ids: BTreeSet<String>,
    servers: HashMap<Address, ServerConnection>,
}

impl Cluster {
    pub(crate) fn new(access: Access, seed: Address, replicas: u16) -> Self {
        Self {
            access,
            known: VecDeque::from([seed.clone()]),
            seed,
            replicas,
            topology: None,
            ids: BTreeSet::new(),
            servers: HashMap::new(),
        }
    }

    /// Other connections to the same cluster, not made yet.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.access.clone(), self.seed.clone(), self.replicas)
    }

    pub(crate) fn seed(&self) -> &Address {
        &self.seed
    }

    /// Sends all commands to the primaries that have their keys, to all of them at
    /// the same time, and returns the answers in the order of the commands.
    /// Commands of one slot take effect in their order, and may take effect twice.
    pub(crate) async fn run(&mut self, commands: Vec<Cmd>) -> Result<Vec<Reply>, RequestError> {
        let mut answers: Vec<Reply> = commands.iter().map(|_| no_answer()).collect();
        let mut pending: Vec<InFlightCommand> = commands
            .into_iter()
            .enumerate()
            .map(|(place, command)| InFlightCommand {
                place,
                command,
                to: Goal::Owner,
            })
            .collect();
        let mut behind = Vec::new();
        let mut moved = false;
        for _ in 0..REDIRECTIONS_MAX {
            if pending.is_empty() {
                pending.append(&mut behind);
            }
            if pending.is_empty() {
                if moved {
                    // When one slot has moved, others may have, too.
                    self.topology = None;
                }
                return Ok(answers);
            }
            let groups = self.route(std::mem::take(&mut pending)).await?;
            for (address, group, answered) in self.send(groups).await {
                let answered = answered.inspect_err(|_| self.topology = None)?;
                let sorted = redirection::sort(&group, answered, &address);
                for (place, answer) in sorted.done {
                    if let Some(answered) = answers.get_mut(place) {
                        *answered = answer;
                    }
                }
                pending.extend(sorted.redirected);
                behind.extend(sorted.behind);
                for (slot, primary) in sorted.moved {
                    moved = true;
                    if let Some(topology) = &mut self.topology {
                        topology.moved(slot, &primary);
                    }
                }
            }
        }
        self.topology = None;
        Err(RequestError::Unavailable {
            address: self.seed.to_string(),
            code: "moved",
            reason: format!("slots moved {REDIRECTIONS_MAX} times while a call followed them"),
        })
    }

    /// Sends one command to one node.
    pub(crate) async fn run_at(
        &mut self,
        address: &Address,
        command: Cmd,
    ) -> Result<Value, RequestError> {
        let ids = self.ids.clone();
        let server = self.server(address);
        let answer = async {
            belongs(server, &ids).await?;
            server.send_one(command).await
        };
        let answer = answer.await;
        answer.inspect_err(|_| self.topology = None)
    }

    /// The topology at this moment, and whether keys are moving from one primary
    /// to another.
    pub(crate) async fn look(&mut self) -> Result<(Topology, bool), RequestError> {
        self.topology = None;
        let topology = self.topology().await?.clone();
        let mut moving = false;
        for primary in topology.primaries() {
            let mut nodes = redis::cmd("CLUSTER");
            nodes.arg("NODES");
            let answer = self.run_at(primary, nodes).await?;
            let nodes: String = redis::from_redis_value(answer)
                .map_err(|error| self.server(primary).failed(&error.into()))?;
            // A node marks only its own slots, as in `[93-<-id]`.
            moving |= nodes
                .lines()
                .find(|line| line.contains("myself"))
                .is_some_and(|line| line.contains(" ["));
        }
        Ok((topology, moving))
    }

    /// Drops every connection, and makes the error one for the caller.
    pub(crate) fn failed(&mut self, error: &RedisError) -> RequestError {
        self.topology = None;
        self.servers.clear();
        error::named(error, &self.seed)
    }

    /// The topology, asked for if it is not known.
    async fn topology(&mut self) -> Result<&Topology, RequestError> {
        if self.topology.is_none() {
            let topology = self.ask().await?;
            self.ids.clone_from(topology.ids());
            self.known = topology.nodes().cloned().collect();
            self.servers
                .retain(|address, _| self.known.contains(address));
            self.topology = Some(topology);
        }
        self.topology.as_ref().ok_or_else(|| self.unserved(0))
    }

    /// Asks one node after the other for the topology, the seed last.
    ///
    /// The seed is the operator's word: if no known node answers, the cluster there
    /// is taken whichever it is.
    async fn ask(&mut self) -> Result<Topology, RequestError> {
        self.known.rotate_left(1.min(self.known.len()));
        let mut nodes: Vec<Address> = self.known.iter().cloned().collect();
        nodes.retain(|address| *address != self.seed);
        nodes.push(self.seed.clone());
        let mut failure = self.unserved(0);
        for address in nodes {
            let server = self.server(&address);
            let asked = tokio::time::timeout(TOPOLOGY_TIMEOUT, slots(server)).await;
            failure = match asked {
                Ok(Ok(topology)) if !shares(&topology, &self.ids) && address != self.seed => {
                    self.server(&address).foreign()
                }
                Ok(Ok(topology)) if topology.served() > 0 => {
                    if !shares(&topology, &self.ids) {
                        tracing::error!(
                            address = %address,
                            "another cluster is at redis.url than before, and is used from now on"
                        );
                    }
                    return Ok(topology);
                }
                Ok(Ok(topology)) if topology.is_nameless() => RequestError::Refused {
                    address: address.to_string(),
                    code: "nameless",
                    reason: "CLUSTER SLOTS names nodes without a host (`?`)".to_owned(),
                    remedy: NAME_NODES,
                },
                Ok(Ok(_)) => self.unserved(0),
                Ok(Err(error)) => error,
                Err(_) => {
                    self.servers.remove(&address);
                    RequestError::Unavailable {
                        address: address.to_string(),
                        code: "timeout",
                        reason: "the node does not say which slots it serves".to_owned(),
                    }
                }
            };
        }
        Err(failure)
    }

    /// Groups the commands by the server that they go to.
    async fn route(
        &mut self,
        pending: Vec<InFlightCommand>,
    ) -> Result<HashMap<Address, Group>, RequestError> {
        let topology = self.topology().await?;
        let mut groups: HashMap<Address, Group> = HashMap::new();
        for command in pending {
            let slot = slot::of_command(&command.command);
            let address = match &command.to {
                Goal::Asking(address) => address,
                Goal::Owner => match topology.primary(slot) {
                    Some(address) => address,
                    None => {
                        let nameless = topology.is_nameless();
                        let mut failure = self.unserved(slot.unwrap_or(0));
                        if nameless && let RequestError::Unavailable { reason, .. } = &mut failure {
                            reason.push_str("; CLUSTER SLOTS names nodes without a host (`?`): ");
                            reason.push_str(NAME_NODES);
                        }
                        self.topology = None;
                        return Err(failure);
                    }
                },
            };
            match groups.get_mut(address) {
                Some(group) => group.add(command),
                None => {
                    let address = address.clone();
                    groups.entry(address).or_default().add(command);
                }
            }
        }
        Ok(groups)
    }

    /// Sends every group to its server, all of them at the same time.
    async fn send(
        &mut self,
        groups: HashMap<Address, Group>,
    ) -> Vec<(Address, Group, Result<Vec<Reply>, RequestError>)> {
        let replicas = self.replicas;
        let ids = &self.ids;
        let sending: Vec<_> = groups
            .into_iter()
            .map(|(address, mut group)| {
                // Removed from the map, so that all can be used at the same time. A
                // connection that is lost because the call is cancelled is made
                // anew.
                let server = self.servers.remove(&address);
                let mut server =
                    server.unwrap_or_else(|| ServerConnection::new(&self.access, &address));
                async move {
                    let answered = match belongs(&mut server, ids).await {
                        Ok(()) => server.change(&mut group.commands, replicas).await,
                        Err(error) => Err(error),
                    };
                    (server, group, answered)
                }
            })
            .collect();
        join_all(sending)
            .await
            .into_iter()
            .map(|(server, group, answered)| {
                let address = server.address().clone();
                self.servers.insert(address.clone(), server);
                (address, group, answered)
            })
            .collect()
    }

    fn server(&mut self, address: &Address) -> &mut ServerConnection {
        let access = &self.access;
        self.servers
            .entry(address.clone())
            .or_insert_with_key(|address| ServerConnection::new(access, address))
    }

    fn unserved(&self, slot: u16) -> RequestError {
        RequestError::Unavailable {
            address: self.seed.to_string(),
            code: "cluster-down",
            reason: format!("no primary serves slot {slot} of {SLOTS}"),
        }
    }
}

const NAME_NODES: &str =
    "set cluster-announce-hostname on every node, or cluster-preferred-endpoint-type ip";

/// Asks a node for the topology.
async fn slots(server: &mut ServerConnection) -> Result<Topology, RequestError> {
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    let answer = server.send_one(slots).await?;
    let topology = Topology::parse(answer, server.address());
    topology.map_err(|error| server.failed(&error))
}

/// Whether nodes of `topology` have any of these ids; no ids are everybody's.
fn shares(topology: &Topology, ids: &BTreeSet<String>) -> bool {
    ids.is_empty() || !ids.is_disjoint(topology.ids())
}

/// Fails if the node at an address that is about to be connected to is another
/// cluster's: its own nodes may have gone, and addresses are used again.
async fn belongs(
    server: &mut ServerConnection,
    ids: &BTreeSet<String>,
) -> Result<(), RequestError> {
    if server.is_open() || shares(&slots(server).await?, ids) {
        return Ok(());
    }
    Err(server.foreign())
}
