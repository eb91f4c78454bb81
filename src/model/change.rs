//! A committed change of one row.

use std::fmt;

use super::table::TableSchema;
use super::value::Value;

/// The operation on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    Insert,
    Update,
    Delete,
}

impl Op {
    /// The operation's name in configuration, plans and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Update => "update",
            Op::Delete => "delete",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of one row, projected to the columns that its table's rules read.
///
/// Both images hold one value for each projected column, in the projection's
/// order. A column that the row image does not carry (`binlog_row_image`
/// MINIMAL or NOBLOB) is [`Value::Absent`].
#[derive(Clone, Copy, Debug)]
pub struct RowChange<'a> {
    /// The table and its columns at the time of the change.
    pub table: &'a TableSchema,
    pub op: Op,
    /// The row before; `None` for an insert.
    pub before: Option<&'a [Value<'a>]>,
    /// The row after; `None` for a delete.
    pub after: Option<&'a [Value<'a>]>,
}
