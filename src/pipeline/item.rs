//! What one item of the binlog asks for, whether it comes from a server or
//! from a file (One planner).

use std::sync::Arc;

use crate::binlog::assemble::{Interest, Item, Unknowable};
use crate::binlog::error::DecodeError;
use crate::binlog::layout::TableLayout;
use crate::binlog::row::RowDecoder;
use crate::binlog::statement::Dml;
use crate::model::invalidation::{Plan, Widening};
use crate::model::{RowChange, TableName};
use crate::rules::{Rules, Scratch, TablePlanner};

/// The rules as the source's interest.
#[derive(Clone, Debug)]
pub struct RuleInterest(pub Arc<Rules>);

/// What a table's rows are handled with.
#[derive(Debug)]
pub struct TrackedTable {
    decoder: RowDecoder,
    planner: TablePlanner,
}

impl Interest for RuleInterest {
    type Table = TrackedTable;

    fn wants(&self, table: &TableName) -> bool {
        self.0.wants(table)
    }

    fn bind(&self, layout: TableLayout) -> Result<TrackedTable, String> {
        let planner = self.0.bind(&layout.schema).map_err(|error| error.message)?;
        let decoder = RowDecoder::new(Arc::new(layout), planner.projection());
        Ok(TrackedTable { decoder, planner })
    }
}

/// What could not be planned row by row, and was planned for whole tables.
#[derive(Debug)]
pub enum Widened {
    /// These tables changed without row events.
    Tables(Vec<TableName>),
    /// Rows of this table cannot be decoded, for this reason.
    Undecodable(TableName, String),
    /// Any table may have changed, for this reason.
    Any(Unknowable),
    /// A statement may have changed any table, as long as nobody knows better.
    Statement(Dml),
}

/// Plans what `item` asks for, and says what was widened, for whoever logs it.
/// `watch` sees every row before its plan.
pub fn plan_item<P: Plan>(
    rules: &Rules,
    item: Item<TrackedTable>,
    scratch: &mut Scratch,
    plan: &mut P,
    mut watch: impl FnMut(&RowChange<'_>, &mut P),
) -> Option<Widened> {
    match item {
        Item::Commit => None,
        Item::Rows(table, payload) => {
            let mut planned = || {
                let mut rows = table.decoder.rows(payload.parse()?)?;
                while let Some(change) = rows.next_row()? {
                    watch(&change, plan);
                    table.planner.plan(&change, scratch, plan);
                }
                Ok::<_, DecodeError>(())
            };
            let error = planned().err()?;
            let name = table.decoder.layout().schema.name.clone();
            rules.widen_table(&name, Widening::Undecodable, plan);
            Some(Widened::Undecodable(name, error.to_string()))
        }
        Item::Undecodable(table, reason) => {
            rules.widen_table(&table, Widening::Undecodable, plan);
            Some(Widened::Undecodable(table, reason))
        }
        Item::TablesChanged(mut tables) => {
            tables.retain(|table| rules.wants(table));
            for table in &tables {
                rules.widen_table(table, Widening::Statement, plan);
            }
            Some(Widened::Tables(tables))
        }
        Item::Statement(dml) => {
            rules.widen_all(Widening::Statement, plan);
            Some(Widened::Statement(dml))
        }
        Item::AnyChanged(reason) => {
            rules.widen_all(widening(&reason), plan);
            Some(Widened::Any(reason))
        }
    }
}

/// Why everything is widened.
pub(super) fn widening(reason: &Unknowable) -> Widening {
    match reason {
        Unknowable::Statement(_) => Widening::Statement,
        Unknowable::Incident => Widening::Incident,
        Unknowable::UnknownEvent(_) | Unknowable::Undecodable { .. } => Widening::Undecodable,
    }
}
