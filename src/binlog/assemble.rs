//! From binlog events to what the pipeline acts on. No I/O: it is fed events
//! in order and keeps track of the position, the transaction and the tables.

use std::collections::HashMap;
use std::sync::Arc;

use mysql_async::binlog::events::{
    AnonymousGtidEvent, Event, GtidEvent, PreviousGtidsEvent, QueryEvent, RotateEvent,
    TransactionPayloadEvent,
};

use super::catalog::CatalogColumn;
use super::error::DecodeError;
use super::layout::TableLayout;
use super::rows::{self, RowsEvent};
use super::statement::Statement;
use super::table_map::TableMap;
use crate::model::position::{Gtid, GtidSource};
use crate::model::{GtidSet, Position, TableName};

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

/// One thing that the binlog says, in commit order.
#[derive(Debug)]
pub enum Item<T> {
    /// Rows of one table changed.
    Rows(Arc<T>, RowsPayload),
    /// The transaction ended; [`Assembler::position`] is past it.
    Commit,
    /// These tables, and maybe others that are none, changed without rows.
    TablesChanged(Vec<TableName>),
    /// Any table may have changed, for this reason.
    AnyChanged(Unknowable),
    /// Rows of this table changed and cannot be decoded, for this reason.
    Undecodable(TableName, String),
}

/// Why it cannot be known which rows changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknowable {
    /// The statement's tables cannot be told.
    #[error("a statement changed rows without row events: {0}")]
    Statement(String),
    /// The server itself lost changes.
    #[error("the server logged an incident: changes may be missing from the binlog")]
    Incident,
    /// An event of a type that is unknown and not marked as ignorable.
    #[error("event type {0} is unknown and not marked as ignorable")]
    UnknownEvent(u8),
    /// An event that could not be read.
    #[error("an event of type {event_type} cannot be decoded: {reason}")]
    Undecodable {
        /// Its type.
        event_type: u8,
        /// What is wrong with it.
        reason: String,
    },
}

/// A rows event's bytes.
#[derive(Debug)]
pub struct RowsPayload(Event);

impl RowsPayload {
    /// Reads the event's frame; its rows are decoded one by one.
    pub fn parse(&self) -> Result<RowsEvent<'_>, DecodeError> {
        RowsEvent::parse(self.0.header().event_type_raw(), self.0.data())
    }

    /// The event's size on the wire, in bytes.
    pub fn len(&self) -> usize {
        self.0.data().len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What feeding an event led to.
#[derive(Debug)]
pub enum Step<T> {
    /// Nothing to act on.
    Quiet,
    /// Something to act on.
    Item(Item<T>),
    /// The columns of this table must be looked up in `information_schema`
    /// and given to [`Assembler::learn`]; then the event is fed again.
    NeedsCatalog(TableName, Event),
}

// Event types (MySQL source, `libs/mysql/binlog/event/binlog_event.h`).
const QUERY: u8 = 2;
const STOP: u8 = 3;
const ROTATE: u8 = 4;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const TABLE_MAP: u8 = 19;
const INCIDENT: u8 = 26;
const HEARTBEAT: u8 = 27;
const GTID: u8 = 33;
const ANONYMOUS_GTID: u8 = 34;
const PREVIOUS_GTIDS: u8 = 35;
const XA_PREPARE: u8 = 38;
const TRANSACTION_PAYLOAD: u8 = 40;
const HEARTBEAT_V2: u8 = 41;
const TAGGED_GTID: u8 = 42;
/// Events that carry no change: INTVAR, RAND, USER_VAR, ignorable, rows query,
/// transaction context and view change (group replication); Aurora's own 100
/// and 101. LOAD DATA's blocks are followed by the statement that uses them.
const HARMLESS: [u8; 11] = [5, 9, 13, 14, 17, 28, 29, 36, 37, 100, 101];
const EXECUTE_LOAD_QUERY: u8 = 18;

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
    /// The transaction that ended last.
    ended: Option<Gtid>,
    /// A file was read from its beginning and no GTID stands before it: the
    /// first one begins the set.
    no_gtid_before: bool,
    tables: HashMap<u64, Entry<I::Table>>,
    layouts: HashMap<TableName, KnownLayout<I::Table>>,
    catalog: HashMap<TableName, Option<Vec<CatalogColumn>>>,
}

