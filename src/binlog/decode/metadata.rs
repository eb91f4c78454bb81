//! The table map's optional metadata: names, signs, character sets, labels
//! (MySQL source documentation, `Optional_metadata_fields`).

use super::column_type::WireType;
use super::error::DecodeError;
use crate::binlog::events::cursor::{Cursor, bit_msb};

/// The fields that decoding needs, as slices of the event.
#[derive(Clone, Copy, Debug, Default)]
pub struct OptionalMetadata<'a> {
    signedness: Option<&'a [u8]>,
    charset: Charsets<'a>,
    label_charset: Charsets<'a>,
    names: Option<&'a [u8]>,
    set_labels: Option<&'a [u8]>,
    enum_labels: Option<&'a [u8]>,
    primary_key: Option<&'a [u8]>,
    prefixed_key: Option<&'a [u8]>,
}

/// Two forms: one default with exceptions, or one collation for each column.
#[derive(Clone, Copy, Debug, Default)]
struct Charsets<'a> {
    default: Option<&'a [u8]>,
    each: Option<&'a [u8]>,
}

impl<'a> OptionalMetadata<'a> {
    /// Splits the fields. Unknown ones are skipped by their length, as newer
    /// servers may add some.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let cut = DecodeError::truncated("the table map's optional metadata");
        let mut cursor = Cursor::new(bytes);
        let mut fields = Self::default();
        while !cursor.is_empty() {
            let field = cursor.u8().map_err(cut)?;
            let value = cursor.lenenc_bytes().map_err(cut)?;
            let slot = match field {
                1 => &mut fields.signedness,
                2 => &mut fields.charset.default,
                3 => &mut fields.charset.each,
                4 => &mut fields.names,
                5 => &mut fields.set_labels,
                6 => &mut fields.enum_labels,
                8 => &mut fields.primary_key,
                9 => &mut fields.prefixed_key,
                10 => &mut fields.label_charset.default,
                11 => &mut fields.label_charset.each,
                // 7 GEOMETRY_TYPE, 12 COLUMN_VISIBILITY and 13
                // VECTOR_DIMENSIONALITY do not change how a value prints.
                _ => continue,
            };
            *slot = Some(value);
        }
        Ok(fields)
    }

    /// Whether it holds the column names (`binlog_row_metadata=FULL`).
    pub fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// Whether it holds the labels of every ENUM and SET in `types`.
    pub fn has_labels(&self, types: &[WireType]) -> bool {
        types.iter().all(|column| match column {
            WireType::Enum { .. } => self.enum_labels.is_some(),
            WireType::Set { .. } => self.set_labels.is_some(),
            _ => true,
        })
    }

    /// For each column whether it is unsigned; `None` for what has no sign,
    /// and for everything when the server does not say.
    pub fn unsigned(&self, types: &[WireType]) -> Vec<Option<bool>> {
        let mut bit = 0;
        types
            .iter()
            .map(|column| {
                let bits = self.signedness.filter(|_| column.is_numeric())?;
                bit += 1;
                Some(bit_msb(bits, bit - 1))
            })
            .collect()
    }

    /// For each column the id of its collation, where the map tells.
    pub fn collations(&self, types: &[WireType]) -> Result<Vec<Option<u64>>, DecodeError> {
        let mut text = self
            .charset
            .read(types.iter().filter(|column| column.is_character()).count())?
            .into_iter();
        let mut labels = self
            .label_charset
            .read(
                types
                    .iter()
                    .filter(|column| column.is_enum_or_set())
                    .count(),
            )?
            .into_iter();
        Ok(types
            .iter()
            .map(|column| {
                if column.is_character() {
                    text.next().flatten()
                } else if column.is_enum_or_set() {
                    labels.next().flatten()
                } else {
                    None
                }
            })
            .collect())
    }

    /// The names of `count` columns; `None` where the map does not hold them.
    pub fn names(&self, count: usize) -> Result<Option<Vec<&'a str>>, DecodeError> {
        let cut = DecodeError::truncated("the table map's column names");
        let Some(bytes) = self.names else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(bytes);
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            let name = cursor.lenenc_bytes().map_err(cut)?;
            names.push(std::str::from_utf8(name).map_err(|_| malformed("a name is not UTF-8"))?);
        }
        Ok(Some(names))
    }

    /// For each ENUM and SET its labels, in its own character set; empty for
    /// other columns and where the map does not hold them.
    pub fn labels(&self, types: &[WireType]) -> Result<Vec<Vec<&'a [u8]>>, DecodeError> {
        let mut enums = Cursor::new(self.enum_labels.unwrap_or_default());
        let mut sets = Cursor::new(self.set_labels.unwrap_or_default());
        types
            .iter()
            .map(|column| match column {
                WireType::Enum { .. } if self.enum_labels.is_some() => label_list(&mut enums),
                WireType::Set { .. } if self.set_labels.is_some() => label_list(&mut sets),
                _ => Ok(Vec::new()),
            })
            .collect()
    }

    /// The indices of the primary key's columns, in the key's order; `None`
    /// where the map does not hold them. A table without one has none.
    pub fn primary_key(&self, count: usize) -> Result<Option<Vec<usize>>, DecodeError> {
        let cut = DecodeError::truncated("the table map's primary key");
        let (bytes, prefixed) = match (self.primary_key, self.prefixed_key) {
            (Some(bytes), _) => (bytes, false),
            (None, Some(bytes)) => (bytes, true),
            (None, None) => return Ok(self.has_names().then(Vec::new)),
        };
        let mut cursor = Cursor::new(bytes);
        let mut key = Vec::new();
        while !cursor.is_empty() {
            let index = cursor.lenenc_len().map_err(cut)?;
            if prefixed {
                cursor.lenenc().map_err(cut)?;
            }
            if index >= count {
                return Err(malformed("the primary key names a column past the last"));
            }
            key.push(index);
        }
        Ok(Some(key))
    }
}

impl Charsets<'_> {
    /// One collation id for each of `count` columns.
    fn read(&self, count: usize) -> Result<Vec<Option<u64>>, DecodeError> {
        let cut = DecodeError::truncated("the table map's character sets");
        if let Some(bytes) = self.each {
            let mut cursor = Cursor::new(bytes);
            return (0..count)
                .map(|_| cursor.lenenc().map(Some).map_err(cut))
                .collect();
        }
        let Some(bytes) = self.default else {
            return Ok(vec![None; count]);
        };
        let mut cursor = Cursor::new(bytes);
        let default = cursor.lenenc().map_err(cut)?;
        let mut ids = vec![Some(default); count];
        while !cursor.is_empty() {
            let index = cursor.lenenc_len().map_err(cut)?;
            let id = cursor.lenenc().map_err(cut)?;
            let slot = ids
                .get_mut(index)
                .ok_or(malformed("a character set names a column past the last"))?;
            *slot = Some(id);
        }
        Ok(ids)
    }
}

fn label_list<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<&'a [u8]>, DecodeError> {
    let cut = DecodeError::truncated("the table map's ENUM and SET labels");
    let count = cursor.lenenc_len().map_err(cut)?;
    // Each label takes at least its length byte, so a damaged count runs into
    // the end before it can ask for memory.
    let mut labels = Vec::new();
    for _ in 0..count {
        labels.push(cursor.lenenc_bytes().map_err(cut)?);
    }
    Ok(labels)
}

fn malformed(problem: &'static str) -> DecodeError {
    DecodeError::Malformed {
        reading: "the table map's optional metadata",
        problem,
    }
}
