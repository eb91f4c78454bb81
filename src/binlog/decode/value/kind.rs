//! From one column's bytes to a [`Value`], whose text is what `SELECT` prints in
//! utf8mb4. The text differs in these cases:
//!
//! - CHAR never has the spaces that `PAD_CHAR_TO_FULL_LENGTH` in `sql_mode` adds.
//! - BIT is the decimal number that `SELECT b + 0` prints, and that PHP's mysqlnd
//!   makes of BIT columns.
//! - TIMESTAMP is in UTC, as in a session with `time_zone = '+00:00'`.
//! - ZEROFILL prints no zeros, and FLOAT(M,D) and DOUBLE(M,D) as many digits as
//!   without (M,D), where a table map with `binlog_row_metadata=FULL` is all there
//!   is, or the catalog's column no longer fits it: no metadata holds M and D.
//!
//! Text that cannot be converted exactly is an error, see [`super::charset`].

use std::borrow::Cow;

use super::charset::Charset;
use super::label::{self, Label};
use super::{decimal, json, temporal};
use crate::binlog::decode::error::ValueError;
use crate::binlog::events::cursor::{uint_be, uint_le};
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
    /// BIT, whose bytes are big-endian.
    Bit,
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
    /// Values that no session can select.
    Unreadable,
}

impl Kind {
    /// Which texts the values can render as.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Signed | Self::Unsigned | Self::Bit | Self::Year => Shape::Integer,
            Self::Float | Self::Double | Self::Scaled { .. } | Self::Decimal { .. } => {
                Shape::Number
            }
            Self::Zerofill { number, .. } => number.shape(),
            Self::Text(_) | Self::Enum(_) | Self::Set(_) | Self::Json => Shape::Text,
            Self::Padded { .. } | Self::Bytes | Self::Unreadable => Shape::Bytes,
            Self::Date
            | Self::OldTime
            | Self::OldDateTime
            | Self::Time { .. }
            | Self::DateTime { .. } => Shape::Temporal,
            Self::OldTimestamp | Self::Timestamp { .. } => Shape::Timestamp,
        }
    }

    /// Decodes the bytes of one value, its length prefix already taken off.
    #[inline]
    pub fn decode<'a>(&'a self, bytes: &'a [u8]) -> Result<Value<'a>, ValueError> {
        Ok(match self {
            Self::Signed => Value::Int(signed(bytes)?),
            Self::Unsigned => Value::UInt(uint_le(bytes).ok_or(ValueError::Length)?),
            Self::Text(charset) => charset.value(bytes)?,
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
                digits_text(digits)
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
                digits_text(digits)
            }
            Self::Bit => Value::UInt(uint_be(bytes).ok_or(ValueError::Length)?),
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
                    .value()?,
            },
            Self::Set(labels) => label::set(labels, uint_le(bytes).ok_or(ValueError::Length)?)?,
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
            Self::Text(charset) => charset.value(bytes)?,
        })
    }
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

/// Text put together from digits.
fn digits_text(digits: Vec<u8>) -> Value<'static> {
    match String::from_utf8(digits) {
        Ok(text) => Value::Text(Cow::Owned(text)),
        Err(bytes) => Value::Bytes(Cow::Owned(bytes.into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(kind: &Kind, bytes: &[u8]) -> Result<String, ValueError> {
        let mut text = Vec::new();
        kind.decode(bytes)?.write_text(&mut text);
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn every_kind_prints_as_select_prints_it() {
        let labels = || -> Box<[Label]> {
            ["a", "b", "c"]
                .map(|label| Label::Text(label.into()))
                .into()
        };
        let latin1 = Kind::Text(Charset::named("latin1"));
        let zerofill = |number: Kind| Kind::Zerofill {
            number: Box::new(number),
            width: 5,
        };
        for (kind, bytes, expected) in [
            (Kind::Signed, &[0xFF][..], "-1"),
            (Kind::Signed, &[0xFF, 0xFF, 0x7F], "8388607"),
            (Kind::Signed, &[0, 0, 0x80], "-8388608"),
            (Kind::Unsigned, &[0xFF; 8], "18446744073709551615"),
            (zerofill(Kind::Unsigned), &[7, 0, 0, 0], "00007"),
            (zerofill(Kind::Unsigned), &[0x40, 0xE2, 1, 0], "123456"),
            (Kind::Float, &[0, 0, 0xC0, 0xBF], "-1.5"),
            (Kind::Scaled { decimals: 2 }, &[0, 0, 0xC0, 0x3F], "1.50"),
            (Kind::Year, &[0], "0000"),
            (Kind::Year, &[124], "2024"),
            (latin1, &[b'a', 0xE9, 0x80], "aé€"),
            (Kind::Enum(labels()), &[2], "b"),
            (Kind::Enum(labels()), &[0], ""),
            (Kind::Set(labels()), &[5], "a,c"),
            (Kind::Set(labels()), &[0], ""),
            (Kind::Padded { length: 3 }, b"x", "x\0\0"),
            (Kind::Date, &[0, 0, 0], "0000-00-00"),
            (Kind::OldTime, &[0xFF, 0xFF, 0xFF], "-00:00:01"),
            (
                Kind::Time { decimals: 1 },
                &[0x7F, 0xFF, 0xFF, 0xCE],
                "-00:00:00.5",
            ),
            (
                Kind::Timestamp { decimals: 0 },
                &[0; 4],
                "0000-00-00 00:00:00",
            ),
            (
                Kind::Timestamp { decimals: 0 },
                &[0x7F, 0xFF, 0xFF, 0xFF],
                "2038-01-19 03:14:07",
            ),
            (Kind::Json, &[], "null"),
        ] {
            assert_eq!(printed(&kind, bytes).as_deref(), Ok(expected), "{kind:?}");
        }
        assert_eq!(printed(&Kind::Enum(labels()), &[4]), Err(ValueError::Label));
        assert_eq!(printed(&Kind::Set(labels()), &[8]), Err(ValueError::Label));
        assert_eq!(printed(&Kind::Double, &[0; 4]), Err(ValueError::Length));
    }

    #[test]
    fn text_that_cannot_be_converted_exactly_is_refused() {
        for (charset, bytes, expected) in [
            ("utf8mb4", &b"a\xE9"[..], None),
            ("ascii", b"a\x80", None),
            ("cp1250", b"a\x81", None),
            ("latin1", b"a\x81", Some("a\u{81}")),
            ("utf16", b"\0a\xD8", None),
            ("big5", b"\xC6\xA1", None),
            // Of these sets nothing but ASCII is known here.
            ("dec8", b"tea", Some("tea")),
            ("dec8", b"th\xE9", None),
            ("hp8", b"", Some("")),
            ("cp850", b"th\x82", None),
            // Here ASCII's brackets are letters.
            ("swe7", b"tea", None),
            ("a set of tomorrow", b"tea", None),
        ] {
            let kind = Kind::Text(Charset::named(charset));
            let expected = expected.ok_or(ValueError::Text).map(str::to_owned);
            assert_eq!(printed(&kind, bytes), expected, "{charset} {bytes:?}");
        }
        assert!(Charset::of_collation(1_000).is_none());
    }
}
