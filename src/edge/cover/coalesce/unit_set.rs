//! A set of paths in units: a path, or a wildcard with all that it covers.

use std::cmp::Reverse;
use std::ops::Range;

use super::cover::Cover;

/// A path, or a wildcard of the set with all that it covers.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    of: Range<usize>,
    /// Which path of the set it goes as.
    shown: usize,
    wildcard: bool,
}

/// The paths in units of which none covers another, in their order.
pub(super) struct UnitSet<'a, S> {
    paths: &'a [S],
    pub(super) units: Vec<Unit>,
    /// Which units are wildcards, ascending.
    pub(super) wildcards: Vec<usize>,
}

impl<'a, S: AsRef<str>> UnitSet<'a, S> {
    pub(super) fn new(paths: &'a [S]) -> Self {
        let mut covered: Vec<(Range<usize>, usize)> = paths
            .iter()
            .enumerate()
            .filter_map(|(index, path)| {
                let prefix = path.as_ref().strip_suffix('*')?;
                // Whatever begins with the prefix stands side by side.
                let start = paths.partition_point(|path| path.as_ref() < prefix);
                let tail = paths.get(start..).unwrap_or_default();
                let matched = tail.partition_point(|path| path.as_ref().starts_with(prefix));
                Some((start..start + matched, index))
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
    pub(super) fn text(&self, unit: usize) -> &'a str {
        let Some(unit) = self.units.get(unit) else {
            return "";
        };
        let path = self.paths.get(unit.shown).map_or("", AsRef::as_ref);
        if unit.wildcard {
            path.strip_suffix('*').unwrap_or(path)
        } else {
            path
        }
    }

    /// Number of single paths and of wildcards among these units.
    pub(super) fn count(&self, units: &Range<usize>) -> (usize, usize) {
        let before = |end: usize| self.wildcards.partition_point(|unit| *unit < end);
        let wildcards = before(units.end) - before(units.start);
        (units.len() - wildcards, wildcards)
    }

    /// Number of bytes that the texts of these units begin with in common.
    pub(super) fn common(&self, units: &Range<usize>) -> usize {
        let (first, last) = (self.text(units.start), self.text(units.end - 1));
        first
            .bytes()
            .zip(last.bytes())
            .take_while(|(a, b)| a == b)
            .count()
    }

    pub(super) fn exact(&self, unit: usize) -> Cover {
        let of = self.units.get(unit).map_or(0..0, |unit| unit.of.clone());
        let star = self.units.get(unit).is_some_and(|unit| unit.wildcard);
        Cover {
            path: format!("{}{}", self.text(unit), if star { "*" } else { "" }),
            of: vec![of],
        }
    }

    pub(super) fn under_wildcard(&self, units: &Range<usize>) -> Cover {
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
