//! Column values, and their text as `SELECT` prints it.

use std::borrow::Cow;

use super::float;

/// One column's value in a row image.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The row image does not carry this column.
    Absent,
    /// The row image carries only a difference to the JSON value before
    /// (`binlog_row_value_options=PARTIAL_JSON`): the value changed, and the new
    /// one is not known.
    Partial,
    /// Bytes of text that cannot be converted to UTF-8 exactly: what the value is
    /// is not known, only whether it changed.
    Undecodable(&'a [u8]),
    /// SQL NULL.
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    /// A value that prints as text: character types in UTF-8, DECIMAL, labels of
    /// ENUM and SET, JSON, YEAR.
    Text(Cow<'a, str>),
    /// Bytes that are not text: BINARY, BLOB, GEOMETRY and VECTOR.
    Bytes(Cow<'a, [u8]>),
    Date(Date),
    Time(Time),
    /// DATETIME, or TIMESTAMP in UTC.
    DateTime(DateTime),
}

/// A calendar date; MySQL allows zero months and days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    pub negative: bool,
    /// 0 to 838.
    pub hours: u16,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// 0 to 999,999.
    pub micros: u32,
    /// Digits of the fraction that are printed, 0 to 6.
    pub decimals: u8,
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    pub date: Date,
    /// 0 to 23.
    pub hours: u8,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// 0 to 999,999.
    pub micros: u32,
    /// Digits of the fraction that are printed, 0 to 6.
    pub decimals: u8,
}

impl Value<'_> {
    /// Appends the text that `SELECT` prints. Returns whether there is a text:
    /// NULL and an unknown value have none.
    pub fn write_text(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Value::Absent | Value::Partial | Value::Undecodable(_) | Value::Null => return false,
            Value::Int(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            Value::UInt(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            Value::Float(number) => float::write_float(*number, out),
            Value::Double(number) => float::write_double(*number, out),
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Date(date) => date.write_text(out),
            Value::Time(time) => time.write_text(out),
            Value::DateTime(datetime) => datetime.write_text(out),
        }
        true
    }

    /// Whether the value is SQL NULL. An absent column is not: its value is
    /// unknown.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether the row image does not carry the column.
    pub fn is_absent(&self) -> bool {
        matches!(self, Value::Absent)
    }
}

impl Date {
    /// Appends `YYYY-MM-DD`.
    fn write_text(self, out: &mut Vec<u8>) {
        write_padded(u32::from(self.year), 4, out);
        out.push(b'-');
        write_padded(u32::from(self.month), 2, out);
        out.push(b'-');
        write_padded(u32::from(self.day), 2, out);
    }
}

impl Time {
    /// Appends `[-]hh:mm:ss[.ffffff]`, hours in two digits or three.
    fn write_text(self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let width = if self.hours > 99 { 3 } else { 2 };
        write_padded(u32::from(self.hours), width, out);
        write_clock(self.minutes, self.seconds, out);
        write_fraction(self.micros, self.decimals, out);
    }
}

impl DateTime {
    /// Appends `YYYY-MM-DD hh:mm:ss[.ffffff]`.
    fn write_text(self, out: &mut Vec<u8>) {
        self.date.write_text(out);
        out.push(b' ');
        write_padded(u32::from(self.hours), 2, out);
        write_clock(self.minutes, self.seconds, out);
        write_fraction(self.micros, self.decimals, out);
    }
}

fn write_clock(minutes: u8, seconds: u8, out: &mut Vec<u8>) {
    out.push(b':');
    write_padded(u32::from(minutes), 2, out);
    out.push(b':');
    write_padded(u32::from(seconds), 2, out);
}

fn write_fraction(micros: u32, decimals: u8, out: &mut Vec<u8>) {
    let decimals = decimals.min(6);
    if decimals > 0 {
        out.push(b'.');
        let printed = micros / 10_u32.pow(u32::from(6 - decimals));
        write_padded(printed, usize::from(decimals), out);
    }
}

/// Appends the last `width` decimal digits of `number`, at most ten, with zeros in
/// front.
fn write_padded(mut number: u32, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 10];
    let digits = digits.split_at_mut(width.min(10)).0;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    out.extend_from_slice(digits);
}
