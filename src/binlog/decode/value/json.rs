//! Binary JSON to the text that SELECT prints (MySQL source,
//! `sql-common/json_binary.h` for the format and `json_dom.cc`,
//! `wrapper_to_string`, for the text).

use super::{decimal, temporal};
use crate::binlog::decode::error::{JSON_DEPTH_MAX, ValueError};
use crate::binlog::events::cursor::{Cursor, Truncated, uint_le};
use crate::model::{Value, float};

/// The document as text. An empty value stands for JSON null, as in
/// `Field_json::val_json`.
pub fn text(document: &[u8]) -> Result<String, ValueError> {
    let Some((&kind, data)) = document.split_first() else {
        return Ok("null".to_owned());
    };
    let mut printer = Printer {
        out: String::with_capacity(document.len()),
        unread: document.len(),
    };
    printer.value(kind, data, 0)?;
    Ok(printer.out)
}

struct Printer {
    out: String,
    /// Bytes of the document not printed yet. No part of an intact document is
    /// printed twice, so that damaged offsets cannot make a small document
    /// print without end.
    unread: usize,
}

/// Small and large containers differ in the width of counts and offsets.
#[derive(Clone, Copy)]
enum ContainerSize {
    Small,
    Large,
}

impl ContainerSize {
    fn offset_bytes(self) -> usize {
        match self {
            Self::Small => 2,
            Self::Large => 4,
        }
    }

    fn offset(self, cursor: &mut Cursor<'_>) -> Result<usize, ValueError> {
        let read = cursor.uint_le(self.offset_bytes()).map_err(damaged)?;
        usize::try_from(read).map_err(|_| ValueError::Json)
    }

    /// Whether a value of this type stands in its entry, in the offset's place.
    fn inlines(self, kind: u8) -> bool {
        match self {
            Self::Small => matches!(kind, 4..=6),
            Self::Large => matches!(kind, 4..=8),
        }
    }
}

impl Printer {
    /// Prints the value of type `kind` whose bytes begin `data`.
    fn value(&mut self, kind: u8, data: &[u8], depth: usize) -> Result<(), ValueError> {
        match kind {
            0 => self.container(data, ContainerSize::Small, true, depth),
            1 => self.container(data, ContainerSize::Large, true, depth),
            2 => self.container(data, ContainerSize::Small, false, depth),
            3 => self.container(data, ContainerSize::Large, false, depth),
            4 => {
                let literal = match data.first() {
                    Some(0) => "null",
                    Some(1) => "true",
                    Some(2) => "false",
                    _ => return Err(ValueError::Json),
                };
                self.out.push_str(literal);
                Ok(())
            }
            5 => self.integer(i16::from_le_bytes(first(data)?)),
            6 => self.integer(u16::from_le_bytes(first(data)?)),
            7 => self.integer(i32::from_le_bytes(first(data)?)),
            8 => self.integer(u32::from_le_bytes(first(data)?)),
            9 => self.integer(i64::from_le_bytes(first(data)?)),
            10 => self.integer(u64::from_le_bytes(first(data)?)),
            11 => self.double(f64::from_le_bytes(first(data)?)),
            12 => {
                let string = variable(&mut Cursor::new(data))?;
                self.string(string)
            }
            15 => self.opaque(data),
            _ => Err(ValueError::Json),
        }
    }

    fn container(
        &mut self,
        data: &[u8],
        format: ContainerSize,
        object: bool,
        depth: usize,
    ) -> Result<(), ValueError> {
        if depth >= JSON_DEPTH_MAX {
            return Err(ValueError::JsonDepth);
        }
        let mut header = Cursor::new(data);
        let count = format.offset(&mut header)?;
        let size = format.offset(&mut header)?;
        let data = data.get(..size).ok_or(ValueError::Json)?;
        let offset_bytes = format.offset_bytes();
        let entry_bytes = 1 + offset_bytes + if object { offset_bytes + 2 } else { 0 };
        self.spend(count.checked_mul(entry_bytes).ok_or(ValueError::Json)?)?;

        let mut keys = header;
        let mut values = header;
        if object {
            values
                .take(count.saturating_mul(offset_bytes + 2))
                .map_err(damaged)?;
        }
        self.out.push(if object { '{' } else { '[' });
        for index in 0..count {
            if index > 0 {
                self.out.push_str(", ");
            }
            if object {
                let offset = format.offset(&mut keys)?;
                let length = usize::from(keys.u16().map_err(damaged)?);
                let key = data
                    .get(offset..)
                    .and_then(|tail| tail.get(..length))
                    .ok_or(ValueError::Json)?;
                self.string(key)?;
                self.out.push_str(": ");
            }
            let kind = values.u8().map_err(damaged)?;
            if format.inlines(kind) {
                let inline = values.take(offset_bytes).map_err(damaged)?;
                self.value(kind, inline, depth + 1)?;
            } else {
                let offset = format.offset(&mut values)?;
                let tail = data.get(offset..).ok_or(ValueError::Json)?;
                self.value(kind, tail, depth + 1)?;
            }
        }
        self.out.push(if object { '}' } else { ']' });
        Ok(())
    }

    fn integer(&mut self, number: impl itoa::Integer) -> Result<(), ValueError> {
        self.out.push_str(itoa::Buffer::new().format(number));
        Ok(())
    }

