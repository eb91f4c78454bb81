//! Positions in the binlog: a file and offset, and the GTIDs before it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use super::gtid::GtidSet;

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
    /// The place after these transactions, on whichever server.
    pub fn of_gtids(gtids: GtidSet) -> Self {
        Self {
            file: "".into(),
            offset: FIRST_EVENT_OFFSET,
            gtids: Some(gtids),
        }
    }

    /// Whether it says where it is in the binlog of a server.
    pub fn has_place(&self) -> bool {
        !self.file.is_empty()
    }

    /// Whether transactions of the set may still come: from the beginning of the file,
    /// or of a file that is not known.
    pub fn passes_over_transactions(&self) -> bool {
        let known = self.gtids.as_ref().is_some_and(|set| !set.is_empty());
        !self.has_place() || self.offset == FIRST_EVENT_OFFSET && known
    }

    /// Whether reading that stands at `offset` of `file` is at this place or
    /// beyond it.
    pub fn is_reached_at(&self, file: &str, offset: u64) -> bool {
        reached((&self.file, self.offset), (file, offset))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gtids = self.gtids.as_ref().filter(|set| !set.is_empty());
        if let (true, Some(gtids)) = (self.passes_over_transactions(), gtids) {
            return gtids.fmt(f);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

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
}