#[derive(Debug, Default)]
struct Transaction {
    gtid: Option<Gtid>,
    /// A GTID event was read, or BEGIN.
    open: bool,
    /// BEGIN was read, so that a statement does not end it.
    begun: bool,
    /// Microseconds since the epoch.
    committed_at_us: u64,
    /// Bytes of a compressed payload that its events have not added up to.
    payload_bytes_left: Option<u64>,
}

#[derive(Debug)]
enum Entry<T> {
    Unwanted,
    Wanted(Arc<T>),
    Unusable(TableName, String),
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        match self {
            Entry::Unwanted => Entry::Unwanted,
            Entry::Wanted(table) => Entry::Wanted(Arc::clone(table)),
            Entry::Unusable(table, reason) => Entry::Unusable(table.clone(), reason.clone()),
        }
    }
}

/// A table map's bytes and what came of them: a server repeats the table map
/// before every group of rows.
#[derive(Debug)]
struct KnownLayout<T> {
    bytes: Vec<u8>,
    entry: Entry<T>,
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
            ended: None,
            no_gtid_before: false,
            tables: HashMap::new(),
            layouts: HashMap::new(),
            catalog: HashMap::new(),
        }
    }

    /// Goes back to the last whole transaction, to be fed from there again.
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

    /// Begins anew at `position`.
    pub fn restart(&mut self, position: Position) {
        self.committed = position;
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

    /// What decides which tables matter.
    pub fn interest(&self) -> &I {
        &self.interest
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
        if self.skip_until.is_some_and(|until| self.offset < until) && event_type != ROTATE {
            self.advance(&event, false);
            return Step::Quiet;
        }
        // Before the step: the payload's last event ends it.
        let inside = self.transaction.payload_bytes_left.is_some();
        let step = match event_type {
            23..=25 | 30..=32 | 39 => return self.rows(event, inside),
            TABLE_MAP => match self.table_map(&event) {
                Ok(Some(unknown)) => return Step::NeedsCatalog(unknown, event),
                Ok(None) => Ok(Step::Quiet),
                Err(reason) => Err(reason),
            },
            GTID | TAGGED_GTID => self.begin_gtid(&event),
            ANONYMOUS_GTID => self.begin_anonymous(&event),
            XID | XA_PREPARE => {
                // The events of a payload add up to its size, or some are missing.
                let size = u64::from(event.header().event_size());
                let left = self.transaction.payload_bytes_left.unwrap_or(size);
                let ended = self.end();
                Ok(match left.abs_diff(size) {
                    0 => ended,
                    bytes => Step::Item(undecoded_payload(bytes)),
                })
            }
            QUERY => self.query(&event),
            ROTATE => self.rotate(&event),
            FORMAT_DESCRIPTION => {
                self.tables.clear();
                Ok(Step::Quiet)
            }
            PREVIOUS_GTIDS => self.previous_gtids(&event),
            // Whatever a heartbeat could say of the position, commits say too.
            HEARTBEAT | HEARTBEAT_V2 => return self.lost_payload(),
            TRANSACTION_PAYLOAD => self.payload(&event),
            INCIDENT => Ok(Step::Item(Item::AnyChanged(Unknowable::Incident))),
            EXECUTE_LOAD_QUERY => Ok(Step::Item(Item::AnyChanged(Unknowable::Statement(
                "LOAD DATA".to_owned(),
            )))),
            STOP => Ok(Step::Quiet),
            known if HARMLESS.contains(&known) => Ok(Step::Quiet),
            _ if event.header().flags_raw() & IGNORABLE_FLAG != 0 => Ok(Step::Quiet),
            unknown => Ok(Step::Item(Item::AnyChanged(Unknowable::UnknownEvent(
                unknown,
            )))),
        };
        self.advance(&event, inside);
        step.unwrap_or_else(|reason| {
            Step::Item(Item::AnyChanged(Unknowable::Undecodable {
                event_type,
                reason,
            }))
        })
    }

    /// Moves the offset past `event`. Events `inside` a compressed payload have
    /// no place of their own, nor have those that the server makes up for the
    /// stream, such as the ROTATE at its beginning.
    fn advance(&mut self, event: &Event, inside: bool) {
        let header = event.header();
        let made_up = header.flags_raw() & ARTIFICIAL_FLAG != 0 || header.log_pos() == 0;
        if inside {
            if let Some(left) = &mut self.transaction.payload_bytes_left {
                *left = left.saturating_sub(u64::from(header.event_size()));
            }
        } else if header.event_type_raw() != ROTATE && !made_up {
            self.offset = next_offset(self.offset, header.log_pos());
        }
        // With GTIDs a server begins again at the file's beginning and leaves
        // out what is known: that is no step back.
        if !self.transaction.open
            && (self.file != self.committed.file || self.offset > self.committed.offset)
        {
            self.committed.file = Arc::clone(&self.file);
            self.committed.offset = self.offset;
        }
    }

    fn rows(&mut self, event: Event, inside: bool) -> Step<I::Table> {
        self.advance(&event, inside);
        let entry = rows::table_id(event.data()).map(|id| self.tables.get(&id));
        let reason = match entry {
            Ok(Some(Entry::Wanted(table))) => {
                return Step::Item(Item::Rows(Arc::clone(table), RowsPayload(event)));
            }
            Ok(Some(Entry::Unwanted)) => return Step::Quiet,
            Ok(Some(Entry::Unusable(table, reason))) => {
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
    fn table_map(&mut self, event: &Event) -> Result<Option<TableName>, String> {
        let map = TableMap::parse(event.data()).map_err(|error| error.to_string())?;
        let name = TableName::new(map.schema, map.table);
        if let Some(known) = self.layouts.get(&name)
            && known.bytes == map.layout_bytes()
        {
            self.tables.insert(map.table_id, known.entry.clone());
            return Ok(None);
        }
        let entry = if self.interest.wants(&name) {
            let Some(catalog) = self.catalog.get(&name) else {
                return Ok(Some(name));
            };
            let bound = TableLayout::new(&map, catalog.as_deref())
                .map_err(|error| error.to_string())
                .and_then(|layout| self.interest.bind(layout));
            match bound {
                Ok(table) => Entry::Wanted(Arc::new(table)),
                Err(reason) => Entry::Unusable(name.clone(), reason),
            }
        } else {
            Entry::Unwanted
        };
        self.tables.insert(map.table_id, entry.clone());
        let bytes = map.layout_bytes().to_vec();
        self.layouts.insert(name, KnownLayout { bytes, entry });
        Ok(None)
    }

    /// Columns may have changed under the same table map
    /// (`binlog_row_metadata=MINIMAL` sends no names).
    fn forget_layouts(&mut self) {
        self.layouts.clear();
        self.catalog.clear();
    }

    fn begin_gtid(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let gtid: GtidEvent = event.read_event().map_err(|error| error.to_string())?;
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
        let gtid: AnonymousGtidEvent = event.read_event().map_err(|error| error.to_string())?;
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
        let payload: TransactionPayloadEvent<'_> =
            event.read_event().map_err(|error| error.to_string())?;
        self.transaction.open = true;
        self.transaction.payload_bytes_left = Some(payload.uncompressed_size());
        Ok(Step::Quiet)
    }

    /// Ends the transaction: its GTID joins the set, and reading may begin
    /// after it.
    fn end(&mut self) -> Step<I::Table> {
        let ended = std::mem::take(&mut self.transaction);
        self.transaction.committed_at_us = ended.committed_at_us;
        self.transaction.payload_bytes_left = None;
        self.add_gtid(ended.gtid);
        Step::Item(Item::Commit)
    }

    fn add_gtid(&mut self, gtid: Option<Gtid>) {
        if let (Some(set), Some(gtid)) = (&mut self.committed.gtids, &gtid) {
            set.insert(gtid);
        }
        self.ended = gtid;
    }

    fn query(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let query: QueryEvent<'_> = event.read_event().map_err(|error| error.to_string())?;
        if !self.transaction.open {
            self.transaction.committed_at_us = commit_time(0, event);
        }
        let sql = query.query();
        let statement = Statement::read(&query.schema(), &sql);
        let changed = match statement {
            Statement::Begin => {
                self.transaction.open = true;
                self.transaction.begun = true;
                return Ok(Step::Quiet);
            }
            Statement::LayoutThenRows => {
                self.forget_layouts();
                self.transaction.open = true;
                self.transaction.begun = true;
                return Ok(Step::Quiet);
            }
            Statement::Within => return Ok(Step::Quiet),
            Statement::End => return Ok(self.end()),
            Statement::Harmless => None,
            Statement::Layout => {
                self.forget_layouts();
                None
            }
            Statement::Rows(tables) => {
                self.forget_layouts();
                Some(Item::TablesChanged(tables))
            }
            Statement::XaCommit | Statement::AnyRows => {
                self.forget_layouts();
                let text = sql.chars().take(80).collect();
                Some(Item::AnyChanged(Unknowable::Statement(text)))
            }
        };
        if self.transaction.begun {
            return Ok(changed.map_or(Step::Quiet, Step::Item));
        }
        // A statement by itself is a transaction by itself.
        let ended = self.end();
        Ok(changed.map_or(ended, Step::Item))
    }

    /// The event's own header says where it ends in the *old* file; only its
    /// body names a place in the new one.
    fn rotate(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let rotate: RotateEvent<'_> = event.read_event().map_err(|error| error.to_string())?;
        if *self.file != *rotate.name() {
            self.file = rotate.name().into();
            self.skip_until = None;
        }
        self.offset = rotate.position();
        self.tables.clear();
        Ok(Step::Quiet)
    }

    /// Stands at every file's beginning; adopted where the set was not known,
    /// because reading began at a file and offset.
    fn previous_gtids(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let previous: PreviousGtidsEvent<'_> =
            event.read_event().map_err(|error| error.to_string())?;
        self.no_gtid_before = previous.sids().is_empty();
        if self.committed.gtids.is_some() || self.no_gtid_before {
            return Ok(Step::Quiet);
        }
        let mut set = GtidSet::default();
        for sid in previous.sids() {
            let source = GtidSource {
                uuid: sid.uuid(),
                tag: sid.tag().map_or("".into(), |tag| tag.as_str().into()),
            };
            for interval in sid.intervals() {
                set.insert_range(&source, interval.start(), interval.end().saturating_sub(1));
            }
        }
        self.committed.gtids = Some(set);
        Ok(Step::Quiet)
    }
}

fn undecoded_payload<T>(bytes: u64) -> Item<T> {
    Item::AnyChanged(Unknowable::Undecodable {
        event_type: TRANSACTION_PAYLOAD,
        reason: format!("{bytes} bytes of a compressed transaction were not decoded"),
    })
}

/// The offset to skip to if COM_BINLOG_DUMP cannot name it.
fn beyond_dump_offset(position: &Position) -> Option<u64> {
    let needed = position.gtids.is_none() && position.offset > u64::from(u32::MAX);
    needed.then_some(position.offset)
}

/// Microseconds from the GTID event, which servers before 8.0.1 do not send;
/// else the header's second, rounded up.
fn commit_time(at_us: u64, event: &Event) -> u64 {
    match at_us {
        0 => (u64::from(event.header().timestamp()) + 1) * 1_000_000,
        at_us => at_us,
    }
}

/// The offset after an event whose header holds its low 32 bits: files pass
/// 4 GiB, single events do not.
fn next_offset(offset: u64, low: u32) -> u64 {
    const WRAP: u64 = 1 << 32;
    let next = (offset & !(WRAP - 1)) | u64::from(low);
    if next < offset { next + WRAP } else { next }
}

#[cfg(test)]
mod tests;
