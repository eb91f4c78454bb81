//! Plans one item of the binlog, whether it comes from a server or from a file
//! (One planner).

use std::sync::Arc;

use metrics::Counter;

use crate::binlog::decode::error::DecodeError;
use crate::binlog::decode::layout::TableLayout;
use crate::binlog::decode::row::RowDecoder;
use crate::binlog::reader::{Interest, Item, Unknowable};
use crate::binlog::statement::Dml;
use crate::model::invalidation::{Plan, Widening};
use crate::model::{Op, RowChange, TableName};
use crate::rules::{RenderBuffers, Rules, TablePlanner};
use crate::telemetry::metric;

/// The rules, as the source asks which tables matter.
#[derive(Clone, Debug)]
pub struct RuleInterest(pub Arc<Rules>);

/// A table whose rows are planned: its decoder, its planner, its counters.
#[derive(Debug)]
pub struct TrackedTable {
    decoder: RowDecoder,
    planner: TablePlanner,
    changes: RowCounters,
}

/// Counts a table's rows under the name that a rule has for it, so that a
/// thousand tables of one glob are one series (Bounded).
#[derive(Debug)]
struct RowCounters {
    inserts: Counter,
    updates: Counter,
    deletes: Counter,
}

/// Label of tables that no rule is about, and that matter for their foreign
/// keys.
const OTHER: &str = "other";

impl RowCounters {
    fn of(rules: &Rules, table: &TableName) -> Self {
        let label = rules
            .glob_of(table)
            .map_or_else(|| OTHER.to_owned(), ToString::to_string);
        let counter = |op: Op| {
            let (table, op) = (label.clone(), op.as_str());
            metrics::counter!(metric::CHANGES, "table" => table, "op" => op)
        };
        Self {
            inserts: counter(Op::Insert),
            updates: counter(Op::Update),
            deletes: counter(Op::Delete),
        }
    }

    fn add(&self, op: Op, rows: u64) {
        match op {
            Op::Insert => self.inserts.increment(rows),
            Op::Update => self.updates.increment(rows),
            Op::Delete => self.deletes.increment(rows),
        }
    }
}

impl Interest for RuleInterest {
    type Table = TrackedTable;

    fn wants(&self, table: &TableName) -> bool {
        self.0.wants(table)
    }

    fn reads(&self, table: &TableName, column: &str) -> bool {
        self.0.reads(table, column)
    }

    fn bind(&self, layout: TableLayout) -> Result<TrackedTable, String> {
        let planner = self.0.bind(&layout.schema).map_err(|error| error.message)?;
        let changes = RowCounters::of(&self.0, &layout.schema.name);
        let decoder = RowDecoder::new(Arc::new(layout), planner.projection());
        Ok(TrackedTable {
            decoder,
            planner,
            changes,
        })
    }
}

/// A change that could not be planned row by row, and was planned for whole
/// tables.
#[derive(Debug)]
pub enum Widened {
    /// These tables changed without row events.
    Tables(Vec<TableName>),
    /// These databases were dropped.
    Databases(Vec<String>),
    /// Rows of this table cannot be decoded, for this reason.
    Undecodable(TableName, String),
    /// A value of this table cannot be decoded, for this reason.
    Value(TableName, String),
    /// Any table may have changed, for this reason.
    Any(Unknowable),
    /// A statement may have changed any table, since the catalog was not asked.
    Statement(Dml),
}

/// Plans what `item` asks for, and returns what was widened, for the log.
/// `watch` sees every row before its plan.
pub fn plan_item<P: Plan>(
    rules: &Rules,
    item: Item<TrackedTable>,
    scratch: &mut RenderBuffers,
    plan: &mut P,
    mut watch: impl FnMut(&RowChange<'_>, &mut P),
) -> Option<Widened> {
    match item {
        Item::Commit => None,
        Item::Rows(table, payload) => {
            // An event's rows have one operation.
            let mut count = None;
            let mut planned = || {
                let mut rows = table.decoder.rows(payload.parse()?)?;
                while let Some(change) = rows.next_row()? {
                    count = Some((change.op, count.map_or(1, |(_, rows)| rows + 1)));
                    watch(&change, plan);
                    table.planner.plan(&change, scratch, plan);
                }
                Ok::<_, DecodeError>(rows.undecodable().cloned())
            };
            let planned = planned();
            if let Some((op, rows)) = count {
                table.changes.add(op, rows);
            }
            let name = || table.decoder.layout().schema.name.clone();
            match planned {
                Ok(error) => Some(Widened::Value(name(), error?.to_string())),
                Err(error) => {
                    rules.widen_table(&name(), Widening::Undecodable, plan);
                    Some(Widened::Undecodable(name(), error.to_string()))
                }
            }
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
        Item::DatabaseDropped(name) => {
            // `lower_case_table_names=1` stores it in lower case, however it was typed.
            let mut names = vec![name.to_lowercase(), name];
            names.dedup();
            names.retain(|name| rules.wants_database(name));
            for name in &names {
                rules.widen_database(name, Widening::Statement, plan);
            }
            Some(Widened::Databases(names))
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

/// The reason to widen for what cannot be known.
pub(super) fn widening(reason: &Unknowable) -> Widening {
    match reason {
        Unknowable::Statement(_) => Widening::Statement,
        Unknowable::Incident => Widening::Incident,
        Unknowable::UnknownEvent(_) | Unknowable::Undecodable { .. } => Widening::Undecodable,
    }
}
