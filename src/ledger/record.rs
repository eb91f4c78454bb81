//! A gap and a dead letter, as they stand in the files.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::Position;
use crate::model::position::FIRST_EVENT_OFFSET;

/// Identifies a gap: the time at which it was met, in microseconds since 1970.
pub type GapId = i64;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPlace {
    pub file: String,
    /// The offset in the file.
    pub offset: u64,
    /// The GTIDs of every transaction up to this place, or of the one that it is
    /// in the middle of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
}

impl From<&Position> for BinlogPlace {
    fn from(position: &Position) -> Self {
        Self {
            file: position.file.to_string(),
            offset: position.offset,
            gtid: position.gtids.as_ref().map(ToString::to_string),
        }
    }
}

impl std::fmt::Display for BinlogPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.gtid {
            Some(gtid) if self.offset == FIRST_EVENT_OFFSET && !gtid.is_empty() => {
                f.write_str(gtid)
            }
            _ => write!(f, "{}:{}", self.file, self.offset),
        }
    }
}

/// Changes that cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Identifies the gap.
    pub id: GapId,
    /// Time at which the gap was met.
    pub begun_at: Timestamp,
    /// The place up to which everything was read.
    pub from: BinlogPlace,
    /// The place at which reading went on; none if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<BinlogPlace>,
    /// Why the changes cannot be read.
    pub reason: String,
    /// Time at which everything that the changes may have touched was
    /// invalidated and the checkpoint had passed the gap. It stands in a line of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
    /// Whether the daemon ended because of the gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub halted: bool,
    /// Whether the daemon ended during the invalidation, and another gap stands
    /// for its repetition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}

impl Gap {
    pub(super) fn new(from: BinlogPlace, to: Option<BinlogPlace>, reason: &str) -> Self {
        let now = Timestamp::now();
        Self {
            id: now.as_microsecond(),
            begun_at: now,
            from,
            to,
            reason: reason.to_owned(),
            done_at: None,
            halted: false,
            repeated: false,
        }
    }

    /// Whether the invalidation is in progress, or was interrupted.
    pub fn is_open(&self) -> bool {
        self.done_at.is_none() && !self.halted && !self.repeated
    }
}

/// One line of the file of gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum GapEvent {
    Begun(Gap),
    Done { id: GapId, at: Timestamp },
    Halted(Gap),
}

/// Something that cannot be done, however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Time at which it was given up.
    pub at: Timestamp,
    /// A short name for the reason, as in the metric.
    pub reason: String,
    /// The reason in words.
    pub detail: String,
    /// The remedy: something that an operator can do.
    pub remedy: String,
    /// The place of the change, or the end of the batch that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<BinlogPlace>,
    /// The rules that can have rendered it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The table whose rows cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The key that was refused, with bytes that are not text as `\xNN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The distribution that refused paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// The paths that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The message that cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When an operator made the message one of the buffer again. It stands in a line
    /// of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_at: Option<Timestamp>,
    /// When an operator wanted to, and the message was not in the buffer any more. In
    /// the same line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_at: Option<Timestamp>,
}

/// One line of the file of dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum LetterEvent {
    Redriven(Redrive),
    Buried(Box<DeadLetter>),
}

/// An operator made dead letters messages of the buffer again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Redrive {
    pub(super) redriven_at: Timestamp,
    /// The distribution and the paths of a message that was received since; none: all
    /// dead letters of before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<(String, Vec<String>)>,
    /// Whether there were none in the buffer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) missed: bool,
}

impl Redrive {
    /// Whether it made the letter a message again.
    pub(super) fn covers(&self, letter: &DeadLetter) -> bool {
        let is_meant = self.of.as_ref().is_none_or(|(distribution, paths)| {
            letter.distribution.as_ref() == Some(distribution)
                && letter.paths.iter().all(|path| paths.contains(path))
        });
        letter.is_in_the_buffer() && is_meant && letter.at <= self.redriven_at
    }
}

impl DeadLetter {
    /// A dead letter that was given up now.
    pub fn new(
        reason: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            at: Timestamp::now(),
            reason: reason.into(),
            detail: detail.into(),
            remedy: remedy.into(),
            position: None,
            rules: Vec::new(),
            table: None,
            key: None,
            distribution: None,
            paths: Vec::new(),
            message: None,
            redriven_at: None,
            missed_at: None,
        }
    }

    /// Whether its message can be put back, as far as is known.
    pub(super) fn is_in_the_buffer(&self) -> bool {
        let is_one = self.message.is_some() && self.reason != "malformed";
        is_one && self.redriven_at.is_none() && self.missed_at.is_none()
    }

    /// Adds the key that was refused.
    pub fn of_key(mut self, key: &[u8]) -> Self {
        self.key = Some(match std::str::from_utf8(key) {
            Ok(text) => text.to_owned(),
            Err(_) => key.escape_ascii().to_string(),
        });
        self
    }

    /// The key, table, path or message, in a few words.
    pub fn subject(&self) -> String {
        if let Some(key) = &self.key {
            return format!("key {key}");
        }
        if let Some(table) = &self.table {
            return format!("table {table}");
        }
        if let Some((path, others)) = self.paths.split_first() {
            return match others.len() {
                0 => format!("path {path}"),
                more => format!("path {path} and {more} more"),
            };
        }
        match &self.message {
            Some(message) => format!("message {message}"),
            None => "unknown".to_owned(),
        }
    }
}