    /// A double always shows that it is not an integer.
    fn double(&mut self, number: f64) -> Result<(), ValueError> {
        if !number.is_finite() {
            return Err(ValueError::Json);
        }
        let mut digits = Vec::with_capacity(32);
        float::write_double(number, &mut digits);
        let digits = str::from_utf8(&digits).map_err(|_| ValueError::Json)?;
        self.out.push_str(digits);
        if !digits.contains(['.', 'e']) {
            self.out.push_str(".0");
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.spend(bytes.len())?;
        self.quote(bytes)
    }

    /// Quotes as `double_quote` does: the short escapes, and \u00XX in lower
    /// case for the other control characters.
    fn quote(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let text = str::from_utf8(bytes).map_err(|_| ValueError::Json)?;
        self.out.push('"');
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                0x08 => "\\b",
                0x09 => "\\t",
                0x0A => "\\n",
                0x0C => "\\f",
                0x0D => "\\r",
                0x00..=0x1F => "\\u00",
                _ => continue,
            };
            self.out.push_str(text.get(plain..at).unwrap_or_default());
            self.out.push_str(escape);
            if escape.len() > 2 {
                for digit in [byte >> 4, byte & 15] {
                    self.out
                        .push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
                }
            }
            plain = at + 1;
        }
        self.out.push_str(text.get(plain..).unwrap_or_default());
        self.out.push('"');
        Ok(())
    }

    /// A value of a column type that JSON lacks: its type code and its bytes.
    fn opaque(&mut self, data: &[u8]) -> Result<(), ValueError> {
        let mut cursor = Cursor::new(data);
        let code = cursor.u8().map_err(damaged)?;
        let bytes = variable(&mut cursor)?;
        self.spend(bytes.len())?;
        let packed = || {
            uint_le(bytes)
                .filter(|_| bytes.len() == 8)
                .ok_or(ValueError::Json)
        };
        let value = match code {
            246 => {
                let [precision, scale] = first(bytes)?;
                let digits = bytes.get(2..).ok_or(ValueError::Json)?;
                return decimal::write_text(precision, scale, digits, &mut self.out);
            }
            10 => Value::Date(temporal::json_datetime(packed()?)?.date),
            7 | 12 => Value::DateTime(temporal::json_datetime(packed()?)?),
            11 => Value::Time(temporal::json_time(packed()?.cast_signed())?),
            _ => {
                self.base64(code, bytes);
                return Ok(());
            }
        };
        let mut text = Vec::with_capacity(32);
        value.write_text(&mut text);
        self.quote(&text)
    }

    /// MySQL's base64 breaks its line after 76 characters (`base64_encode`), and
    /// the break is escaped like any other in a string.
    fn base64(&mut self, code: u8, bytes: &[u8]) {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |sextet: u32| {
            usize::try_from(sextet & 63)
                .ok()
                .and_then(|index| DIGITS.get(index))
                .map_or('=', |&digit| char::from(digit))
        };
        self.out.push_str("\"base64:type");
        self.out.push_str(itoa::Buffer::new().format(code));
        self.out.push(':');
        for (index, chunk) in bytes.chunks(3).enumerate() {
            if index > 0 && index.is_multiple_of(76 / 4) {
                self.out.push_str("\\n");
            }
            let mut wide = [0; 4];
            for (to, from) in wide.iter_mut().skip(1).zip(chunk) {
                *to = *from;
            }
            let group = u32::from_be_bytes(wide);
            self.out.push(digit(group >> 18));
            self.out.push(digit(group >> 12));
            self.out.push(if chunk.len() > 1 {
                digit(group >> 6)
            } else {
                '='
            });
            self.out
                .push(if chunk.len() > 2 { digit(group) } else { '=' });
        }
        self.out.push('"');
    }

    fn spend(&mut self, bytes: usize) -> Result<(), ValueError> {
        self.unread = self.unread.checked_sub(bytes).ok_or(ValueError::Json)?;
        Ok(())
    }
}

/// Bytes behind a length of one to five bytes, seven bits in each, low first.
fn variable<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], ValueError> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = cursor.u8().map_err(damaged)?;
        length |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).map_err(|_| ValueError::Json)?;
            return cursor.take(length).map_err(damaged);
        }
    }
    Err(ValueError::Json)
}

fn first<const N: usize>(data: &[u8]) -> Result<[u8; N], ValueError> {
    data.first_chunk().copied().ok_or(ValueError::Json)
}

fn damaged(_: Truncated) -> ValueError {
    ValueError::Json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_repeats_itself_or_nests_too_deep_is_refused() {
        // An array of two entries, both at the array's own start.
        let looped = [2, 2, 0, 10, 0, 2, 0, 0, 2, 0, 0];
        assert_eq!(text(&looped), Err(ValueError::Json));
        let mut deep = vec![4, 0];
        for _ in 0..=JSON_DEPTH_MAX {
            let (kind, data) = (deep.remove(0), std::mem::take(&mut deep));
            let size = u8::try_from((data.len() + 7) & 0xFF).unwrap();
            let high = u8::try_from((data.len() + 7) >> 8).unwrap();
            deep = vec![2, 1, 0, size, high, kind, 7, 0];
            if kind == 4 {
                deep.truncate(6);
                deep.extend([0, 0]);
            } else {
                deep.extend(data);
            }
        }
        assert_eq!(text(&deep), Err(ValueError::JsonDepth));
    }

    proptest::proptest! {
        #[test]
        fn noise_in_a_json_document_never_panics(
            document in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            if let Ok(printed) = text(&document) {
                proptest::prop_assert!(!printed.is_empty());
            }
        }
    }
}
