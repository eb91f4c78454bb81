//! Errors between an event's bytes and a row's values.

use std::sync::Arc;

use thiserror::Error;

use crate::binlog::events::cursor::Truncated;

/// MySQL's own limit, `JSON_DOCUMENT_MAX_DEPTH`; it bounds the decoder's
/// recursion.
pub(in crate::binlog) const JSON_DEPTH_MAX: usize = 100;

/// Bytes that do not decode. Callers add the table and the position.
///
/// None of these passes by itself when the same bytes are read again, so the
/// caller widens the invalidation instead of retrying (guarantee: over, never
/// under).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The event ended inside a value.
    #[error("the event ends inside {reading}: it is cut or damaged")]
    Truncated { reading: &'static str },
    /// The bytes contradict the binlog's format.
    #[error("{reading} is malformed: {problem}")]
    Malformed {
        reading: &'static str,
        problem: &'static str,
    },
    /// The event is not a rows event of a known kind.
    #[error("event type {event_type} is not a rows event that this version reads")]
    UnexpectedEvent { event_type: u8 },
    /// A column of a type whose width on the wire is unknown, so that no column
    /// after it can be found.
    #[error(
        "column {ordinal} has type code {type_code}, which this version cannot read; \
         convert the column to a current type"
    )]
    UnsupportedType {
        /// The column's place, counted from 1.
        ordinal: usize,
        /// The type code in the table map.
        type_code: u8,
    },
    /// The table map does not say enough and no catalog was given.
    #[error(
        "the table map leaves out {missing} and the catalog was not consulted; \
         set binlog_row_metadata=FULL or grant SELECT on the table"
    )]
    MissingCatalog { missing: &'static str },
    /// The catalog describes another version of the table than the event.
    #[error(
        "the catalog describes another version of the table than the event: {problem}; \
         set binlog_row_metadata=FULL to read across schema changes"
    )]
    CatalogMismatch { problem: String },
    /// The rows event does not belong to the layout.
    #[error("the rows event has {event} columns, its table map {layout}")]
    ColumnCount { layout: usize, event: u64 },
    /// One value cannot be decoded; the row's other values and the rows after it
    /// can.
    #[error("column {column}: {problem}")]
    Value {
        column: Arc<str>,
        problem: ValueError,
    },
}

impl DecodeError {
    /// Whether nothing but a value is in doubt. Other problems may come from
    /// damage, or from a layout that is not the row's.
    pub(in crate::binlog) fn is_of_a_value_alone(&self) -> bool {
        matches!(
            self,
            Self::Value {
                problem: ValueError::Text | ValueError::Unreadable,
                ..
            }
        )
    }

    /// Turns a reader's [`Truncated`] into an error that names what was read.
    pub(in crate::binlog) fn truncated(reading: &'static str) -> impl Fn(Truncated) -> Self + Copy {
        move |Truncated| Self::Truncated { reading }
    }
}

/// A problem with one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Fewer or more bytes than the type has.
    #[error("the value is not as long as its type")]
    Length,
    /// Text that would not be what the server prints.
    #[error(
        "its text cannot be converted to utf8mb4 exactly: it is not valid in the column's character set, \
         or evictd does not know how the server converts it; convert the column to utf8mb4"
    )]
    Text,
    /// A group of decimal digits above its maximum.
    #[error("the DECIMAL holds a group of digits that is not a number")]
    Decimal,
    /// A month, day, hour, minute, second or fraction out of its range.
    #[error("the date or time is out of range")]
    Temporal,
    /// An ENUM index or SET bit without a label. The layout is not the row's.
    #[error("the ENUM or SET has no such label; the table's definition changed")]
    Label,
    /// Binary JSON that contradicts its own lengths or offsets.
    #[error("the JSON document is damaged")]
    Json,
    /// Nested deeper than MySQL allows.
    #[error("the JSON document is nested more than {JSON_DEPTH_MAX} levels deep")]
    JsonDepth,
    /// A type that no session can select.
    #[error("values of this type cannot be selected")]
    Unreadable,
}
