//! From binlog events to what the pipeline acts on. No I/O: it is fed events
//! in order and keeps track of the position, the transaction and the tables.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mysql_async::binlog::events::{AnonymousGtidEvent, GtidEvent, TransactionPayloadEvent};

use super::decode::layout::TableLayout;
use super::events::event::Event;
use super::events::event_type;
use super::server::catalog::CatalogColumn;
use crate::model::position::{Gtid, GtidSource};
use crate::model::{GtidSet, Position, TableName};

mod item;
mod query;
mod tables;
mod transaction;
mod watermark;

use self::tables::KnownLayout;
use self::transaction::{Prepared, Touched, Transaction};
use self::watermark::beyond_dump_offset;

pub use self::item::{Item, RowsPayload, Step, Unknowable};

/// Says which tables matter and prepares what their rows are handled with.
pub trait Interest {
    /// Travels with every rows event of a table.
    type Table;

    /// Whether the table's rows are wanted. A table that is not costs nothing
    /// past its first table map.
    fn wants(&self, table: &TableName) -> bool;

    /// Prepares a table whose layout was just learnt, or says why its rows
    /// cannot be handled.
    fn bind(&self, layout: TableLayout) -> Result<Self::Table, String>;
}

const IGNORABLE_FLAG: u16 = 0x80;
const ARTIFICIAL_FLAG: u16 = 0x20;

/// Follows a binlog stream.
#[derive(Debug)]
pub struct Assembler<I: Interest> {
    interest: I,
    /// Where reading stands, within transactions too.
    file: Arc<str>,
    offset: u64,
    /// Where reading may begin again: after the last whole transaction.
    committed: Position,
    /// Events before this offset were handled already: the dump command's
    /// offset has 32 bits, so that reading begins at the file's beginning.
    skip_until: Option<u64>,
    transaction: Transaction,
    prepared: Prepared,
    /// The transaction that ended last.
    ended: Option<Gtid>,
    /// The transactions that were read while it was not known which came
    /// before them.
    read_gtids: GtidSet,
    /// A file was read from its beginning and no GTID stands before it: the
    /// first one begins the set.
    no_gtid_before: bool,
    tables: HashMap<u64, KnownLayout<I::Table>, foldhash::fast::RandomState>,
    layouts: HashMap<TableName, KnownLayout<I::Table>>,
    catalog: HashMap<TableName, Option<Vec<CatalogColumn>>>,
    /// Tables whose rows were read with names from the catalog, which are those
    /// of the moment when it was asked.
    looked_up: BTreeSet<TableName>,
}

impl<I: Interest> Assembler<I> {
    /// Starts at `position`.
    pub fn new(interest: I, position: Position) -> Self {
        Self {
            interest,
            file: Arc::clone(&position.file),
            offset: position.offset,
            skip_until: beyond_dump_offset(&position),
            committed: position,
            transaction: Transaction::default(),
            prepared: Prepared::default(),
            ended: None,
            read_gtids: GtidSet::default(),
            no_gtid_before: false,
            tables: HashMap::default(),
            layouts: HashMap::new(),
            catalog: HashMap::new(),
            looked_up: BTreeSet::new(),
        }
    }

    /// Goes back to the last whole transaction, to be fed from there again.
    /// XA transactions prepared before it are not read again, and stay known.
    pub fn rewind(&mut self) {
        self.file = Arc::clone(&self.committed.file);
        self.offset = self.committed.offset;
        self.skip_until = beyond_dump_offset(&self.committed);
        self.transaction = Transaction::default();
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
        self.rewind();
    }

