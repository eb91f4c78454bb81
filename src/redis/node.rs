//! The answers of a cluster's node about its cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use super::address::Address;
use super::error::RequestError;
use super::server::ServerConnection;
use super::slot::SLOTS;
use super::topology::Topology;

/// Time in which a node has to say which primary serves which slots. After it the
/// next node is asked.
const TOPOLOGY_TIMEOUT: Duration = Duration::from_secs(2);

const NAME_NODES: &str =
    "set cluster-announce-hostname on every node, or cluster-preferred-endpoint-type ip";

/// Asks a node for the topology, and gives up soon.
pub(super) async fn slots_in_time(server: &mut ServerConnection) -> Result<Topology, RequestError> {
    let address = server.address().to_string();
    tokio::time::timeout(TOPOLOGY_TIMEOUT, slots(server))
        .await
        .unwrap_or_else(|_| {
            Err(RequestError::Unavailable {
                address,
                code: "timeout",
                reason: "the node does not say which slots it serves".to_owned(),
            })
        })
}

/// Asks a node for the topology.
async fn slots(server: &mut ServerConnection) -> Result<Topology, RequestError> {
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    let answer = server.send_one(slots).await?;
    let topology = Topology::parse(answer, server.address());
    topology.map_err(|error| server.failed(&error))
}

/// Whether nodes of `topology` have any of these ids; no ids are everybody's.
pub(super) fn shares(topology: &Topology, ids: &BTreeSet<String>) -> bool {
    ids.is_empty() || !ids.is_disjoint(topology.ids())
}

/// Fails if the node at an address that is about to be connected to is another
/// cluster's: its own nodes may have gone, and addresses are used again.
pub(super) async fn belongs(
    server: &mut ServerConnection,
    ids: &BTreeSet<String>,
) -> Result<(), RequestError> {
    if server.is_open() || shares(&slots(server).await?, ids) {
        return Ok(());
    }
    Err(server.foreign())
}

/// Whether a node says in its CLUSTER NODES that slots move to it or from it.
pub(super) fn moves_slots(nodes: &str) -> bool {
    // A node marks only its own slots, as in `[93-<-id]`.
    nodes
        .lines()
        .find(|line| line.contains("myself"))
        .is_some_and(|line| line.contains(" ["))
}

/// The error of a cluster whose nodes have no names.
pub(super) fn nameless(address: &Address) -> RequestError {
    RequestError::Refused {
        address: address.to_string(),
        code: "nameless",
        reason: "CLUSTER SLOTS names nodes without a host (`?`)".to_owned(),
        remedy: NAME_NODES,
    }
}

/// The error of a slot that no primary serves; of a primary without a name where
/// the topology has such.
pub(super) fn unserved(seed: &Address, slot: u16, nameless: bool) -> RequestError {
    let mut reason = format!("no primary serves slot {slot} of {SLOTS}");
    if nameless {
        reason.push_str("; CLUSTER SLOTS names nodes without a host (`?`): ");
        reason.push_str(NAME_NODES);
    }
    RequestError::Unavailable {
        address: seed.to_string(),
        code: "cluster-down",
        reason,
    }
}
