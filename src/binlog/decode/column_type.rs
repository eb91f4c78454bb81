//! Column types as the table map writes them: a code and a few bytes of
//! metadata, which together say how wide a value is on the wire.

use super::error::DecodeError;
use super::value::decimal;
use crate::binlog::events::cursor::{Cursor, Prefix, Truncated};

/// A column's type on the wire (MySQL source documentation,
/// `Table_map_event`, "Table_map_event column types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// TINYINT to BIGINT: 1, 2, 3, 4 or 8 bytes.
    Int { bytes: u8 },
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// DECIMAL.
    Decimal { precision: u8, scale: u8 },
    /// YEAR.
    Year,
    /// BIT.
    Bit { bits: u8 },
    /// DATE.
    Date,
    /// TIME before MySQL 5.6.
    OldTime,
    /// DATETIME before MySQL 5.6.
    OldDateTime,
    /// TIMESTAMP before MySQL 5.6.
    OldTimestamp,
    /// TIME.
    Time { decimals: u8 },
    /// DATETIME.
    DateTime { decimals: u8 },
    /// TIMESTAMP.
    Timestamp { decimals: u8 },
    /// CHAR and BINARY, with their length in bytes.
    Char { length: u16 },
    /// VARCHAR and VARBINARY, with their length in bytes.
    VarChar { length: u16 },
    /// The BLOB and TEXT types.
    Blob { prefix: Prefix },
    /// ENUM: 1 or 2 bytes.
    Enum { bytes: u8 },
    /// SET: 1, 2, 3, 4 or 8 bytes.
    Set { bytes: u8 },
    /// JSON.
    Json { prefix: Prefix },
    /// GEOMETRY and its kinds.
    Geometry { prefix: Prefix },
    /// VECTOR.
    Vector { prefix: Prefix },
    /// The hidden column of a multi-valued index.
    TypedArray,
    /// A column without a type: no bytes at all.
    Null,
}

/// The way to find a value's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Always so many bytes.
    Fixed(usize),
    /// As many as the length before it says.
    Prefixed(Prefix),
}

impl Width {
    /// The next value, without the length before it.
    #[inline]
    pub fn take<'a>(self, cursor: &mut Cursor<'a>) -> Result<&'a [u8], Truncated> {
        match self {
            Self::Fixed(bytes) => cursor.take(bytes),
            Self::Prefixed(prefix) => cursor.prefixed(prefix),
        }
    }
}

impl WireType {
    /// Reads the type of each column of a table map.
    ///
    /// # Errors
    ///
    /// An unknown code, or metadata that its type does not allow: without it
    /// no column after this one can be found.
    pub fn read_all(types: &[u8], metadata: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut cursor = Cursor::new(metadata);
        types
            .iter()
            .enumerate()
            .map(|(index, &code)| Self::read(index, code, &mut cursor))
            .collect()
    }

    fn read(index: usize, code: u8, metadata: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let cut = DecodeError::truncated("the table map's column metadata");
        let unsupported = DecodeError::UnsupportedType {
            ordinal: index + 1,
            type_code: code,
        };
        let mut byte = || metadata.u8().map_err(cut);
        let read = match code {
            1 => Self::Int { bytes: 1 },
            2 => Self::Int { bytes: 2 },
            3 => Self::Int { bytes: 4 },
            4 => {
                byte()?;
                Self::Float
            }
            5 => {
                byte()?;
                Self::Double
            }
            6 => Self::Null,
            7 => Self::OldTimestamp,
            8 => Self::Int { bytes: 8 },
            9 => Self::Int { bytes: 3 },
            10 | 14 => Self::Date,
            11 => Self::OldTime,
            12 => Self::OldDateTime,
            13 => Self::Year,
            15 | 253 => Self::VarChar {
                length: u16::from_le_bytes([byte()?, byte()?]),
            },
            16 => {
                let (rest, bytes) = (byte()?, byte()?);
                let bits = bytes.checked_mul(8).and_then(|bits| bits.checked_add(rest));
                match bits {
                    Some(bits @ 1..=64) if rest < 8 => Self::Bit { bits },
                    _ => return Err(malformed("a BIT column has no width from 1 to 64")),
                }
            }
            17 => Self::Timestamp {
                decimals: decimals(byte()?)?,
            },
            18 => Self::DateTime {
                decimals: decimals(byte()?)?,
            },
            19 => Self::Time {
                decimals: decimals(byte()?)?,
            },
            20 => {
                skip_typed_array(metadata, unsupported)?;
                Self::TypedArray
            }
            242 => Self::Vector {
                prefix: prefix(byte()?)?,
            },
            245 => Self::Json {
                prefix: prefix(byte()?)?,
            },
            246 => {
                let (precision, scale) = (byte()?, byte()?);
                if decimal::width(precision, scale).is_none() {
                    return Err(malformed("a DECIMAL's precision is out of range"));
                }
                Self::Decimal { precision, scale }
            }
            247 | 248 | 254 => string(byte()?, byte()?, code)?,
            249..=252 => Self::Blob {
                prefix: prefix(byte()?)?,
            },
            255 => Self::Geometry {
                prefix: prefix(byte()?)?,
            },
            _ => return Err(unsupported),
        };
        Ok(read)
    }

