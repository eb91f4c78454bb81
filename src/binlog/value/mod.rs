//! From one column's bytes to a [`Value`].

mod charset;
pub mod decimal;
pub mod json;
mod multi_byte;
mod single_byte;
mod temporal;

use std::borrow::Cow;

pub use charset::Charset;

use super::cursor::uint_le;
use super::error::ValueError;
use crate::model::{Shape, Value, float};

/// Everything that turns a column's bytes into its value, resolved once for a
/// layout so that a row reads no metadata.
#[derive(Clone, Debug)]
pub enum Kind {
    /// TINYINT to BIGINT.
    Signed,
    /// The unsigned integers.
    Unsigned,
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// FLOAT(M,D) or DOUBLE(M,D), printed with D decimals.
    Scaled { decimals: u8 },
    /// DECIMAL.
    Decimal { precision: u8, scale: u8 },
    /// A number with ZEROFILL, printed in so many digits.
    Zerofill { number: Box<Kind>, width: usize },
    /// YEAR.
    Year,
    /// The character types.
    Text(Charset),
    /// BINARY(n), whose trailing zero bytes the row image leaves out.
    Padded { length: usize },
    /// Bytes as they are.
    Bytes,
    /// ENUM.
    Enum(Box<[Label]>),
    /// SET.
    Set(Box<[Label]>),
    /// JSON.
    Json,
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
    /// What no session can select.
    Unreadable,
}

/// The label of an ENUM or a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// In UTF-8.
    Text(Box<str>),
    /// Of a column whose set is `binary`, or invalid in its own set.
    Bytes(Box<[u8]>),
}

