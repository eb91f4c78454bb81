//! The smallest over-invalidation that fits into what may be sent.
//!
//! Pure, and deterministic: equal sets give equal covers. CloudFront matches a
//! path as it is, or by its beginning where it ends in `*`. A tag is matched by
//! itself and by `/*` alone.
//!
//! **Law** (Over, never under): every path of the set is matched by the result,
//! and the result never exceeds the room. What cannot fit, for want of a
//! wildcard, is not cut down but waits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

pub use crate::model::edge_item::matches;
use crate::model::edge_item::{EVERYTHING, is_tag};

/// How much may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Paths without a wildcard.
    pub singles: usize,
    /// Paths that end in `*`.
    pub wildcards: usize,
}

/// A path to send, and which of the set it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// The path, perhaps with a `*` at its end.
    pub path: String,
    /// Indices into the set, ascending and disjoint.
    pub of: Vec<Range<usize>>,
}

/// Covers a set within a room. `paths` are sorted and distinct.
///
/// `None`: they do not fit before there is a wildcard to spare.
///
/// While it fits, a set goes as it is, without what its own wildcards cover.
/// Otherwise the search begins with the one wildcard that covers everything,
/// and splits the broadest wildcard into narrower ones and single paths for as
/// long as those fit and are worth it: a split that only adds a character to
/// the prefixes costs money and leaves out next to nothing.
///
/// Tags stay as they are and take their part of the room; when there are more
/// of them than that, everything is invalidated.
pub fn coalesce<S: AsRef<str>>(paths: &[S], room: Room) -> Option<Vec<Cover>> {
    let everything = || {
        let cover = Cover {
            path: EVERYTHING.to_owned(),
            of: std::iter::once(0..paths.len()).collect(),
        };
        (room.wildcards > 0).then(|| vec![cover])
    };
    let asked = paths.binary_search_by(|path| path.as_ref().cmp(EVERYTHING));
    // `#` stands before `/`.
    let tags = paths.partition_point(|path| is_tag(path.as_ref()));
    if asked.is_ok() || tags > room.singles {
        return everything();
    }
    let (tagged, paths) = paths.split_at(tags);
    let left = Room {
        singles: room.singles - tags,
        ..room
    };
    let mut covers = cover_paths(paths, left)?;
    if tags == 0 {
        return Some(covers);
    }
    if covers.iter().any(|cover| cover.path == EVERYTHING) {
        return everything();
    }
    for range in covers.iter_mut().flat_map(|cover| &mut cover.of) {
        *range = range.start + tags..range.end + tags;
    }
    let tagged = tagged.iter().enumerate().map(|(index, tag)| Cover {
        path: tag.as_ref().to_owned(),
        of: std::iter::once(index..index + 1).collect(),
    });
    Some(tagged.chain(covers).collect())
}

fn cover_paths<S: AsRef<str>>(paths: &[S], room: Room) -> Option<Vec<Cover>> {
    let set = Set::new(paths);
    let wildcards = set.wildcards.len();
    if set.units.len() - wildcards <= room.singles && wildcards <= room.wildcards {
        let all = 0..set.units.len();
        return Some(all.map(|unit| set.exact(unit)).collect());
    }
    if room.wildcards == 0 {
        return None;
    }
    Some(merged(Search::new(&set, room).run()))
}

/// A path, or a wildcard of the set with all that it covers.
#[derive(Clone, Debug)]
struct Unit {
    of: Range<usize>,
    /// Which path of the set it goes as.
    shown: usize,
    wildcard: bool,
}

/// The paths in units of which none covers another, in their order.
struct Set<'a, S> {
    paths: &'a [S],
    units: Vec<Unit>,
    /// Which units are wildcards, ascending.
    wildcards: Vec<usize>,
}

