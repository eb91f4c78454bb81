//! Column values, and their text as `SELECT` prints it.

use std::borrow::Cow;

/// One column's value in a row image.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The row image does not carry this column.
    Absent,
    /// SQL NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// Anything that prints as text: character types in UTF-8, DECIMAL, ENUM
    /// and SET labels, JSON, YEAR.
    Text(Cow<'a, str>),
    /// Bytes that are no text: BINARY, BLOB, BIT (big-endian), GEOMETRY,
    /// VECTOR, and text that is invalid in its own character set.
    Bytes(Cow<'a, [u8]>),
    /// DATE.
    Date(Date),
    /// TIME.
    Time(Time),
    /// DATETIME, or TIMESTAMP in UTC.
    DateTime(DateTime),
}

/// A calendar date; MySQL allows zero months and days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Date {
    /// 0 to 9999.
    pub year: u16,
    /// 0 to 12.
    pub month: u8,
    /// 0 to 31.
    pub day: u8,
}

/// A duration of up to 838 hours, of either sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Time {
    /// Whether a minus sign stands before it.
    pub negative: bool,
    /// 0 to 838.
    pub hours: u16,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// 0 to 999,999.
    pub micros: u32,
    /// How many digits of the fraction are printed, 0 to 6.
    pub decimals: u8,
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DateTime {
    /// The day.
    pub date: Date,
    /// 0 to 23.
    pub hours: u8,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// 0 to 999,999.
    pub micros: u32,
    /// How many digits of the fraction are printed, 0 to 6.
    pub decimals: u8,
}
impl Value<'_> {
    pub fn write_text(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Value::Absent | Value::Null => return false,
            Value::Int(n) => out.extend(n.to_string().bytes()),
            Value::UInt(n) => out.extend(n.to_string().bytes()),
            Value::Text(t) => out.extend(t.bytes()),
            Value::Bytes(b) => out.extend(b.iter()),
            _ => out.extend(b"?"),
        }
        true
    }
}
