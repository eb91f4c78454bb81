//! The records, as they stand in the files.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::Position;

/// Names a gap: when it was met, in microseconds since the epoch.
pub type GapId = i64;

/// A place in the binlog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPlace {
    /// The file.
    pub file: String,
    /// The offset in it.
    pub offset: u64,
    /// Every transaction up to it, or the one that it is in the midst of.
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
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// Changes that cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its name.
    pub id: GapId,
    /// When it was met.
    pub begun_at: Timestamp,
    /// The last place up to which everything was read.
    pub from: BinlogPlace,
    /// Where reading went on; none if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<BinlogPlace>,
    /// Why they cannot be read.
    pub reason: String,
    /// When everything that they may have touched was invalidated and the
    /// checkpoint stood behind it. It is a record of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
    /// The daemon ended because of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub halted: bool,
    /// The daemon ended in the midst of the invalidation and began it anew.
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

    /// Whether its invalidation is under way, or was interrupted.
    pub fn is_open(&self) -> bool {
        self.done_at.is_none() && !self.halted && !self.repeated
    }
}

/// A line of the file of gaps.
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
    /// When it was given up.
    pub at: Timestamp,
    /// A short name for the reason, as in the metric.
    pub reason: String,
    /// The reason in words.
    pub detail: String,
    /// What to do.
    pub remedy: String,
    /// The change is in the batch that ends here, or at this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<BinlogPlace>,
    /// The rules that it can come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The table whose rows could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The key that was refused; bytes that are no text as `\xNN`.
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
}

impl DeadLetter {
    /// Given up now.
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
        }
    }

    /// The key as text.
    pub fn of_key(mut self, key: &[u8]) -> Self {
        self.key = Some(match std::str::from_utf8(key) {
            Ok(text) => text.to_owned(),
            Err(_) => key.escape_ascii().to_string(),
        });
        self
    }

    /// What it is about, in a few words.
    pub fn subject(&self) -> String {
        if let Some(key) = &self.key {
            return format!("key {key}");
        }
        if let Some(table) = &self.table {
            return format!("table {table}");
        }
        if let Some(path) = self.paths.first() {
            return format!("path {path}");
        }
        match &self.message {
            Some(message) => format!("message {message}"),
            None => "unknown".to_owned(),
        }
    }
}
