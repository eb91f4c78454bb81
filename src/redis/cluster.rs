//! Commands sent to the primaries of a cluster.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, RedisError, Value};

use super::address::Address;
use super::error;
use super::error::RequestError;
use super::node;
use super::outages::Outages;
use super::redirection::{self, Goal, Group, InFlightCommand};
use super::server::{Answers, Reply, ServerConnection};
use super::slot;
use super::target::Access;
use super::topology::Topology;

/// Redirections that commands follow before the call fails.
const REDIRECTIONS_MAX: usize = 8;

/// Time that the commands to other primaries wait for one that does not answer,
/// before its commands have failed. Those who insist wait longer.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// Nodes that are left alone, for all connections to the cluster.
    outages: Arc<Outages>,
    /// The changes of `outages` that the topology is younger than.
    outages_seen: u64,
    /// Whether it asks nodes again that others leave alone.
    insists: bool,
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
            outages: Arc::default(),
            outages_seen: 0,
            insists: false,
        }
    }

    /// Other connections to the same cluster, not made yet.
    pub(crate) fn another(&self) -> Self {
        Self {
            outages: Arc::clone(&self.outages),
            ..Self::new(self.access.clone(), self.seed.clone(), self.replicas)
        }
    }

    /// Asks nodes again that others leave alone from now on.
    pub(crate) fn insist(&mut self) {
        self.insists = true;
    }

    pub(crate) fn seed(&self) -> &Address {
        &self.seed
    }

    /// Sends all commands to the primaries that have their keys, to all of them at
    /// the same time, and returns the answers in the order of the commands.
    /// Commands of one slot take effect in their order, and may take effect twice.
    ///
    /// A primary that fails leaves its commands without an answer, and the others
    /// answer all the same.
    pub(crate) async fn run(&mut self, commands: Vec<Cmd>) -> Result<Answers, RequestError> {
        let mut answers = Answers {
            replies: commands.iter().map(|_| None).collect(),
            failure: None,
        };
        let changes = self.outages.changes();
        if self.outages_seen != changes {
            // Another connection has found a node gone, or its successor.
            self.outages_seen = changes;
            self.topology = None;
        }
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
            let groups = self
                .route(std::mem::take(&mut pending), &mut answers)
                .await?;
            for (address, group, answered) in self.send(groups).await {
                let answered = match answered {
                    Ok(answered) => answered,
                    Err(error) => {
                        self.missed(&address, &error);
                        answers.failure = Some(error);
                        continue;
                    }
                };
                self.outages.end_unless(|node| *node != address);
                let sorted = redirection::sort(&group, answered, &address);
                for (place, answer) in sorted.done {
                    let answer = match answer {
                        Err(error) if error::fails_alone(&error) => {
                            answers.failure = Some(error::named(&error, &address));
                            None
                        }
                        answer => Some(answer),
                    };
                    if let Some(answered) = answers.replies.get_mut(place) {
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
        answers.failure = Some(RequestError::Unavailable {
            address: self.seed.to_string(),
            code: "moved",
            reason: format!("slots moved {REDIRECTIONS_MAX} times while a call followed them"),
        });
        Ok(answers)
    }

    /// Sends one command to one node.
    pub(crate) async fn run_at(
        &mut self,
        address: &Address,
        command: Cmd,
    ) -> Result<Value, RequestError> {
        if let Some(error) = self.outages.of(address, self.insists) {
            return Err(error);
        }
        let ids = self.ids.clone();
        let server = self.server(address);
        let answer = match node::belongs(server, &ids).await {
            Ok(()) => server.send_one(command).await,
            Err(error) => Err(error),
        };
        answer.inspect_err(|error| self.missed(address, error))
    }

    /// The topology at this moment, and whether keys are moving from one primary
    /// to another, unless one of them does not answer.
    pub(crate) async fn look(
        &mut self,
    ) -> Result<(Topology, Result<bool, RequestError>), RequestError> {
        self.topology = None;
        let topology = self.topology().await?.clone();
        let mut moving = Ok(false);
        for primary in topology.primaries() {
            match self.is_moving(primary).await {
                Ok(false) => {}
                Ok(true) => moving = moving.map(|_| true),
                Err(failure) => moving = Err(failure),
            }
        }
        Ok((topology, moving))
    }

    async fn is_moving(&mut self, primary: &Address) -> Result<bool, RequestError> {
        let mut nodes = redis::cmd("CLUSTER");
        nodes.arg("NODES");
        let answer = self.run_at(primary, nodes).await?;
        let nodes: String = redis::from_redis_value(answer)
            .map_err(|error| self.server(primary).failed(&error.into()))?;
        Ok(node::moves_slots(&nodes))
    }

    /// Drops every connection, and makes the error one for the caller.
    pub(crate) fn failed(&mut self, error: &RedisError) -> RequestError {
        self.topology = None;
        self.servers.clear();
        error::named(error, &self.seed)
    }

    /// Notes that a node failed.
    fn missed(&mut self, node: &Address, error: &RequestError) {
        self.topology = None;
        match error {
            // It deletes, though its replicas do not say that they have it.
            RequestError::Unavailable {
                code: "replicas", ..
            } => {}
            RequestError::Unavailable { .. } => self.outages.begins(node, error),
            // Nothing is waited for.
            RequestError::NoToken { .. } | RequestError::Refused { .. } => {}
        }
    }

    /// The topology, asked for if it is not known.
    async fn topology(&mut self) -> Result<&Topology, RequestError> {
        if self.topology.is_none() {
            let topology = self.ask().await?;
            self.ids.clone_from(topology.ids());
            self.known = topology.nodes().cloned().collect();
            self.servers
                .retain(|address, _| self.known.contains(address));
            // A primary that another one has taken over from is not missed.
            self.outages
                .end_unless(|node| topology.primaries().contains(node));
            self.outages_seen = self.outages.changes();
            self.topology = Some(topology);
        }
        let unserved = || node::unserved(&self.seed, 0, false);
        self.topology.as_ref().ok_or_else(unserved)
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
        // Those that are left alone come last.
        nodes.sort_by_cached_key(|node| self.outages.of(node, false).is_some());
        let mut failure = node::unserved(&self.seed, 0, false);
        for address in nodes {
            let server = self.server(&address);
            failure = match node::slots_in_time(server).await {
                Ok(topology) if !node::shares(&topology, &self.ids) && address != self.seed => {
                    self.server(&address).foreign()
                }
                Ok(topology) if topology.served() > 0 => {
                    if !node::shares(&topology, &self.ids) {
                        tracing::error!(
                            address = %address,
                            "another cluster is at redis.url than before, and is used from now on"
                        );
                    }
                    return Ok(topology);
                }
                Ok(topology) if topology.is_nameless() => node::nameless(&address),
                Ok(_) => node::unserved(&self.seed, 0, false),
                Err(error) => {
                    if matches!(
                        error,
                        RequestError::Unavailable {
                            code: "timeout",
                            ..
                        }
                    ) {
                        self.servers.remove(&address);
                    }
                    error
                }
            };
        }
        Err(failure)
    }

    /// Groups the commands by the server that they go to, but for those whose
    /// server is left alone: these have failed.
    async fn route(
        &mut self,
        pending: Vec<InFlightCommand>,
        answers: &mut Answers,
    ) -> Result<HashMap<Address, Group>, RequestError> {
        let (outages, insists) = (Arc::clone(&self.outages), self.insists);
        let topology = self.topology().await?;
        let mut groups: HashMap<Address, Group> = HashMap::new();
        let mut unserved = None;
        for command in pending {
            let slot = slot::of_command(&command.command);
            let owner = match slot {
                Some(_) => topology.primary(slot),
                // Any primary will do.
                None => topology
                    .primaries()
                    .iter()
                    .find(|primary| outages.of(primary, insists).is_none())
                    .or_else(|| topology.primary(None)),
            };
            let address = match (&command.to, owner) {
                (Goal::Asking(address), _) | (Goal::Owner, Some(address)) => address,
                (Goal::Owner, None) => {
                    unserved = Some(slot.unwrap_or(0));
                    continue;
                }
            };
            if let Some(error) = outages.of(address, insists) {
                answers.failure = Some(error);
                continue;
            }
            match groups.get_mut(address) {
                Some(group) => group.add(command),
                None => {
                    let address = address.clone();
                    groups.entry(address).or_default().add(command);
                }
            }
        }
        if let Some(slot) = unserved {
            let nameless = topology.is_nameless();
            answers.failure = Some(node::unserved(&self.seed, slot, nameless));
            self.topology = None;
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
        let patience = if self.insists {
            Duration::MAX
        } else {
            PATIENCE
        };
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
                    let change = async {
                        node::belongs(&mut server, ids).await?;
                        server.change(&mut group.commands, replicas).await
                    };
                    let answered = match tokio::time::timeout(patience, change).await {
                        Ok(answered) => answered.and_then(|answers| server.whole(answers)),
                        Err(_) => Err(server.silent(patience)),
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
}
