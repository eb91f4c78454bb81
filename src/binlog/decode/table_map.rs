//! TABLE_MAP_EVENT: which table a table id stands for, and how its rows are
//! laid out (MySQL source documentation, `Table_map_event`).

use super::error::DecodeError;
use crate::binlog::events::cursor::Cursor;

/// More columns than MySQL allows a table (MySQL manual, "Limits on Table
/// Column Count"); a count above it is damage, not a table.
const COLUMNS_MAX: usize = 4096;

/// A parsed TABLE_MAP_EVENT. Parsing borrows and does not allocate, so that
/// the map of an ignored table costs next to nothing.
#[derive(Clone, Copy, Debug)]
pub struct TableMap<'a> {
    /// The id that the rows events after it carry.
    pub table_id: u64,
    /// The database.
    pub schema: &'a str,
    pub table: &'a str,
    layout_bytes: &'a [u8],
    types: &'a [u8],
    metadata: &'a [u8],
    nullable: &'a [u8],
    optional: &'a [u8],
}

impl<'a> TableMap<'a> {
    /// Parses the event's body: what follows the common header, without the
    /// checksum.
    ///
    /// # Errors
    ///
    /// The body is cut, or a name is not UTF-8, which MySQL's identifiers are
    /// (MySQL manual, "Identifier Character Set").
    pub fn parse(data: &'a [u8]) -> Result<Self, DecodeError> {
        let cut = DecodeError::truncated("the table map");
        let mut cursor = Cursor::new(data);
        let table_id = cursor.u48().map_err(cut)?;
        let layout_bytes = cursor.rest();
        let _flags = cursor.u16().map_err(cut)?;
        let schema = name(&mut cursor)?;
        let table = name(&mut cursor)?;
        let columns = cursor.lenenc_len().map_err(cut)?;
        if columns > COLUMNS_MAX {
            return Err(malformed("it has more columns than MySQL allows"));
        }
        let types = cursor.take(columns).map_err(cut)?;
        let metadata = cursor.lenenc_bytes().map_err(cut)?;
        let nullable = cursor.take(columns.div_ceil(8)).map_err(cut)?;
        Ok(Self {
            table_id,
            schema,
            table,
            layout_bytes,
            types,
            metadata,
            nullable,
            optional: cursor.rest(),
        })
    }

    /// Everything after the table id. Equal bytes mean an equal layout, so a
    /// cache need not parse the map again when MySQL gives the table a new id.
    pub fn layout_bytes(&self) -> &'a [u8] {
        self.layout_bytes
    }

    /// Number of columns of a row.
    pub fn column_count(&self) -> usize {
        self.types.len()
    }

    /// The type code of each column, as the map writes it.
    pub(in crate::binlog) fn types(&self) -> &'a [u8] {
        self.types
    }

    /// The columns' metadata, one after the other.
    pub(in crate::binlog) fn metadata(&self) -> &'a [u8] {
        self.metadata
    }

    /// The optional metadata, unparsed.
    pub(in crate::binlog) fn optional(&self) -> &'a [u8] {
        self.optional
    }

    /// A bit for each column: whether it may be NULL. A row image's own bits
    /// decide; these only describe the table.
    pub fn nullable(&self) -> &'a [u8] {
        self.nullable
    }
}

/// A length byte, the name, a zero byte.
fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let cut = DecodeError::truncated("a name in the table map");
    let length = usize::from(cursor.u8().map_err(cut)?);
    let bytes = cursor.take(length).map_err(cut)?;
    if cursor.u8().map_err(cut)? != 0 {
        return Err(malformed("a name does not end in a zero byte"));
    }
    std::str::from_utf8(bytes).map_err(|_| malformed("a name is not UTF-8"))
}

fn malformed(problem: &'static str) -> DecodeError {
    DecodeError::Malformed {
        reading: "the table map",
        problem,
    }
}
