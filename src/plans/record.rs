//! Plans together with the changes that they belong to.

use serde::Serialize;

use crate::model::RowChange;
use crate::model::invalidation::Plan;
use crate::model::position::Gtid;

/// The place of a change in the binlog.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    pub file: &'a str,
    /// The offset behind the change's event.
    pub offset: u64,
    /// The change's transaction, where the server has GTIDs.
    pub gtid: Option<&'a Gtid>,
    /// When the transaction was committed, µs since the epoch.
    pub committed_at_us: u64,
}

impl At<'_> {
    /// When the transaction was committed; `None` if that is out of range.
    pub fn committed_at(&self) -> Option<jiff::Timestamp> {
        let at = i64::try_from(self.committed_at_us).unwrap_or(0);
        jiff::Timestamp::from_microsecond(at).ok()
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
