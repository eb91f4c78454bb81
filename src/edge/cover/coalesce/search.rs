//! The search for wildcards that fit, from the broadest to narrower ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::cover::Cover;
use super::room::Room;
use super::unit_set::UnitSet;

/// Units under one wildcard. Ordered so that the broadest is the greatest: by
/// the shortest beginning, then by how many it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    common: Reverse<usize>,
    size: usize,
    start: Reverse<usize>,
}

impl Node {
    fn units(&self) -> Range<usize> {
        self.start.0..self.start.0 + self.size
    }
}

/// How much deeper, on average over its paths, a split into wildcards must
/// reach. In a list of numbers, one more digit is not worth nine wildcards.
const DEPTH_GAIN_MIN: usize = 2;

pub(super) struct Search<'s, 'a, S> {
    set: &'s UnitSet<'a, S>,
    room: Room,
    open: BinaryHeap<Node>,
    /// Wildcards that are not split any more.
    closed: Vec<Node>,
    /// Units that go as they are.
    exact: Vec<usize>,
    singles: usize,
    wildcards: usize,
}

impl<'s, 'a, S: AsRef<str>> Search<'s, 'a, S> {
    pub(super) fn new(set: &'s UnitSet<'a, S>, room: Room) -> Self {
        let mut search = Self {
            set,
            room,
            open: BinaryHeap::new(),
            closed: Vec::new(),
            exact: Vec::new(),
            singles: 0,
            wildcards: 1,
        };
        search.open.push(search.node(0..set.units.len()));
        search
    }

    fn node(&self, units: Range<usize>) -> Node {
        Node {
            common: Reverse(self.set.common(&units)),
            size: units.len(),
            start: Reverse(units.start),
        }
    }

    pub(super) fn run(mut self) -> Vec<Cover> {
        while let Some(node) = self.open.pop() {
            if !self.split(&node) {
                self.closed.push(node);
            }
        }
        // What is left of the room goes to the smallest groups.
        self.closed.sort_by_key(|node| (node.size, node.start));
        let mut covers = Vec::new();
        for node in std::mem::take(&mut self.closed) {
            let (singles, wildcards) = self.set.count(&node.units());
            let fits = self.singles + singles <= self.room.singles
                && self.wildcards + wildcards <= self.room.wildcards + 1;
            if fits {
                self.singles += singles;
                self.wildcards = self.wildcards + wildcards - 1;
                self.exact.extend(node.units());
            } else {
                covers.push(self.set.under_wildcard(&node.units()));
            }
        }
        covers.extend(self.exact.iter().map(|unit| self.set.exact(*unit)));
        covers
    }

    /// Puts narrower wildcards and exact paths in the place of a wildcard, if
    /// they fit.
    fn split(&mut self, node: &Node) -> bool {
        let mut children = self.children(node);
        // The largest become wildcards, the others go path by path.
        children.sort_by_key(|child| (Reverse(child.len()), child.start));
        let lone = children.partition_point(|child| child.len() > 1);
        let (groups, lone) = children.split_at(lone);
        let (lone_singles, lone_wildcards) = self.count_all(lone);
        let others = self.wildcards - 1 + lone_wildcards;
        let slots = self.room.wildcards.saturating_sub(others);
        let (kept, expanded) = groups.split_at(slots.min(groups.len()));
        let (more_singles, more_wildcards) = self.count_all(expanded);
        let singles = self.singles + lone_singles + more_singles;
        let wildcards = others + more_wildcards + kept.len();
        if singles > self.room.singles || wildcards > self.room.wildcards {
            return false;
        }
        let kept: Vec<Node> = kept.iter().map(|child| self.node(child.clone())).collect();
        let gain: usize = kept
            .iter()
            .map(|child| child.size * child.common.0.saturating_sub(node.common.0))
            .sum();
        let units: usize = kept.iter().map(|child| child.size).sum();
        if gain < DEPTH_GAIN_MIN * units {
            return false;
        }
        (self.singles, self.wildcards) = (singles, wildcards);
        self.open.extend(kept);
        for units in lone.iter().chain(expanded) {
            self.exact.extend(units.clone());
        }
        true
    }

    fn count_all(&self, children: &[Range<usize>]) -> (usize, usize) {
        children
            .iter()
            .map(|units| self.set.count(units))
            .fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    /// The parts of a node that differ in the byte after what they share.
    fn children(&self, node: &Node) -> Vec<Range<usize>> {
        let units = node.units();
        let byte = |unit: usize| self.set.text(unit).as_bytes().get(node.common.0).copied();
        let mut children = Vec::new();
        let mut start = units.start;
        while start < units.end {
            // The texts are sorted, so those with the same byte stand together.
            let this = byte(start);
            let (mut low, mut high) = (start + 1, units.end);
            while low < high {
                let middle = low.midpoint(high);
                if byte(middle) == this {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            children.push(start..low);
            start = low;
        }
        children
    }
}
