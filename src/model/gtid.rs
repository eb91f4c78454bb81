//! The identifiers of transactions, and sets of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The source of a transaction's number: a server, and since MySQL 8.3 an
/// optional tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GtidSource {
    /// The server's UUID.
    pub uuid: [u8; 16],
    /// Empty for no tag.
    pub tag: Box<str>,
}

/// The identifier of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gtid {
    pub source: GtidSource,
    /// Counted from 1.
    pub number: u64,
}

impl fmt::Display for GtidSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        if !self.tag.is_empty() {
            write!(f, ":{}", self.tag)?;
        }
        Ok(())
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.number)
    }
}

/// The error that a text is not a set of GTIDs.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{text}\" is not a GTID set such as `3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5`")]
pub struct ParseGtidSetError {
    text: String,
}

/// A set of transactions in MySQL's own notation
/// (MySQL manual, "GTID Format and Storage").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GtidSet {
    /// Inclusive ranges, ascending, with gaps between them.
    ranges: BTreeMap<GtidSource, Vec<(u64, u64)>>,
}

impl GtidSet {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn insert(&mut self, gtid: &Gtid) {
        if let Some(ranges) = self.ranges.get_mut(&gtid.source) {
            insert_range(ranges, gtid.number, gtid.number);
        } else {
            self.ranges
                .insert(gtid.source.clone(), vec![(gtid.number, gtid.number)]);
        }
    }

    /// Adds `first..=last` of one source; an empty range adds nothing.
    pub fn insert_range(&mut self, source: &GtidSource, first: u64, last: u64) {
        if first <= last {
            insert_range(self.ranges.entry(source.clone()).or_default(), first, last);
        }
    }

    /// Adds every transaction of `other`.
    pub fn add(&mut self, other: &GtidSet) {
        for (source, ranges) in other.iter() {
            for (first, last) in ranges {
                self.insert_range(source, *first, *last);
            }
        }
    }

    /// Whether it holds `gtid`.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.ranges.get(&gtid.source).is_some_and(|ranges| {
            ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&gtid.number))
        })
    }

    /// Whether it holds any transaction of `source`'s server, tagged or not.
    pub fn has_source(&self, source: &GtidSource) -> bool {
        self.ranges.keys().any(|known| known.uuid == source.uuid)
    }

    /// Whether every transaction of `other` is in this set too.
    pub fn includes(&self, other: &GtidSet) -> bool {
        other.ranges.iter().all(|(source, wanted)| {
            self.ranges.get(source).is_some_and(|held| {
                wanted
                    .iter()
                    .all(|(from, to)| held.iter().any(|(first, last)| first <= from && to <= last))
            })
        })
    }

    /// Each source with its inclusive ranges.
    pub fn iter(&self) -> impl Iterator<Item = (&GtidSource, &[(u64, u64)])> {
        self.ranges
            .iter()
            .map(|(source, ranges)| (source, ranges.as_slice()))
    }
}

/// Adds `from..=to`, and merges it with its neighbours. Numbers arrive almost in
/// order: most continue the last range, and the search begins at the end.
fn insert_range(ranges: &mut Vec<(u64, u64)>, from: u64, to: u64) {
    if let Some((first, last)) = ranges.last_mut()
        && (*first..=last.saturating_add(1)).contains(&from)
    {
        *last = to.max(*last);
        return;
    }
    let after = ranges
        .iter()
        .rposition(|(first, _)| *first <= from)
        .map_or(0, |index| index + 1);
    let start = match after.checked_sub(1).and_then(|index| ranges.get(index)) {
        Some((_, last)) if last.saturating_add(1) >= from => after - 1,
        _ => after,
    };
    let end = ranges
        .iter()
        .skip(after)
        .take_while(|(first, _)| *first <= to.saturating_add(1))
        .count()
        + after;
    let merged = ranges
        .iter()
        .take(end)
        .skip(start)
        .fold((from, to), |(low, high), (first, last)| {
            (low.min(*first), high.max(*last))
        });
    ranges.splice(start..end, [merged]);
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before: Option<&GtidSource> = None;
        for (source, ranges) in &self.ranges {
            match before {
                // As the server writes it, a tag follows the ranges before it.
                Some(before) if before.uuid == source.uuid => write!(f, ":{}", source.tag)?,
                Some(_) => write!(f, ",{source}")?,
                None => write!(f, "{source}")?,
            }
            before = Some(source);
            for (first, last) in ranges {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = ParseGtidSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut set = GtidSet::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            set.parse_source(part).ok_or_else(|| ParseGtidSetError {
                text: text.to_owned(),
            })?;
        }
        Ok(set)
    }
}

impl GtidSet {
    /// Reads `uuid[:tag][:range]…`. A tag holds for the ranges after it.
    fn parse_source(&mut self, text: &str) -> Option<()> {
        let mut fields = text.split(':').map(str::trim);
        let mut source = GtidSource {
            uuid: parse_uuid(fields.next()?)?,
            tag: "".into(),
        };
        let mut ranges = 0_usize;
        for field in fields {
            if field.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if field.len() > 32 || !field.chars().all(valid) {
                    return None;
                }
                source.tag = field.to_ascii_lowercase().into();
                continue;
            }
            let (first, last) = field.split_once('-').unwrap_or((field, field));
            let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
            if first == 0 || last < first || last > i64::MAX.unsigned_abs() {
                return None;
            }
            insert_range(self.ranges.entry(source.clone()).or_default(), first, last);
            ranges += 1;
        }
        (ranges > 0).then_some(())
    }
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let mut uuid = [0; 16];
    hex::decode_to_slice(digits, &mut uuid).ok()?;
    Some(uuid)
}

impl TryFrom<String> for GtidSet {
    type Error = ParseGtidSetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<GtidSet> for String {
    fn from(set: GtidSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn gtid(number: u64) -> Gtid {
        Gtid {
            source: GtidSource {
                uuid: parse_uuid(UUID).unwrap(),
                tag: "".into(),
            },
            number,
        }
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = GtidSet::default();
        for number in [1, 2, 3, 7, 9, 8, 5, 4, 6] {
            set.insert(&gtid(number));
        }
        assert_eq!(set.to_string(), format!("{UUID}:1-9"));
        assert!(set.contains(&gtid(9)) && !set.contains(&gtid(10)));
        // The last range takes what lies within it, overlaps it or continues it.
        for (first, last, whole) in [(2, 4, "1-9"), (4, 12, "1-12"), (13, 20, "1-20")] {
            set.insert_range(&gtid(1).source, first, last);
            assert_eq!(set.to_string(), format!("{UUID}:{whole}"));
        }
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_inserted_and_survives_its_text(
            numbers in prop::collection::vec(1_u64..60, 0..80),
        ) {
            let mut set = GtidSet::default();
            for number in &numbers {
                set.insert(&gtid(*number));
            }
            for number in 1..60 {
                prop_assert_eq!(set.contains(&gtid(number)), numbers.contains(&number));
            }
            let again: GtidSet = set.to_string().parse().unwrap();
            prop_assert!(again.includes(&set) && set.includes(&again));
            prop_assert_eq!(again, set);
        }
    }
}
