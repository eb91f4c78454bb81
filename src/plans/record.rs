//! Plans that are kept with the changes they belong to.

use serde::Serialize;

use crate::model::RowChange;
use crate::model::invalidation::Plan;
use crate::model::position::Gtid;

/// Where a change stands in the binlog.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The binlog file.
    pub file: &'a str,
    /// The offset behind the change's event.
    pub offset: u64,
    /// Its transaction, where the server has GTIDs.
    pub gtid: Option<&'a Gtid>,
    /// When that was committed, µs since the epoch.
    pub committed_at_us: u64,
}

impl At<'_> {
    /// When it was committed; `None` for a time that is none.
    pub fn committed_at(&self) -> Option<jiff::Timestamp> {
        let at = i64::try_from(self.committed_at_us).unwrap_or(0);
        jiff::Timestamp::from_microsecond(at).ok()
    }
}

/// A place as plans print it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PlanPosition {
    /// The binlog file.
    pub file: String,
    /// The offset behind the change's event.
    pub offset: u64,
    /// Its transaction, where the server has GTIDs.
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

/// Takes plans, and is told before what they are for.
pub trait Record: Plan {
    /// What comes next stands there, and belongs to no row until
    /// [`Record::begin`].
    fn place(&mut self, at: &At<'_>);

    /// What comes next is the plan of this row.
    fn begin(&mut self, change: &RowChange<'_>);

    /// The transaction ended.
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

/// Text as it is; bytes that are none as `\xNN`.
pub(super) fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}
