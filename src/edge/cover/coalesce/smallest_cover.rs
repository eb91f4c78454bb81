//! The smallest cover of a set: what fits as it is, and wildcards otherwise.

use super::cover::Cover;
use super::room::Room;
use super::search::Search;
use super::unit_set::UnitSet;
use crate::model::edge_item::{EVERYTHING, is_tag, matches};

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
    let exact = tagged.iter().enumerate().map(|(index, tag)| Cover {
        path: tag.as_ref().to_owned(),
        of: std::iter::once(index..index + 1).collect(),
    });
    Some(exact.chain(covers).collect())
}

fn cover_paths<S: AsRef<str>>(paths: &[S], room: Room) -> Option<Vec<Cover>> {
    let set = UnitSet::new(paths);
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
