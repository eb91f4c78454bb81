//! The known layouts: the bytes of a table map, and how its rows are handled.

use std::sync::Arc;

use crate::model::TableName;

/// The use that is made of a table's rows.
#[derive(Debug)]
pub(super) enum TableUse<T> {
    /// They are ignored.
    Unwanted,
    /// They are handed on.
    Wanted(Arc<T>),
    /// They cannot be handled, for this reason.
    Unusable(TableName, String),
}

impl<T> Clone for TableUse<T> {
    fn clone(&self) -> Self {
        match self {
            TableUse::Unwanted => TableUse::Unwanted,
            TableUse::Wanted(table) => TableUse::Wanted(Arc::clone(table)),
            TableUse::Unusable(table, reason) => TableUse::Unusable(table.clone(), reason.clone()),
        }
    }
}

/// A table map's bytes and the use of its rows. A server repeats the table map
/// before every group of rows.
#[derive(Debug)]
pub(super) struct KnownLayout<T> {
    /// [`TableMap::layout_bytes`](crate::binlog::decode::table_map::TableMap::layout_bytes).
    pub(super) bytes: Arc<[u8]>,
    pub(super) entry: TableUse<T>,
}

impl<T> Clone for KnownLayout<T> {
    fn clone(&self) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            entry: self.entry.clone(),
        }
    }
}
