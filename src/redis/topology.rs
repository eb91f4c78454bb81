//! The primaries of a cluster, and the slots that each serves.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, Value};

use super::address::Address;
use super::slot::SLOTS;

/// The primaries of a cluster with their slots, as one node sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    primaries: Vec<Address>,
    replicas: Vec<Address>,
    /// The index of the primary of each slot.
    owners: Vec<Option<usize>>,
    /// The ids of all nodes, which no node of another cluster has.
    ids: BTreeSet<String>,
    /// Whether a primary is named without its host.
    nameless: bool,
}

impl Topology {
    /// Reads the answer of `answering` to CLUSTER SLOTS.
    pub(crate) fn parse(slots: Value, answering: &Address) -> Result<Self, RedisError> {
        let mut topology = Self {
            primaries: Vec::new(),
            replicas: Vec::new(),
            owners: vec![None; usize::from(SLOTS)],
            ids: BTreeSet::new(),
            nameless: false,
        };
        let unexpected = || RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS"));
        let Value::Array(ranges) = slots else {
            return Err(unexpected());
        };
        for range in ranges {
            let Value::Array(range) = range else {
                return Err(unexpected());
            };
            let [Value::Int(first), Value::Int(last), primary, replicas @ ..] = range.as_slice()
            else {
                return Err(unexpected());
            };
            let first = usize::try_from(*first).map_err(|_| unexpected())?;
            let last = usize::try_from(*last).map_err(|_| unexpected())?;
            let nodes = std::iter::once(primary).chain(replicas);
            topology.ids.extend(nodes.filter_map(id));
            topology
                .replicas
                .extend(replicas.iter().filter_map(|node| address(node, answering)));
            // A primary without a known address cannot be reached.
            let Some(primary) = address(primary, answering) else {
                topology.nameless = true;
                continue;
            };
            let primary = topology.index(&primary);
            let owners = topology.owners.get_mut(first..=last);
            owners.ok_or_else(unexpected)?.fill(Some(primary));
        }
        Ok(topology)
    }

    /// The nodes that serve slots.
    pub(crate) fn primaries(&self) -> &[Address] {
        &self.primaries
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.primaries.iter().chain(&self.replicas)
    }

    /// The ids of all nodes.
    pub(crate) fn ids(&self) -> &BTreeSet<String> {
        &self.ids
    }

    /// Whether a primary is named without its host.
    pub(crate) fn is_nameless(&self) -> bool {
        self.nameless
    }

    /// The primary that serves `slot`; any primary for `None`.
    pub(crate) fn primary(&self, slot: Option<u16>) -> Option<&Address> {
        let index = match slot {
            Some(slot) => (*self.owners.get(usize::from(slot))?)?,
            None => 0,
        };
        self.primaries.get(index)
    }

    /// Notes the new primary of a slot.
    pub(crate) fn moved(&mut self, slot: u16, primary: &Address) {
        let primary = self.index(primary);
        if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
            *owner = Some(primary);
        }
    }

    /// The number of slots that have a primary.
    pub(crate) fn served(&self) -> usize {
        self.owners.iter().flatten().count()
    }

    /// The slots that have another primary than in `earlier`.
    pub(crate) fn moved_since<'t>(
        &'t self,
        earlier: &'t Topology,
    ) -> impl Iterator<Item = u16> + 't {
        (0..SLOTS).filter(|slot| self.primary(Some(*slot)) != earlier.primary(Some(*slot)))
    }

    fn index(&mut self, primary: &Address) -> usize {
        self.primaries
            .iter()
            .position(|known| known == primary)
            .unwrap_or_else(|| {
                self.primaries.push(primary.clone());
                self.primaries.len() - 1
            })
    }
}

/// Reads the address in `[host, port, id, …]`. A node without a host has the host
/// of the answering node; one whose host is not known is called "?".
fn address(node: &Value, answering: &Address) -> Option<Address> {
    let Value::Array(node) = node else {
        return None;
    };
    let [host, Value::Int(port), ..] = node.as_slice() else {
        return None;
    };
    let host = match host {
        Value::Nil => "",
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        _ => return None,
    };
    let host = match host {
        "?" => return None,
        "" => Arc::clone(&answering.host),
        host => host.into(),
    };
    // A node whose address the others have lost has the port 0.
    let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
    Some(Address { host, port })
}

/// Reads the id in `[host, port, id, …]`.
fn id(node: &Value) -> Option<String> {
    let Value::Array(node) = node else {
        return None;
    };
    match node.get(2)? {
        Value::BulkString(id) => Some(std::str::from_utf8(id).ok()?.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![
            host,
            Value::Int(port),
            Value::BulkString(b"id".into()),
        ])
    }

    fn named(host: &str, port: i64) -> Value {
        node(Value::BulkString(host.into()), port)
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        let mut range = vec![Value::Int(first), Value::Int(last)];
        range.extend(nodes);
        Value::Array(range)
    }

    fn answering() -> Address {
        Address {
            host: "seed".into(),
            port: 1,
        }
    }

    fn primary(topology: &Topology, slot: u16) -> Option<String> {
        topology.primary(Some(slot)).map(ToString::to_string)
    }

    #[test]
    fn every_slot_has_the_primary_of_its_range() {
        let slots = Value::Array(vec![
            range(0, 99, vec![named("a", 1), named("b", 2)]),
            range(100, 16_383, vec![node(Value::Nil, 3), named("?", 4)]),
            range(50, 50, vec![named("", 5)]),
        ]);
        let mut topology = Topology::parse(slots, &answering()).unwrap();
        for (slot, expected) in [
            (0, "a:1"),
            (50, "seed:5"),
            (99, "a:1"),
            (100, "seed:3"),
            (16_383, "seed:3"),
        ] {
            assert_eq!(primary(&topology, slot).as_deref(), Some(expected));
        }
        assert_eq!(topology.served(), 16_384);
        let nodes: Vec<_> = topology.nodes().map(ToString::to_string).collect();
        assert_eq!(nodes, ["a:1", "seed:3", "seed:5", "b:2"]);

        let before = topology.clone();
        topology.moved(7, &answering());
        assert_eq!(primary(&topology, 7).as_deref(), Some("seed:1"));
        assert_eq!(topology.moved_since(&before).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn slots_that_nobody_serves_have_no_primary() {
        let slots = Value::Array(vec![
            range(1, 2, vec![named("a", 1)]),
            range(3, 4, vec![named("?", 2)]),
        ]);
        let topology = Topology::parse(slots, &answering()).unwrap();
        assert_eq!(primary(&topology, 0), None);
        assert_eq!(primary(&topology, 3), None);
        assert!(topology.is_nameless());
        assert_eq!(topology.served(), 2);
    }

    #[test]
    fn what_is_no_topology_is_an_error() {
        for slots in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![range(0, 99_999, vec![named("a", 1)])]),
            Value::Array(vec![range(-1, 5, vec![named("a", 1)])]),
            Value::Array(vec![range(9, 5, vec![named("a", 1)])]),
            Value::Array(vec![range(0, 1, vec![])]),
        ] {
            let text = format!("{slots:?}");
            assert!(Topology::parse(slots, &answering()).is_err(), "{text}");
        }
    }
}
