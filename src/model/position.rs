//! Positions in the binlog: file and offset, and GTID sets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place between two transactions, from which reading can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The binlog file, as the server names it.
    pub file: Arc<str>,
    /// Byte offset of the next event in the file. 64 bits, since files can grow
    /// beyond 4 GiB, though the field in an event's header cannot.
    pub offset: u64,
    /// Every transaction before the position; `None` where the server has no
    /// GTIDs.
    pub gtids: Option<GtidSet>,
}

impl Position {
    /// Whether reading that stands at `offset` of `file` is at this place or
    /// beyond it.
    pub fn is_reached_at(&self, file: &str, offset: u64) -> bool {
        reached((&self.file, self.offset), (file, offset))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// `source.on_gap`: the reaction to lost changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnGap {
    /// Everything is invalidated, and reading goes on.
    #[default]
    InvalidateAll,
    /// The daemon ends, and an operator decides.
    Halt,
}

/// The position to begin at, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The present end of the server's binlog.
    Current,
    /// The oldest event that the server still has.
    Earliest,
    /// The stored checkpoint.
    Checkpoint,
    /// A file and an offset in it.
    Offset {
        file: Arc<str>,
        /// 4 is the first event.
        offset: u64,
    },
    /// The end of every transaction in this set.
    Gtids(GtidSet),
}

/// Offset of the first event in a binlog file, after the magic number.
pub const FIRST_EVENT_OFFSET: u64 = 4;

impl FromStr for Start {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "current" => return Ok(Start::Current),
            "earliest" => return Ok(Start::Earliest),
            "checkpoint" => return Ok(Start::Checkpoint),
            _ => {}
        }
        if let Ok(set) = text.parse::<GtidSet>()
            && !set.is_empty()
        {
            return Ok(Start::Gtids(set));
        }
        let (file, offset) = text
            .trim()
            .rsplit_once(':')
            .ok_or_else(|| ParsePositionError::new(text))?;
        let offset: u64 = offset.parse().map_err(|_| ParsePositionError::new(text))?;
        if file.is_empty() || offset < FIRST_EVENT_OFFSET {
            return Err(ParsePositionError::new(text));
        }
        Ok(Start::Offset {
            file: file.into(),
            offset,
        })
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Current => f.write_str("current"),
            Start::Earliest => f.write_str("earliest"),
            Start::Checkpoint => f.write_str("checkpoint"),
            Start::Offset { file, offset } => write!(f, "{file}:{offset}"),
            Start::Gtids(set) => set.fmt(f),
        }
    }
}

/// The position to end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A file and an offset in it.
    Offset { file: Arc<str>, offset: u64 },
    /// The end of every transaction in this set.
    Gtids(GtidSet),
}

impl Bound {
    /// Whether `position` is at the bound or beyond it.
    pub fn reached(&self, position: &Position) -> bool {
        match self {
            Bound::Gtids(set) => position
                .gtids
                .as_ref()
                .is_some_and(|read| read.includes(set)),
            Bound::Offset { file, offset } => {
                reached((file, *offset), (&position.file, position.offset))
            }
        }
    }
}

/// Whether `read` is at `end` or beyond it, each a file and an offset.
fn reached(end: (&str, u64), read: (&str, u64)) -> bool {
    if end.0 == read.0 {
        return end.1 <= read.1;
    }
    match (number_of(end.0), number_of(read.0)) {
        (Some(end), Some(read)) => end < read,
        _ => false,
    }
}

/// The number at the end of a binlog file's name, which counts the files. As
/// text, the names of a server's files are not in their order for ever.
pub fn number_of(file: &str) -> Option<u64> {
    file.rsplit_once('.')?.1.parse().ok()
}

/// The error that a text does not name a position.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "\"{text}\" is not a position: write `current`, `earliest`, `checkpoint`, a file and offset such as `mysql-bin.000002:4`, or a GTID set"
)]
pub struct ParsePositionError {
    text: String,
}

impl ParsePositionError {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
        }
    }
}

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
/// order, so that the search begins at the end.
fn insert_range(ranges: &mut Vec<(u64, u64)>, from: u64, to: u64) {
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
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut set = GtidSet::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            set.parse_source(part)
                .ok_or_else(|| ParsePositionError::new(text))?;
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
    type Error = ParsePositionError;

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
    fn positions_parse_as_an_operator_writes_them() {
        let cases = [
            ("current", "current"),
            ("earliest", "earliest"),
            ("checkpoint", "checkpoint"),
            ("mysql-bin.000002:4", "mysql-bin.000002:4"),
            ("bin:5000000000", "bin:5000000000"),
            (
                "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-3:5, 3e11fa4871ca11e19e33c80aa9429562:7",
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:5,3e11fa48-71ca-11e1-9e33-c80aa9429562:7",
            ),
            (
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:blue:2:4-5",
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:blue:2:4-5",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Start>().unwrap().to_string(), expected);
        }
        for text in [
            "", "later", "file", "file:", "file:3", ":4", "file:-4", UUID,
        ] {
            assert!(text.parse::<Start>().is_err(), "{text}");
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