    /// Whether a transaction was begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.transaction.open
    }

    /// The transaction being read, or the one just ended.
    pub fn gtid(&self) -> Option<&Gtid> {
        self.transaction.gtid.as_ref().or(self.ended.as_ref())
    }

    /// Transactions that include every one read so far, the one being read
    /// too; `None` where none had a GTID. Reading that began in the midst of a
    /// file does not know those before it: they are visible already.
    pub fn reading_gtids(&self) -> Option<GtidSet> {
        let mut set = match &self.committed.gtids {
            Some(set) => set.clone(),
            None => self.read_gtids.clone(),
        };
        if let Some(gtid) = &self.transaction.gtid {
            set.insert(gtid);
        }
        let known = self.committed.gtids.is_some() || !set.is_empty();
        known.then_some(set)
    }

    /// What decides which tables matter.
    pub fn interest(&self) -> &I {
        &self.interest
    }

    /// Lets something else decide, between two transactions. Every table is
    /// prepared anew. Which tables a prepared XA transaction touched was noted
    /// for the ones that mattered then: its commit means any table now (Over,
    /// never under).
    pub fn set_interest(&mut self, interest: I) {
        self.interest = interest;
        self.prepared.clear();
        self.forget_layouts();
    }

    /// When the transaction being read was committed, or the one just ended:
    /// microseconds since the epoch.
    pub fn committed_at_us(&self) -> u64 {
        self.transaction.committed_at_us
    }

    /// The file and offset where reading stands, within transactions too.
    pub fn reading(&self) -> (&str, u64) {
        (&self.file, self.offset)
    }

    /// Where the event being read stands, for errors.
    pub fn reading_at(&self) -> String {
        format!("{}:{}", self.file, self.offset)
    }

    /// Takes what `information_schema` says about a table; `None` if it is not
    /// there.
    pub fn learn(&mut self, table: TableName, columns: Option<Vec<CatalogColumn>>) {
        self.catalog.insert(table, columns);
    }

    /// Feeds the next event.
    pub fn feed(&mut self, event: Event) -> Step<I::Table> {
        let event_type = event.header().event_type_raw();
        if self.skip_until.is_some_and(|until| self.offset < until)
            && event_type != event_type::ROTATE
        {
            self.advance(&event, false);
            return Step::Quiet;
        }
        if event.is_damaged() {
            // None of it can be relied on: it moves nothing, and what needs it
            // is found missing.
            let reason = "its checksum does not match".to_owned();
            let step = Step::Item(Item::AnyChanged(Unknowable::Undecodable {
                event_type,
                reason,
            }));
            self.note(&step);
            return step;
        }
        // Before the step: the payload's last event ends it.
        let inside = self.transaction.payload_bytes_left.is_some();
        let step = match event_type {
            _ if event_type::carries_rows(event_type) => {
                let step = self.rows(event, inside);
                self.note(&step);
                return step;
            }
            event_type::TABLE_MAP => match self.table_map(&event) {
                Ok(Some(unknown)) => return Step::NeedsCatalog(unknown, event),
                Ok(None) => Ok(Step::Quiet),
                Err(reason) => Err(reason),
            },
            event_type::GTID | event_type::TAGGED_GTID => self.begin_gtid(&event),
            event_type::ANONYMOUS_GTID => self.begin_anonymous(&event),
            event_type::XID | event_type::XA_PREPARE => {
                if event_type == event_type::XID || is_one_phase(&event) {
                    self.transaction.xa = None;
                }
                // The events of a payload add up to its size, or some are missing.
                let size = u64::from(event.header().event_size());
                let left = self.transaction.payload_bytes_left.unwrap_or(size);
                let missing = left.abs_diff(size);
                if let (Some(xa), 1..) = (&mut self.transaction.xa, missing) {
                    xa.touched = Touched::Any;
                }
                let ended = self.end();
                Ok(match missing {
                    0 => ended,
                    bytes => Step::Item(undecoded_payload(bytes)),
                })
            }
            event_type::QUERY => self.query(&event),
            event_type::ROTATE => self.rotate(&event),
            event_type::FORMAT_DESCRIPTION => {
                self.tables.clear();
                Ok(Step::Quiet)
            }
            event_type::PREVIOUS_GTIDS => self.previous_gtids(&event),
            // Whatever a heartbeat could say of the position, commits say too.
            event_type::HEARTBEAT | event_type::HEARTBEAT_V2 => return self.lost_payload(),
            event_type::TRANSACTION_PAYLOAD => self.payload(&event),
            event_type::INCIDENT => Ok(Step::Item(Item::AnyChanged(Unknowable::Incident))),
            event_type::EXECUTE_LOAD_QUERY => Ok(Step::Item(Item::AnyChanged(
                Unknowable::Statement("LOAD DATA".to_owned()),
            ))),
            event_type::STOP => Ok(Step::Quiet),
            _ if is_harmless(event_type) => Ok(Step::Quiet),
            _ if event.header().flags_raw() & IGNORABLE_FLAG != 0 => Ok(Step::Quiet),
            unknown => Ok(Step::Item(Item::AnyChanged(Unknowable::UnknownEvent(
                unknown,
            )))),
        };
        self.advance(&event, inside);
        let step = step.unwrap_or_else(|reason| {
            Step::Item(Item::AnyChanged(Unknowable::Undecodable {
                event_type,
                reason,
            }))
        });
        self.note(&step);
        step
    }

    /// Takes note of an event whose bytes are none: it means anything. A
    /// compressed transaction ends with it, and need not come again.
    pub fn feed_unreadable(&mut self, event_type: u8, reason: String) -> Step<I::Table> {
        let step = Step::Item(Item::AnyChanged(Unknowable::Undecodable {
            event_type,
            reason,
        }));
        self.note(&step);
        if event_type == event_type::TRANSACTION_PAYLOAD {
            self.end();
        }
        step
    }

    /// Within an XA transaction, remembers what becomes visible only later.
    fn note(&mut self, step: &Step<I::Table>) {
        if let (Some(xa), Step::Item(item)) = (&mut self.transaction.xa, step) {
            xa.note(item, &self.interest);
        }
    }

    fn begin_gtid(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let gtid: GtidEvent = event.read_event()?;
        if std::mem::take(&mut self.no_gtid_before) {
            self.committed.gtids.get_or_insert_default();
        }
        let id = Gtid {
            source: GtidSource {
                uuid: gtid.sid(),
                tag: gtid.tag().map_or("".into(), |tag| tag.as_str().into()),
            },
            number: gtid.gno(),
        };
        Ok(self.begin_group(Some(id), gtid.immediate_commit_timestamp(), event))
    }

    fn begin_anonymous(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let gtid: AnonymousGtidEvent = event.read_event()?;
        Ok(self.begin_group(None, gtid.0.immediate_commit_timestamp(), event))
    }

    fn begin_group(&mut self, gtid: Option<Gtid>, at_us: u64, event: &Event) -> Step<I::Table> {
        let lost = self.lost_payload();
        self.transaction = Transaction {
            gtid,
            open: true,
            begun: false,
            committed_at_us: commit_time(at_us, event),
            payload_bytes_left: None,
            xa: None,
        };
        lost
    }

    /// Gives up a compressed payload whose events did not end it: the library
    /// drops what it cannot read, and the next event comes from outside.
    fn lost_payload(&mut self) -> Step<I::Table> {
        match self.transaction.payload_bytes_left {
            Some(bytes) if self.transaction.open => {
                let unfinished = std::mem::take(&mut self.transaction);
                self.add_gtid(unfinished.gtid);
                Step::Item(undecoded_payload(bytes))
            }
            _ => Step::Quiet,
        }
    }

    fn payload(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let payload: TransactionPayloadEvent<'_> = event.read_event()?;
        self.transaction.open = true;
        self.transaction.payload_bytes_left = Some(payload.uncompressed_size());
        Ok(Step::Quiet)
    }

    /// Ends the transaction: its GTID joins the set, and reading may begin
    /// after it.
    fn end(&mut self) -> Step<I::Table> {
        let ended = std::mem::take(&mut self.transaction);
        self.transaction.committed_at_us = ended.committed_at_us;
        if let Some(prepared) = ended.xa {
            self.prepared.insert(prepared);
        }
        self.add_gtid(ended.gtid);
        Step::Item(Item::Commit)
    }

    fn add_gtid(&mut self, gtid: Option<Gtid>) {
        if let Some(gtid) = &gtid {
            let known = self.committed.gtids.as_mut();
            known.unwrap_or(&mut self.read_gtids).insert(gtid);
        }
        self.ended = gtid;
    }
}

