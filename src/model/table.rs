//! Tables and their columns, as far as rules need to know them.

use std::fmt;
use std::sync::Arc;

/// A table's full name. Case is kept as the server sends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The database.
    pub schema: Arc<str>,
    pub table: Arc<str>,
}

impl TableName {
    pub fn new(schema: impl Into<Arc<str>>, table: impl Into<Arc<str>>) -> Self {
        Self {
            schema: schema.into(),
            table: table.into(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// The texts that a column's values can render as, from which the rules prove
/// what a template can and cannot produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Digits with an optional sign: the integer types, BIT, YEAR.
    Integer,
    /// Digits, sign, point, exponent: DECIMAL, FLOAT, DOUBLE.
    Number,
    /// Digits, `-`, `:`, `.`, space: DATE, TIME, DATETIME.
    Temporal,
    /// The same, of a point in time that is known in UTC: TIMESTAMP.
    Timestamp,
    /// Anything.
    Text,
    /// Any bytes: BINARY, BLOB, GEOMETRY, VECTOR.
    Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Arc<str>,
    pub shape: Shape,
}

/// A table's columns in their order on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    pub name: TableName,
    /// In the order of their ordinal positions.
    pub columns: Vec<Column>,
    /// Indices of the primary key's columns; empty if unknown, or without one.
    pub primary_key: Vec<usize>,
}

impl TableSchema {
    /// The index of the column called `name`. MySQL's column names are not
    /// case-sensitive (MySQL manual, "Identifier Case Sensitivity").
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// A foreign key through which a change of one table changes rows of another
/// without a row event (MySQL manual, "FOREIGN KEY Constraints"; servers before
/// 9.6 leave such rows out of the binlog).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cascade {
    /// The table that the foreign key refers to.
    pub parent: TableName,
    /// The table whose rows change with it.
    pub child: TableName,
    /// The referenced columns of the parent.
    pub columns: Vec<Arc<str>>,
    /// ON DELETE CASCADE, SET NULL or SET DEFAULT.
    pub on_delete: bool,
    /// ON UPDATE CASCADE, SET NULL or SET DEFAULT.
    pub on_update: bool,
}
