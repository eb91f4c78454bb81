//! WRITE, UPDATE and DELETE_ROWS_EVENT: which columns a statement's row images
//! carry, and the images as bytes (MySQL source documentation, `Rows_event`).

use crate::model::Op;

use super::error::DecodeError;
use crate::binlog::events::cursor::Cursor;
use crate::binlog::events::event_type;

/// The flag on the last rows event of a statement.
const STMT_END_F: u16 = 1;

/// A rows event, its row images not yet decoded.
#[derive(Clone, Copy, Debug)]
pub struct RowsEvent<'a> {
    /// The id that a table map gave the table.
    pub table_id: u64,
    /// The statement's effect on the rows.
    pub op: Op,
    /// Whether no further rows event of the same statement follows.
    pub end_of_statement: bool,
    pub(in crate::binlog) partial_json: bool,
    pub(in crate::binlog) column_count: u64,
    pub(in crate::binlog) before_present: &'a [u8],
    pub(in crate::binlog) after_present: &'a [u8],
    pub(in crate::binlog) rows: &'a [u8],
}

/// The table id alone, so that an event of an ignored table costs a few
/// instructions.
///
/// # Errors
///
/// The body is shorter than a table id.
#[inline]
pub fn table_id(data: &[u8]) -> Result<u64, DecodeError> {
    Cursor::new(data)
        .u48()
        .map_err(DecodeError::truncated("the rows event's table id"))
}

/// Whether it is the last rows event of its statement.
#[inline]
pub fn ends_statement(data: &[u8]) -> bool {
    data.get(6..8)
        .and_then(|flags| flags.try_into().ok())
        .is_some_and(|flags| u16::from_le_bytes(flags) & STMT_END_F != 0)
}

impl<'a> RowsEvent<'a> {
    /// Parses the event's body: what follows the common header, without the
    /// checksum.
    ///
    /// # Errors
    ///
    /// The body is cut, or `event_type` is not that of a rows event.
    pub fn parse(event_type: u8, data: &'a [u8]) -> Result<Self, DecodeError> {
        let cut = DecodeError::truncated("the rows event");
        let (op, has_extra) = match event_type {
            event_type::WRITE_ROWS_V1 => (Op::Insert, false),
            event_type::UPDATE_ROWS_V1 => (Op::Update, false),
            event_type::DELETE_ROWS_V1 => (Op::Delete, false),
            event_type::WRITE_ROWS => (Op::Insert, true),
            event_type::UPDATE_ROWS | event_type::PARTIAL_UPDATE_ROWS => (Op::Update, true),
            event_type::DELETE_ROWS => (Op::Delete, true),
            _ => return Err(DecodeError::UnexpectedEvent { event_type }),
        };
        let mut cursor = Cursor::new(data);
        let table_id = cursor.u48().map_err(cut)?;
        let flags = cursor.u16().map_err(cut)?;
        if has_extra {
            // The length counts its own two bytes.
            let extra = usize::from(cursor.u16().map_err(cut)?);
            let extra = extra.checked_sub(2).ok_or(DecodeError::Malformed {
                reading: "the rows event",
                problem: "its extra data is shorter than its own length field",
            })?;
            cursor.take(extra).map_err(cut)?;
        }
        let columns = cursor.lenenc_len().map_err(cut)?;
        let mut bitmap = |wanted: bool| {
            if wanted {
                cursor.take(columns.div_ceil(8)).map_err(cut)
            } else {
                Ok(&[][..])
            }
        };
        let before_present = bitmap(op != Op::Insert)?;
        let after_present = bitmap(op != Op::Delete)?;
        Ok(Self {
            table_id,
            op,
            end_of_statement: flags & STMT_END_F != 0,
            partial_json: event_type == event_type::PARTIAL_UPDATE_ROWS,
            column_count: u64::try_from(columns).unwrap_or(u64::MAX),
            before_present,
            after_present,
            rows: cursor.rest(),
        })
    }
}