/// Whether events of this type carry no change. LOAD DATA's blocks are followed
/// by the statement that uses them.
fn is_harmless(event_type: u8) -> bool {
    matches!(
        event_type,
        event_type::INTVAR
            | event_type::APPEND_BLOCK
            | event_type::RAND
            | event_type::USER_VAR
            | event_type::BEGIN_LOAD_QUERY
            | event_type::IGNORABLE
            | event_type::ROWS_QUERY
            | event_type::TRANSACTION_CONTEXT
            | event_type::VIEW_CHANGE
    ) || event_type::AURORA.contains(&event_type)
}

/// Whether an XA_PREPARE event stands for XA COMMIT … ONE PHASE: its first
/// byte says so (MySQL source documentation, `XA_prepare_event`).
fn is_one_phase(event: &Event) -> bool {
    event.data().first().is_some_and(|flag| *flag != 0)
}

fn undecoded_payload<T>(bytes: u64) -> Item<T> {
    Item::AnyChanged(Unknowable::Undecodable {
        event_type: event_type::TRANSACTION_PAYLOAD,
        reason: format!("{bytes} bytes of a compressed transaction were not decoded"),
    })
}

/// Microseconds from the GTID event, which servers before 8.0.1 do not send;
/// else the header's second, rounded up.
fn commit_time(at_us: u64, event: &Event) -> u64 {
    match at_us {
        0 => (u64::from(event.header().timestamp()) + 1) * 1_000_000,
        at_us => at_us,
    }
}

#[cfg(test)]
mod tests;
