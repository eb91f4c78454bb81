//! The assembler's state: the position, the transaction and the tables.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::interest::Interest;
use super::known_layout::KnownLayout;
use super::offset::beyond_dump_offset;
use super::transaction::{Prepared, Transaction};
use super::transactions_read::TransactionsRead;
use crate::binlog::decode::catalog::CatalogColumn;
use crate::model::gtid::Gtid;
use crate::model::position::FIRST_EVENT_OFFSET;
use crate::model::{CommitTime, Position, TableName};

/// Follows a binlog stream.
#[derive(Debug)]
pub struct Assembler<I: Interest> {
    pub(super) interest: I,
    /// The file and offset where reading stands, within transactions too.
    pub(super) file: Arc<str>,
    pub(super) offset: u64,
    /// Where reading may begin again: after the last whole transaction.
    pub(super) committed: Position,
    /// Events before this offset were handled already: the dump command's
    /// offset has 32 bits, so that reading begins at the file's beginning.
    pub(super) skip_until: Option<u64>,
    /// No transaction has come yet that is not in the set: those that are known are
    /// passed over from the file's beginning on, by the server if it was asked by
    /// GTIDs. Only another transaction or a heartbeat tells how far it is.
    pub(super) passing_over: bool,
    /// Whether a known transaction is being passed over.
    pub(super) skips: bool,
    pub(super) transaction: Transaction,
    pub(super) prepared: Prepared,
    /// The transaction that ended last.
    pub(super) ended: Option<Gtid>,
    /// The transactions of the items since these were last taken.
    pub(super) read: TransactionsRead,
    /// A file was read from its beginning and no GTID stands before it: the
    /// first one begins the set.
    pub(super) no_gtid_before: bool,
    /// By the ids in table maps.
    pub(super) tables: HashMap<u64, KnownLayout<I::Table>, foldhash::fast::RandomState>,
    /// Those of wanted tables.
    pub(super) layouts: HashMap<TableName, KnownLayout<I::Table>>,
    /// The columns that were asked for last.
    pub(super) catalog: Option<(TableName, Option<Vec<CatalogColumn>>)>,
    /// Tables whose rows were read with names from the catalog, which are those
    /// of the moment when it was asked.
    pub(super) looked_up: BTreeSet<TableName>,
    /// Where the server's binlog ended when the catalog was last asked.
    catalog_of: Option<Position>,
    /// The same, of the columns that rows were read with.
    pub(super) columns_of: Option<Position>,
}

impl<I: Interest> Assembler<I> {
    /// Starts at `position`.
    pub fn new(interest: I, position: Position) -> Self {
        Self {
            interest,
            file: Arc::clone(&position.file),
            offset: position.offset,
            skip_until: beyond_dump_offset(&position),
            passing_over: position.passes_over_transactions(),
            skips: false,
            committed: position,
            transaction: Transaction::default(),
            prepared: Prepared::default(),
            ended: None,
            read: TransactionsRead::default(),
            no_gtid_before: false,
            tables: HashMap::default(),
            layouts: HashMap::new(),
            catalog: None,
            looked_up: BTreeSet::new(),
            catalog_of: None,
            columns_of: None,
        }
    }

    /// Goes back to the last whole transaction, to be fed from there again.
    /// Prepared XA transactions before it do not come again, and stay known.
    pub fn rewind(&mut self) {
        self.file = Arc::clone(&self.committed.file);
        self.offset = self.committed.offset;
        self.skip_until = beyond_dump_offset(&self.committed);
        self.passing_over = self.committed.passes_over_transactions();
        self.skips = false;
        self.transaction = Transaction::default();
        self.read = TransactionsRead::default();
        self.tables.clear();
        self.forget_layouts();
    }

    /// The place after the last whole transaction.
    pub fn position(&self) -> &Position {
        &self.committed
    }

    /// Begins anew at `position`. XA transactions that were prepared may have
    /// ended before it, and others may have taken their xids.
    pub fn restart(&mut self, position: Position) {
        self.committed = position;
        self.prepared.clear();
        self.looked_up.clear();
        self.columns_of = None;
        self.rewind();
    }

    /// Goes back to the last whole transaction, on a server where its file and
    /// offset mean nothing. The next event says where it stands there.
    pub fn forget_place(&mut self) {
        self.committed.file = "".into();
        self.committed.offset = FIRST_EVENT_OFFSET;
        self.rewind();
    }

    /// Whether a transaction was begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.transaction.open
    }

    /// The transaction being read, or the one just ended.
    pub fn gtid(&self) -> Option<&Gtid> {
        if self.transaction.open {
            self.transaction.gtid.as_ref()
        } else {
            self.ended.as_ref()
        }
    }

    /// The transaction that was begun and not ended.
    pub fn begun_gtid(&self) -> Option<&Gtid> {
        self.transaction.gtid.as_ref()
    }

    /// Takes the transactions of the items since this was last called. One that
    /// is still being read comes again with its next item.
    pub fn take_transactions(&mut self) -> TransactionsRead {
        self.transaction.noted = false;
        std::mem::take(&mut self.read)
    }

    pub fn interest(&self) -> &I {
        &self.interest
    }

    /// When the transaction being read was committed, or the one just ended;
    /// `None` where none was begun yet.
    pub fn committed_at(&self) -> Option<CommitTime> {
        self.transaction.committed_at
    }

    /// The file and offset where reading stands, within transactions too.
    pub fn reading(&self) -> (&str, u64) {
        (&self.file, self.offset)
    }

    /// The offset of the event being read, for errors.
    pub fn reading_at(&self) -> String {
        format!("{}:{}", self.file, self.offset)
    }

    /// Takes the columns of a table from `information_schema`; `None` if the table
    /// is not there.
    pub fn learn(&mut self, table: TableName, columns: Option<Vec<CatalogColumn>>) {
        self.catalog = Some((table, columns));
    }

    /// The same, from a server whose binlog ended at `end` once it had answered:
    /// whatever had changed the columns by then stands before it.
    pub fn learn_at(
        &mut self,
        table: TableName,
        columns: Option<Vec<CatalogColumn>>,
        end: Position,
    ) {
        self.catalog_of = Some(end);
        self.learn(table, columns);
    }

    /// The place ahead of the position up to which a statement may have changed
    /// the columns that rows before the position were read with.
    pub fn columns_of(&self) -> Option<&Position> {
        let Position { file, offset, .. } = &self.committed;
        let place = self.columns_of.as_ref();
        place.filter(|place| !place.is_reached_at(file, *offset))
    }

    /// Rows before the position were read with the columns of this place.
    pub fn read_with_columns_of(&mut self, place: Position) {
        self.columns_of = Some(place);
    }

    /// Notes that rows are read with columns of the catalog.
    pub(super) fn rely_on_catalog(&mut self, table: &TableName) {
        self.looked_up.insert(table.clone());
        if let Some(end) = &self.catalog_of {
            self.columns_of = Some(end.clone());
        }
    }

    /// Columns may have changed under the same table map
    /// (`binlog_row_metadata=MINIMAL` sends no names).
    pub(super) fn forget_layouts(&mut self) {
        self.tables.clear();
        self.layouts.clear();
        self.catalog = None;
    }
}
