//! What is known of a table: the bytes of its table map, and what came of them.

use std::sync::Arc;

use crate::model::TableName;

/// What a table's rows are done with.
#[derive(Debug)]
pub(super) enum TableUse<T> {
    /// Nothing.
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

/// A table map's bytes and what came of them: a server repeats the table map
/// before every group of rows.
#[derive(Debug)]
pub(super) struct KnownLayout<T> {
    /// [`TableMap::layout_bytes`](crate::binlog::decode::table_map::TableMap::layout_bytes).
    pub(super) bytes: Arc<[u8]>,
    /// What came of it.
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
