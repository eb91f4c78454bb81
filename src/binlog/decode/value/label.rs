//! The labels of ENUM and SET.

use std::borrow::Cow;

use super::charset::Charset;
use crate::binlog::decode::error::ValueError;
use crate::model::Value;

/// The label of an ENUM or a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// In UTF-8.
    Text(Box<str>),
    /// Of a column whose set is `binary`.
    Bytes(Box<[u8]>),
    /// Cannot be converted exactly.
    Inexact,
}

impl Label {
    /// The label `bytes` of a column of `charset`.
    pub fn new(bytes: &[u8], charset: &Charset) -> Self {
        match (charset, charset.text(bytes)) {
            (Charset::Binary, _) => Self::Bytes(bytes.into()),
            (_, Some(text)) => Self::Text(text.into()),
            (_, None) => Self::Inexact,
        }
    }

    pub(super) fn value(&self) -> Result<Value<'_>, ValueError> {
        match self {
            Self::Text(text) => Ok(Value::Text(Cow::Borrowed(text))),
            Self::Bytes(bytes) => Ok(Value::Bytes(Cow::Borrowed(bytes))),
            Self::Inexact => Err(ValueError::Text),
        }
    }
}

/// The labels of the bits that are set, in the column's order.
pub(super) fn set(labels: &[Label], bits: u64) -> Result<Value<'_>, ValueError> {
    let mut chosen = (0..64_usize).filter(|bit| bits >> bit & 1 == 1).peekable();
    let mut joined = Vec::new();
    let mut is_text = true;
    while let Some(bit) = chosen.next() {
        let label = labels.get(bit).ok_or(ValueError::Label)?;
        if joined.is_empty() && chosen.peek().is_none() {
            return label.value();
        }
        match label {
            Label::Text(text) => joined.extend_from_slice(text.as_bytes()),
            Label::Bytes(bytes) => {
                is_text = false;
                joined.extend_from_slice(bytes);
            }
            Label::Inexact => return Err(ValueError::Text),
        }
        if chosen.peek().is_some() {
            joined.push(b',');
        }
    }
    if is_text {
        let text = String::from_utf8(joined).map_err(|_| ValueError::Text)?;
        return Ok(Value::Text(Cow::Owned(text)));
    }
    Ok(Value::Bytes(Cow::Owned(joined)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_cannot_be_converted_exactly_are_refused_where_they_are_used() {
        let dec8 = Charset::named("dec8");
        let labels = [&b"tea"[..], b"pot", b"th\xE9"].map(|label| Label::new(label, &dec8));
        let text = |text: &'static str| Ok(Value::Text(Cow::Borrowed(text)));
        assert_eq!(labels[0].value(), text("tea"));
        assert_eq!(labels[2].value(), Err(ValueError::Text));
        for (bits, expected) in [
            (0, text("")),
            (1, text("tea")),
            (3, text("tea,pot")),
            (4, Err(ValueError::Text)),
            (5, Err(ValueError::Text)),
            (8, Err(ValueError::Label)),
        ] {
            assert_eq!(set(&labels, bits), expected, "{bits}");
        }
        let bytes = [Label::new(b"\xE9", &Charset::Binary)];
        assert_eq!(set(&bytes, 1), Ok(Value::Bytes(Cow::Borrowed(b"\xE9"))));
    }
}
