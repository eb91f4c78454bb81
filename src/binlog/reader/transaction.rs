//! The transaction being read, and XA transactions that wait for their end.

use std::collections::{BTreeSet, HashMap};

use super::interest::Interest;
use super::item::Item;
use crate::model::gtid::Gtid;
use crate::model::{CommitTime, TableName};

/// The most prepared XA transactions that are remembered. The commit of another
/// one means any table.
const PREPARED_MAX: usize = 1_000;

/// The most tables that are remembered for an XA transaction; more mean any
/// table.
const TOUCHED_MAX: usize = 100;

/// The transaction being read, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// Its id, where the server has GTIDs.
    pub(super) gtid: Option<Gtid>,
    /// A GTID event or BEGIN was read.
    pub(super) open: bool,
    /// BEGIN was read, so that a statement does not end it.
    pub(super) begun: bool,
    /// When it was committed; `None` where no transaction was begun yet.
    pub(super) committed_at: Option<CommitTime>,
    /// Bytes of a compressed payload that its events have not added up to.
    pub(super) payload_bytes_left: Option<u64>,
    /// It began with XA START.
    pub(super) xa: Option<Xa>,
    /// It is among the transactions of the items that were not taken yet.
    pub(super) noted: bool,
}

/// An XA transaction until it is prepared.
#[derive(Debug)]
pub(super) struct Xa {
    /// As the server writes it, without spaces.
    pub(super) xid: String,
    /// The tables whose rows become visible when it is committed.
    pub(super) touched: Touched,
}

/// The wanted tables that an XA transaction touched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// These and no others.
    These(BTreeSet<TableName>),
    /// Any table: it is not known which.
    Any,
}

impl Xa {
    /// A transaction that has touched nothing yet.
    pub(super) fn new(xid: String) -> Self {
        Self {
            xid,
            touched: Touched::These(BTreeSet::new()),
        }
    }

    /// Remembers a table that its interest wants.
    pub(super) fn touch(&mut self, table: &TableName) {
        let Touched::These(tables) = &mut self.touched else {
            return;
        };
        if tables.contains(table) {
            return;
        }
        if tables.len() < TOUCHED_MAX {
            tables.insert(table.clone());
        } else {
            self.touched = Touched::Any;
        }
    }

    /// Remembers the effect of an item other than rows.
    pub(super) fn note<T, I: Interest>(&mut self, item: &Item<T>, interest: &I) {
        match item {
            Item::TablesChanged(tables) => {
                for table in tables.iter().filter(|table| interest.wants(table)) {
                    self.touch(table);
                }
            }
            Item::Undecodable(table, _) => self.touch(table),
            // A statement may have changed tables that are not known here.
            Item::AnyChanged(_) | Item::Statement(_) | Item::DatabaseDropped(_) => {
                self.touched = Touched::Any;
            }
            // The table map before the rows was noted.
            Item::Rows(..) | Item::Commit => {}
        }
    }
}

/// The XA transactions that were prepared and neither committed nor rolled
/// back. Not kept across restarts: a commit of an unknown one means any table
/// (Over, never under).
#[derive(Debug, Default)]
pub(super) struct Prepared(HashMap<String, Touched>);

impl Prepared {
    /// Remembers a transaction if there is room (Bounded).
    pub(super) fn insert(&mut self, xa: Xa) {
        if self.0.len() < PREPARED_MAX || self.0.contains_key(&xa.xid) {
            self.0.insert(xa.xid, xa.touched);
        }
    }

    /// Forgets a transaction that ends, and returns the tables that it touched.
    pub(super) fn remove(&mut self, xid: &str) -> Touched {
        self.0.remove(xid).unwrap_or(Touched::Any)
    }

    /// Forgets all transactions, for use where part of the binlog is not read.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
