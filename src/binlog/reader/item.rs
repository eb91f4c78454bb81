//! The things that the binlog says, in commit order.

use std::sync::Arc;

use crate::binlog::decode::error::DecodeError;
use crate::binlog::decode::rows::RowsEvent;
use crate::binlog::events::event::Event;
use crate::binlog::statement::Dml;
use crate::model::TableName;

/// One thing that the binlog says, in commit order.
#[derive(Debug)]
pub enum Item<T> {
    /// Rows of one table changed.
    Rows(Arc<T>, RowsPayload),
    /// The transaction ended; [`super::Assembler::position`] is past it.
    Commit,
    /// These tables changed without row events, or rows of them that came before
    /// became visible. The list may hold names that are not tables.
    TablesChanged(Vec<TableName>),
    /// A database of this name was dropped, with its tables. The name is as it was
    /// typed.
    DatabaseDropped(String),
    /// A statement changed rows without row events.
    Statement(Dml),
    /// Any table may have changed, for this reason.
    AnyChanged(Unknowable),
    /// Rows of this table changed, and cannot be decoded for this reason.
    Undecodable(TableName, String),
}

/// A reason why it cannot be known which rows changed.
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
    Undecodable { event_type: u8, reason: String },
}

/// A rows event's bytes.
#[derive(Debug)]
pub struct RowsPayload(pub(super) Event);

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

/// The outcome of feeding an event.
#[derive(Debug)]
pub enum Step<T> {
    /// Nothing to act on.
    Quiet,
    /// Something to act on.
    Item(Item<T>),
    /// The columns of this table must be looked up in `information_schema`
    /// and given to [`super::Assembler::learn`]; then the event is fed again.
    NeedsCatalog(TableName, Event),
}
