//! From MySQL's character sets to UTF-8.
//!
//! Text is converted exactly as the server converts it, or not at all: a key
//! rendered from anything else is one that no application ever wrote. Text that
//! is not valid in its own set is refused, as are text of a set that is not
//! known here, and text with a character that MySQL cannot convert, which
//! SELECT prints as `?`.

use std::borrow::Cow;
use std::sync::Arc;

use super::multi_byte::MultiByte;
use super::single_byte;
use crate::binlog::decode::error::ValueError;
use crate::model::Value;

/// The way from a column's bytes to text.
#[derive(Clone, Debug)]
pub enum Charset {
    Binary,
    /// utf8mb3 and utf8mb4.
    Utf8,
    /// ascii, and supersets of it of which nothing else can be converted.
    Ascii,
    /// The character of each byte. Bytes below 0x80 are ASCII.
    SingleByte(Arc<[char]>),
    /// A set of the far east.
    MultiByte(MultiByte),
    /// ucs2 and utf16: big-endian.
    Utf16,
    /// utf16le.
    Utf16Le,
    /// utf32: big-endian.
    Utf32,
    /// A set of which nothing can be converted.
    Unknown,
}

impl Charset {
    /// The set of a collation id as the table map writes it; `None` for an id
    /// that no MySQL release up to 9.7 assigns.
    pub fn of_collation(id: u64) -> Option<Self> {
        name_of_collation(id).map(Self::named)
    }

    /// The set called `name` in `information_schema.character_sets`.
    pub fn named(name: &str) -> Self {
        match name {
            "binary" => Self::Binary,
            "utf8" | "utf8mb3" | "utf8mb4" => Self::Utf8,
            "ascii" | "armscii8" | "cp850" | "cp852" | "dec8" | "geostd8" | "hp8" | "keybcs2"
            | "macce" => Self::Ascii,
            "ucs2" | "utf16" => Self::Utf16,
            "utf16le" => Self::Utf16Le,
            "utf32" => Self::Utf32,
            "big5" => Self::MultiByte(MultiByte::Big5),
            "gb2312" => Self::MultiByte(MultiByte::Gb2312),
            "gbk" => Self::MultiByte(MultiByte::Gbk),
            "gb18030" => Self::MultiByte(MultiByte::Gb18030),
            "euckr" => Self::MultiByte(MultiByte::EucKr),
            "cp932" => Self::MultiByte(MultiByte::Cp932),
            "sjis" => Self::MultiByte(MultiByte::Sjis),
            "eucjpms" => Self::MultiByte(MultiByte::EucJpMs),
            "ujis" => Self::MultiByte(MultiByte::Ujis),
            _ => single_byte::table(name).map_or(Self::Unknown, Self::SingleByte),
        }
    }

    /// The name of the set that a collation id belongs to.
    pub fn name_of_collation(id: u64) -> Option<&'static str> {
        name_of_collation(id)
    }

    /// The most bytes that a character of the set called `name` takes
    /// (`information_schema.character_sets`, MAXLEN).
    pub fn widest_character(name: &str) -> u32 {
        match name {
            "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
            "utf8" | "utf8mb3" | "ujis" | "eucjpms" => 3,
            "big5" | "gb2312" | "gbk" | "sjis" | "cp932" | "euckr" | "ucs2" => 2,
            _ => 1,
        }
    }

    /// The value of `bytes`.
    ///
    /// # Errors
    ///
    /// [`ValueError::Text`] if they cannot be converted exactly.
    #[inline]
    pub fn value<'a>(&self, bytes: &'a [u8]) -> Result<Value<'a>, ValueError> {
        match self {
            Self::Utf8 => match str::from_utf8(bytes) {
                Ok(text) => Ok(Value::Text(Cow::Borrowed(text))),
                Err(_) => Err(ValueError::Text),
            },
            Self::Binary => Ok(Value::Bytes(Cow::Borrowed(bytes))),
            _ => self.text(bytes).map(Value::Text).ok_or(ValueError::Text),
        }
    }

    /// `bytes` in UTF-8; `None` where they cannot be converted exactly.
    pub fn text<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
        let ascii = || {
            bytes
                .is_ascii()
                .then(|| str::from_utf8(bytes).ok())
                .flatten()
        };
        match self {
            Self::Binary | Self::Unknown => None,
            Self::Utf8 => str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Ascii => ascii().map(Cow::Borrowed),
            Self::SingleByte(table) => match ascii() {
                Some(text) => Some(Cow::Borrowed(text)),
                None => bytes
                    .iter()
                    .map(|byte| table.get(usize::from(*byte)).copied())
                    .map(|letter| letter.filter(|letter| *letter != single_byte::UNDEFINED))
                    .collect::<Option<String>>()
                    .map(Cow::Owned),
            },
            Self::MultiByte(set) => match ascii() {
                Some(text) => Some(Cow::Borrowed(text)),
                None => set.text(bytes).map(Cow::Owned),
            },
            Self::Utf16 => utf16(bytes, u16::from_be_bytes),
            Self::Utf16Le => utf16(bytes, u16::from_le_bytes),
            Self::Utf32 => {
                let (units, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return None;
                }
                units
                    .iter()
                    .map(|unit| char::from_u32(u32::from_be_bytes(*unit)))
                    .collect::<Option<String>>()
                    .map(Cow::Owned)
            }
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Cow<'_, str>> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(units.iter().map(|bytes| unit(*bytes)))
        .collect::<Result<String, _>>()
        .ok()
        .map(Cow::Owned)
}

/// The ids of `information_schema.collations`, of MySQL 5.6 to 9.7.
fn name_of_collation(id: u64) -> Option<&'static str> {
    Some(match id {
        1 | 84 => "big5",
        2 | 9 | 21 | 27 | 77 => "latin2",
        3 | 69 => "dec8",
        4 | 80 => "cp850",
        5 | 8 | 15 | 31 | 47..=49 | 94 => "latin1",
        6 | 72 => "hp8",
        7 | 74 => "koi8r",
        10 | 82 => "swe7",
        11 | 65 => "ascii",
        12 | 91 => "ujis",
        13 | 88 => "sjis",
        14 | 23 | 50..=52 => "cp1251",
        16 | 71 => "hebrew",
        18 | 89 => "tis620",
        19 | 85 => "euckr",
        20 | 41 | 42 | 79 => "latin7",
        22 | 75 => "koi8u",
        24 | 86 => "gb2312",
        25 | 70 => "greek",
        26 | 34 | 44 | 66 | 99 => "cp1250",
        28 | 87 => "gbk",
        29 | 58 | 59 => "cp1257",
        30 | 78 => "latin5",
        32 | 64 => "armscii8",
        33 | 76 | 83 | 192..=223 => "utf8mb3",
        35 | 90 | 128..=159 => "ucs2",
        36 | 68 => "cp866",
        37 | 73 => "keybcs2",
        38 | 43 => "macce",
        39 | 53 => "macroman",
        40 | 81 => "cp852",
        45 | 46 | 224..=247 | 255..=323 => "utf8mb4",
        54 | 55 | 101..=124 => "utf16",
        56 | 62 => "utf16le",
        57 | 67 => "cp1256",
        60 | 61 | 160..=183 => "utf32",
        63 => "binary",
        92 | 93 => "geostd8",
        95 | 96 => "cp932",
        97 | 98 => "eucjpms",
        248..=250 => "gb18030",
        _ => return None,
    })
}