impl Label {
    /// The label `bytes` of a column of `charset`.
    pub fn new(bytes: &[u8], charset: &Charset) -> Self {
        match charset.text(bytes) {
            Some(text) => Self::Text(text.into()),
            None => Self::Bytes(bytes.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        }
    }
}

impl Kind {
    /// Which texts the values can render as.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Signed | Self::Unsigned | Self::Year => Shape::Integer,
            Self::Float | Self::Double | Self::Scaled { .. } | Self::Decimal { .. } => {
                Shape::Number
            }
            Self::Zerofill { number, .. } => number.shape(),
            Self::Text(charset) if !charset.is_binary() => Shape::Text,
            Self::Enum(_) | Self::Set(_) | Self::Json => Shape::Text,
            Self::Text(_) | Self::Padded { .. } | Self::Bytes | Self::Unreadable => Shape::Bytes,
            Self::Date
            | Self::OldTime
            | Self::OldDateTime
            | Self::OldTimestamp
            | Self::Time { .. }
            | Self::DateTime { .. }
            | Self::Timestamp { .. } => Shape::Temporal,
        }
    }

    /// Decodes the bytes of one value, its length prefix already taken off.
    #[inline]
    pub fn decode<'a>(&'a self, bytes: &'a [u8]) -> Result<Value<'a>, ValueError> {
        Ok(match self {
            Self::Signed => Value::Int(signed(bytes)?),
            Self::Unsigned => Value::UInt(uint_le(bytes).ok_or(ValueError::Length)?),
            Self::Text(charset) => charset.value(bytes),
            Self::Bytes => Value::Bytes(Cow::Borrowed(bytes)),
            _ => return self.decode_rare(bytes),
        })
    }

    /// The types that keys are seldom made of, kept out of the loop's code.
    fn decode_rare<'a>(&'a self, bytes: &'a [u8]) -> Result<Value<'a>, ValueError> {
        Ok(match self {
            Self::Float => Value::Float(f32::from_le_bytes(exactly(bytes)?)),
            Self::Double => Value::Double(f64::from_le_bytes(exactly(bytes)?)),
            Self::Scaled { decimals } => {
                let number = match bytes.len() {
                    4 => f64::from(f32::from_le_bytes(exactly(bytes)?)),
                    _ => f64::from_le_bytes(exactly(bytes)?),
                };
                let mut digits = Vec::with_capacity(24);
                float::write_fixed(number, *decimals, &mut digits);
                text_of(digits)
            }
            Self::Decimal { precision, scale } => {
                let mut text = String::with_capacity(24);
                decimal::write_text(*precision, *scale, bytes, &mut text)?;
                Value::Text(Cow::Owned(text))
            }
            Self::Zerofill { number, width } => {
                let mut digits = Vec::with_capacity(24);
                number.decode(bytes)?.write_text(&mut digits);
                let missing = width.saturating_sub(digits.len());
                digits.splice(..0, std::iter::repeat_n(b'0', missing));
                text_of(digits)
            }
            Self::Year => match exactly::<1>(bytes)? {
                [0] => Value::Text(Cow::Borrowed("0000")),
                [year] => Value::UInt(1900 + u64::from(year)),
            },
            Self::Padded { length } if bytes.len() < *length => {
                let mut padded = Vec::with_capacity(*length);
                padded.extend_from_slice(bytes);
                padded.resize(*length, 0);
                Value::Bytes(Cow::Owned(padded))
            }
            Self::Enum(labels) => match uint_le(bytes).ok_or(ValueError::Length)? {
                // The value of what strict mode refuses (MySQL manual, "The
                // ENUM Type", "Index Values for Enumeration Literals").
                0 => Value::Text(Cow::Borrowed("")),
                index => usize::try_from(index - 1)
                    .ok()
                    .and_then(|index| labels.get(index))
                    .ok_or(ValueError::Label)?
                    .value(),
            },
            Self::Set(labels) => set(labels, uint_le(bytes).ok_or(ValueError::Length)?)?,
            Self::Json => Value::Text(Cow::Owned(json::text(bytes)?)),
            Self::Date => Value::Date(temporal::date(bytes)?),
            Self::OldTime => Value::Time(temporal::old_time(bytes)?),
            Self::OldDateTime => Value::DateTime(temporal::old_datetime(bytes)?),
            Self::OldTimestamp => Value::DateTime(temporal::old_timestamp(bytes)?),
            Self::Time { decimals } => Value::Time(temporal::time(bytes, *decimals)?),
            Self::DateTime { decimals } => Value::DateTime(temporal::datetime(bytes, *decimals)?),
            Self::Timestamp { decimals } => Value::DateTime(temporal::timestamp(bytes, *decimals)?),
            Self::Unreadable => return Err(ValueError::Unreadable),
            Self::Padded { .. } | Self::Bytes => Value::Bytes(Cow::Borrowed(bytes)),
            Self::Signed => Value::Int(signed(bytes)?),
            Self::Unsigned => Value::UInt(uint_le(bytes).ok_or(ValueError::Length)?),
            Self::Text(charset) => charset.value(bytes),
        })
    }
}

/// The labels of the bits that are set, in the column's order.
fn set(labels: &[Label], bits: u64) -> Result<Value<'_>, ValueError> {
    let mut chosen = (0..64_usize).filter(|bit| bits >> bit & 1 == 1).peekable();
    let mut joined = Vec::new();
    let mut is_text = true;
    while let Some(bit) = chosen.next() {
        let label = labels.get(bit).ok_or(ValueError::Label)?;
        is_text &= matches!(label, Label::Text(_));
        if joined.is_empty() && chosen.peek().is_none() {
            return Ok(label.value());
        }
        joined.extend_from_slice(label.bytes());
        if chosen.peek().is_some() {
            joined.push(b',');
        }
    }
    Ok(match is_text {
        true => text_of(joined),
        false => Value::Bytes(Cow::Owned(joined)),
    })
}

#[inline]
fn signed(bytes: &[u8]) -> Result<i64, ValueError> {
    Ok(match *bytes {
        [a] => i64::from(i8::from_le_bytes([a])),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        // Three bytes take their sign from the third: read it as the highest
        // of four and shift it down.
        [a, b, c] => i64::from(i32::from_le_bytes([0, a, b, c]) >> 8),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => i64::from_le_bytes(exactly(bytes)?),
    })
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::Length)
}

/// Text put together from parts that are text.
fn text_of(bytes: Vec<u8>) -> Value<'static> {
    match String::from_utf8(bytes) {
        Ok(text) => Value::Text(Cow::Owned(text)),
        Err(bytes) => Value::Bytes(Cow::Owned(bytes.into_bytes())),
    }
}
