//! The tables that matter to whoever follows the binlog.

use crate::binlog::decode::layout::TableLayout;
use crate::model::TableName;

/// Decides which tables matter, and prepares the handling of their rows.
pub trait Interest {
    /// Travels with every rows event of a table.
    type Table;

    /// Whether the table's rows are wanted. A table that is not costs nothing
    /// past its first table map.
    fn wants(&self, table: &TableName) -> bool;

    /// Whether a wanted table's rows mean something else once it has a column of
    /// this name.
    fn reads(&self, table: &TableName, _column: &str) -> bool {
        self.wants(table)
    }

    /// Prepares a table whose layout was just learnt, or says why its rows
    /// cannot be handled.
    fn bind(&self, layout: TableLayout) -> Result<Self::Table, String>;
}