    /// The end of a value of this type.
    pub fn width(self) -> Width {
        match self {
            Self::Int { bytes } | Self::Enum { bytes } | Self::Set { bytes } => {
                Width::Fixed(usize::from(bytes))
            }
            Self::Float | Self::OldTimestamp => Width::Fixed(4),
            Self::Double | Self::OldDateTime => Width::Fixed(8),
            // A scale out of range was refused when the type was read.
            Self::Decimal { precision, scale } => {
                Width::Fixed(decimal::width(precision, scale).unwrap_or_default())
            }
            Self::Year => Width::Fixed(1),
            Self::Bit { bits } => Width::Fixed(usize::from(bits).div_ceil(8)),
            Self::Date | Self::OldTime => Width::Fixed(3),
            Self::Time { decimals } => Width::Fixed(3 + fraction_bytes(decimals)),
            Self::DateTime { decimals } => Width::Fixed(5 + fraction_bytes(decimals)),
            Self::Timestamp { decimals } => Width::Fixed(4 + fraction_bytes(decimals)),
            Self::Char { length } | Self::VarChar { length } => Width::Prefixed(if length > 255 {
                Prefix::Two
            } else {
                Prefix::One
            }),
            Self::Blob { prefix }
            | Self::Json { prefix }
            | Self::Geometry { prefix }
            | Self::Vector { prefix } => Width::Prefixed(prefix),
            // Stored as the JSON array that it indexes.
            Self::TypedArray => Width::Prefixed(Prefix::Four),
            Self::Null => Width::Fixed(0),
        }
    }

    /// Whether the SIGNEDNESS field has a bit for it. YEAR has one too: in the
    /// server it is a kind of TINYINT.
    pub fn is_numeric(self) -> bool {
        matches!(
            self,
            Self::Int { .. } | Self::Float | Self::Double | Self::Decimal { .. } | Self::Year
        )
    }

    /// Whether the charset fields count it. VECTOR is one: to the server it is
    /// a BLOB of the binary character set (seen in MySQL 9.7).
    pub fn is_character(self) -> bool {
        matches!(
            self,
            Self::Char { .. } | Self::VarChar { .. } | Self::Blob { .. } | Self::Vector { .. }
        )
    }

    /// Whether the ENUM and SET charset fields count it.
    pub fn is_enum_or_set(self) -> bool {
        matches!(self, Self::Enum { .. } | Self::Set { .. })
    }
}

/// The bytes that hold a fraction of a second: two digits in each.
pub fn fraction_bytes(decimals: u8) -> usize {
    usize::from(decimals).div_ceil(2)
}

/// CHAR, ENUM and SET share one code; the first byte tells them apart. A CHAR
/// longer than 255 bytes hides two bits of its length in that byte, inverted
/// (MySQL source, `Field_string::do_save_field_metadata`).
fn string(first: u8, second: u8, code: u8) -> Result<WireType, DecodeError> {
    let (real, high) = if first == 0 {
        (code, 0)
    } else {
        (first | 0x30, u16::from((first & 0x30) ^ 0x30) << 4)
    };
    match real {
        247 if matches!(second, 1 | 2) => Ok(WireType::Enum { bytes: second }),
        248 if matches!(second, 1..=4 | 8) => Ok(WireType::Set { bytes: second }),
        254 => Ok(WireType::Char {
            length: high | u16::from(second),
        }),
        _ => Err(malformed("a string column's real type is unknown")),
    }
}

/// A typed array's metadata is its element's type and metadata, in which
/// VARCHAR has a length of three bytes (MySQL source, `read_field_metadata`).
fn skip_typed_array(
    metadata: &mut Cursor<'_>,
    unsupported: DecodeError,
) -> Result<(), DecodeError> {
    let cut = DecodeError::truncated("the table map's column metadata");
    let bytes = match metadata.u8().map_err(cut)? {
        1..=3 | 6..=14 => 0,
        4 | 5 | 17..=19 | 242 | 245 | 249..=252 | 255 => 1,
        16 | 246..=248 | 254 => 2,
        15 | 253 => 3,
        _ => return Err(unsupported),
    };
    metadata.take(bytes).map_err(cut)?;
    Ok(())
}

fn decimals(byte: u8) -> Result<u8, DecodeError> {
    if byte > 6 {
        return Err(malformed("a time has more than 6 decimals"));
    }
    Ok(byte)
}

fn prefix(byte: u8) -> Result<Prefix, DecodeError> {
    Prefix::of_bytes(byte).ok_or(malformed("a length takes other than 1 to 4 bytes"))
}

fn malformed(problem: &'static str) -> DecodeError {
    DecodeError::Malformed {
        reading: "the table map's column metadata",
        problem,
    }
}
