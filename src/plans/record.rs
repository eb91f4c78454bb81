//! Plans together with the changes that they belong to.

use serde::Serialize;

use crate::model::gtid::Gtid;
use crate::model::invalidation::Plan;
use crate::model::{CommitTime, RowChange};

/// The place of a change in the binlog.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    pub file: &'a str,
    /// The offset behind the change's event.
    pub offset: u64,
    /// The change's transaction, where the server has GTIDs.
    pub gtid: Option<&'a Gtid>,
    /// When the transaction was committed; `None` where none was begun yet.
    pub committed_at: Option<CommitTime>,
}

impl At<'_> {
    /// The commit time as plans print it: the Unix epoch where no transaction
    /// was begun yet, `None` for a time that is out of range.
    pub fn timestamp(&self) -> Option<jiff::Timestamp> {
        match self.committed_at {
            Some(at) => at.timestamp(),
            None => Some(jiff::Timestamp::UNIX_EPOCH),
        }
    }
}

/// A place as plans print it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PlanPosition {
    pub file: String,
    /// The offset behind the change's event.
    pub offset: u64,
    /// The change's transaction, where the server has GTIDs.
    pub gtid: Option<String>,
}

impl From<&At<'_>> for PlanPosition {
    fn from(at: &At<'_>) -> Self {
        Self {
            file: at.file.to_owned(),
            offset: at.offset,
            gtid: at.gtid.map(ToString::to_string),
        }
    }
}

/// Takes plans, each announced by the place and the row that it belongs to.
pub trait Record: Plan {
    /// Sets the place of the plans that follow. Until [`Record::begin`] they
    /// belong to no row.
    fn place(&mut self, at: &At<'_>);

    /// Begins the plan of a row.
    fn begin(&mut self, change: &RowChange<'_>);

    /// Ends the transaction.
    fn end(&mut self) {}
}

impl<A: Record, B: Record> Record for (A, B) {
    fn place(&mut self, at: &At<'_>) {
        self.0.place(at);
        self.1.place(at);
    }

    fn begin(&mut self, change: &RowChange<'_>) {
        self.0.begin(change);
        self.1.begin(change);
    }

    fn end(&mut self) {
        self.0.end();
        self.1.end();
    }
}

/// Text as it is; bytes that are not text as `\xNN`.
pub(super) fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}
