//! Tables: what the ids in the binlog stand for, and their rows.

use std::sync::Arc;

use super::assembler::Assembler;
use super::interest::Interest;
use super::item::{Item, RowsPayload, Step, Unknowable};
use super::known_layout::{KnownLayout, TableUse};
use crate::binlog::decode::layout::TableLayout;
use crate::binlog::decode::rows;
use crate::binlog::decode::table_map::TableMap;
use crate::binlog::events::event::Event;
use crate::model::TableName;

/// The most ids that are known when a statement ends (Bounded). A server gives a
/// table another id whenever it opens it anew.
const TABLE_IDS_MAX: usize = 4_096;

/// The most tables whose layouts are known (Bounded): a layout takes a few KiB.
const LAYOUTS_MAX: usize = 10_000;

impl<I: Interest> Assembler<I> {
    /// Hands on a rows event of a wanted table.
    pub(super) fn rows(&mut self, event: Event, inside: bool) -> Step<I::Table> {
        self.advance(&event, inside);
        let ends_statement = rows::ends_statement(event.data());
        let step = self.step_of(event);
        // The ids of its table maps mean nothing from here on (MySQL source,
        // `Relay_log_info::cleanup_context`). Most come again at once, for the same
        // tables.
        if ends_statement && self.tables.len() > TABLE_IDS_MAX {
            self.tables.clear();
        }
        step
    }

    fn step_of(&self, event: Event) -> Step<I::Table> {
        let entry =
            rows::table_id(event.data()).map(|id| self.tables.get(&id).map(|known| &known.entry));
        let reason = match entry {
            Ok(Some(TableUse::Wanted(table))) => {
                return Step::Item(Item::Rows(Arc::clone(table), RowsPayload(event)));
            }
            Ok(Some(TableUse::Unwanted)) => return Step::Quiet,
            Ok(Some(TableUse::Unusable(table, reason))) => {
                return Step::Item(Item::Undecodable(table.clone(), reason.clone()));
            }
            // The dummy event that ends a statement whose rows were all
            // filtered has this id and no table map.
            Ok(None) if rows::table_id(event.data()) == Ok(0x00ff_ffff) => return Step::Quiet,
            Ok(None) => "no table map stands before the rows".to_owned(),
            Err(error) => error.to_string(),
        };
        let event_type = event.header().event_type_raw();
        Step::Item(Item::AnyChanged(Unknowable::Undecodable {
            event_type,
            reason,
        }))
    }

    /// Returns the table whose columns must be looked up first.
    pub(super) fn table_map(&mut self, event: &Event) -> Result<Option<TableName>, String> {
        let map = TableMap::parse(event.data()).map_err(|error| error.to_string())?;
        // Under load of small transactions the same table map comes again and again.
        if let Some(known) = self.tables.get(&map.table_id)
            && *known.bytes == *map.layout_bytes()
            && (self.transaction.xa.is_none() || matches!(known.entry, TableUse::Unwanted))
        {
            return Ok(None);
        }
        let name = TableName::new(map.schema, map.table);
        if let Some(known) = self.layouts.get(&name)
            && *known.bytes == *map.layout_bytes()
        {
            if let Some(xa) = &mut self.transaction.xa {
                xa.touch(&name);
            }
            self.tables.insert(map.table_id, known.clone());
            return Ok(None);
        }
        let entry = if self.interest.wants(&name) {
            let Some((_, catalog)) = self.catalog.take_if(|(table, _)| *table == name) else {
                return Ok(Some(name));
            };
            if let Some(xa) = &mut self.transaction.xa {
                xa.touch(&name);
            }
            let bound = TableLayout::new(&map, catalog.as_deref())
                .map_err(|error| error.to_string())
                .and_then(|layout| self.interest.bind(layout));
            if TableLayout::needs_catalog(&map) == Ok(true) {
                self.rely_on_catalog(&name);
            }
            match bound {
                Ok(table) => TableUse::Wanted(Arc::new(table)),
                Err(reason) => TableUse::Unusable(name.clone(), reason),
            }
        } else {
            TableUse::Unwanted
        };
        let known = KnownLayout {
            bytes: map.layout_bytes().into(),
            entry,
        };
        if !matches!(known.entry, TableUse::Unwanted) {
            if self.layouts.len() >= LAYOUTS_MAX {
                self.layouts.clear();
            }
            self.layouts.insert(name, known.clone());
        }
        self.tables.insert(map.table_id, known);
        Ok(None)
    }

    /// The tables of `named` whose rows count as changed where only columns do:
    /// one of the columns that are `added` matters; or rows were read with columns
    /// from the catalog, which may have shown them as they are only after the
    /// change, so that values had the names of other columns.
    ///
    /// An evictd before this one may have read rows with columns of a place that
    /// is still ahead, and then it is not known of which tables.
    pub(super) fn changed_with_columns(
        &mut self,
        mut named: Vec<TableName>,
        added: &[String],
    ) -> Vec<TableName> {
        let columns_of = self.columns_of.as_ref();
        let ahead = columns_of.is_some_and(|place| !place.is_reached_at(&self.file, self.offset));
        named.retain(|table| {
            self.looked_up.remove(table)
                || (ahead && self.interest.wants(table))
                || added
                    .iter()
                    .any(|column| self.interest.reads(table, column))
        });
        named
    }
}