impl<'a, S: AsRef<str>> Set<'a, S> {
    fn new(paths: &'a [S]) -> Self {
        let prefixes = paths.iter().enumerate().filter_map(|(index, path)| {
            let prefix = path.as_ref().strip_suffix('*')?;
            Some((index, prefix))
        });
        let mut covered: Vec<(Range<usize>, usize)> = prefixes
            .map(|(index, prefix)| {
                // Whatever begins with the prefix stands side by side.
                let start = paths.partition_point(|path| path.as_ref() < prefix);
                let tail = paths.get(start..).unwrap_or_default();
                let held = tail.partition_point(|path| path.as_ref().starts_with(prefix));
                (start..start + held, index)
            })
            .collect();
        // The outermost of nested wildcards first.
        covered.sort_by_key(|(range, _)| (range.start, Reverse(range.end)));
        let mut units = Vec::with_capacity(paths.len());
        let mut wildcards = Vec::new();
        let mut next = 0;
        let single = |index: usize| Unit {
            of: index..index + 1,
            shown: index,
            wildcard: false,
        };
        for (range, shown) in covered {
            if range.start < next {
                continue;
            }
            units.extend((next..range.start).map(single));
            wildcards.push(units.len());
            next = range.end;
            units.push(Unit {
                of: range,
                shown,
                wildcard: true,
            });
        }
        units.extend((next..paths.len()).map(single));
        Self {
            paths,
            units,
            wildcards,
        }
    }

    /// The path, or the wildcard's beginning.
    fn text(&self, unit: usize) -> &'a str {
        let Some(unit) = self.units.get(unit) else {
            return "";
        };
        let path = self.paths.get(unit.shown).map_or("", AsRef::as_ref);
        match unit.wildcard {
            true => path.strip_suffix('*').unwrap_or(path),
            false => path,
        }
    }

    /// How many single paths and wildcards these units are.
    fn count(&self, units: &Range<usize>) -> (usize, usize) {
        let before = |end: usize| self.wildcards.partition_point(|unit| *unit < end);
        let wildcards = before(units.end) - before(units.start);
        (units.len() - wildcards, wildcards)
    }

    /// How many bytes the texts of these units begin with in common.
    fn common(&self, units: &Range<usize>) -> usize {
        let (first, last) = (self.text(units.start), self.text(units.end - 1));
        let pairs = first.bytes().zip(last.bytes());
        pairs.take_while(|(a, b)| a == b).count()
    }

    /// One unit as it is.
    fn exact(&self, unit: usize) -> Cover {
        let of = self.units.get(unit).map_or(0..0, |unit| unit.of.clone());
        let star = self.units.get(unit).is_some_and(|unit| unit.wildcard);
        Cover {
            path: format!("{}{}", self.text(unit), if star { "*" } else { "" }),
            of: vec![of],
        }
    }

    /// Units under a wildcard.
    fn under_wildcard(&self, units: &Range<usize>) -> Cover {
        let starts = self.units.get(units.start).map_or(0, |unit| unit.of.start);
        let ends = self.units.get(units.end - 1).map_or(0, |unit| unit.of.end);
        let prefix = whole_characters(self.text(units.start), self.common(units));
        let of = std::iter::once(starts..ends).collect();
        Cover {
            path: format!("{prefix}*"),
            of,
        }
    }
}

/// The first `bytes` of a path, less an escape such as `%C3` that they cut.
fn whole_characters(path: &str, bytes: usize) -> &str {
    let text = path.get(..bytes).unwrap_or_default();
    let tail = text.len().saturating_sub(2);
    match text.bytes().rposition(|byte| byte == b'%') {
        Some(escape) if escape >= tail => text.get(..escape).unwrap_or_default(),
        _ => text,
    }
}

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

struct Search<'s, 'a, S> {
    set: &'s Set<'a, S>,
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
    fn new(set: &'s Set<'a, S>, room: Room) -> Self {
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

    fn run(mut self) -> Vec<Cover> {
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
        let exact = self.exact.iter();
        covers.extend(exact.map(|unit| self.set.exact(*unit)));
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
        let held: usize = kept.iter().map(|child| child.size).sum();
        if gain < DEPTH_GAIN_MIN * held {
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
        let counts = children.iter().map(|units| self.set.count(units));
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
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

/// Sorts the covers, and lets wildcards take in those that they cover: one that
/// gave up half an escape can reach beyond its own paths.
fn merged(mut covers: Vec<Cover>) -> Vec<Cover> {
    let beginning = |cover: &Cover| {
        let wildcard = cover.path.strip_suffix('*');
        (
            wildcard.unwrap_or(&cover.path).to_owned(),
            wildcard.is_none(),
        )
    };
    covers.sort_by_cached_key(beginning);
    let mut out: Vec<Cover> = Vec::with_capacity(covers.len());
    for cover in covers {
        match out.last_mut() {
            Some(last) if last.path.ends_with('*') && matches(&last.path, &cover.path) => {
                last.of.extend(cover.of);
            }
            _ => out.push(cover),
        }
    }
    for cover in &mut out {
        cover.of.sort_by_key(|range| range.start);
    }
    out
}

#[cfg(test)]
mod tests;
