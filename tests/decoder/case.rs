//! Generated tables, their rows as the server writes them, and what the rows
//! print as.

use super::others::{Column, Kind};

/// Bytes that decide what is generated; zeros when they run out, so that a
/// failing case shrinks to a small one.
struct Entropy<'a>(std::slice::Iter<'a, u8>);

impl Entropy<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        // Extremes and small numbers come up as often as anything between.
        match self.byte() % 4 {
            0 => return u64::from(self.byte()),
            1 => return u64::MAX - u64::from(self.byte()),
            2 => return 1_u64.rotate_right(u32::from(self.byte())),
            _ => bytes.fill_with(|| self.byte()),
        }
        u64::from_le_bytes(bytes)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    fn small(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }
}

/// A column's type, as the encoder writes it.
#[derive(Clone, Debug)]
pub enum Type {
    Int { bytes: u8, unsigned: bool },
    Float,
    Double,
    Decimal { precision: u8, scale: u8 },
    Year,
    Bit { bits: u8 },
    Date,
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time(u8),
    DateTime(u8),
    Timestamp(u8),
    Text { length: u16, fixed: bool },
    Binary { length: u16, fixed: bool },
    Blob { prefix: u8, text: bool },
    Enum(usize),
    Set(usize),
    Json,
    Geometry,
    Vector,
}

/// How many types there are.
pub const TYPES: u8 = 21;

fn column_type(e: &mut Entropy<'_>) -> Type {
    match e.small(TYPES) {
        0 => Type::Int {
            bytes: [1, 2, 3, 4, 8][usize::from(e.small(5))],
            unsigned: e.byte() & 1 == 1,
        },
        1 => Type::Float,
        2 => Type::Double,
        3 => {
            let precision = 1 + e.small(65);
            let scale = e.small(precision.min(30) + 1);
            Type::Decimal { precision, scale }
        }
        4 => Type::Year,
        5 => Type::Bit {
            bits: 1 + e.small(64),
        },
        6 => Type::Date,
        7 => Type::OldTime,
        8 => Type::OldDateTime,
        9 => Type::OldTimestamp,
        10 => Type::Time(e.small(7)),
        11 => Type::DateTime(e.small(7)),
        12 => Type::Timestamp(e.small(7)),
        13 => Type::Text {
            length: 1 + u16::try_from(e.below(1020)).unwrap(),
            fixed: e.byte() & 1 == 1,
        },
        14 => Type::Binary {
            length: 1 + u16::from(e.small(255)),
            fixed: e.byte() & 1 == 1,
        },
        15 => Type::Blob {
            prefix: 1 + e.small(4),
            text: e.byte() & 1 == 1,
        },
        16 => Type::Enum(1 + usize::from(e.byte()) * 2),
        17 => Type::Set(1 + usize::from(e.small(64))),
        18 => Type::Json,
        19 => Type::Geometry,
        _ => Type::Vector,
    }
}

impl Type {
    /// Type code and metadata.
    fn wire(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Int { bytes, .. } => (
                match bytes {
                    1 => 1,
                    2 => 2,
                    3 => 9,
                    4 => 3,
                    _ => 8,
                },
                vec![],
            ),
            Self::Float => (4, vec![4]),
            Self::Double => (5, vec![8]),
            Self::Decimal { precision, scale } => (246, vec![*precision, *scale]),
            Self::Year => (13, vec![]),
            Self::Bit { bits } => (16, vec![bits % 8, bits / 8]),
            Self::Date => (10, vec![]),
            Self::OldTime => (11, vec![]),
            Self::OldDateTime => (12, vec![]),
            Self::OldTimestamp => (7, vec![]),
            Self::Time(decimals) => (19, vec![*decimals]),
            Self::DateTime(decimals) => (18, vec![*decimals]),
            Self::Timestamp(decimals) => (17, vec![*decimals]),
            Self::Text { length, fixed } | Self::Binary { length, fixed } => {
                if *fixed {
                    let [low, high] = length.to_le_bytes();
                    (254, vec![254 ^ (high << 4), low])
                } else {
                    (15, length.to_le_bytes().to_vec())
                }
            }
            Self::Blob { prefix, .. } => (252, vec![*prefix]),
            Self::Enum(count) => (254, vec![247, if *count < 256 { 1 } else { 2 }]),
            Self::Set(count) => (254, vec![248, set_bytes(*count)]),
            Self::Json => (245, vec![4]),
            Self::Geometry => (255, vec![4]),
            Self::Vector => (242, vec![4]),
        }
    }

    fn collation(&self) -> Option<u8> {
        match self {
            Self::Text { .. } | Self::Blob { text: true, .. } => Some(45),
            Self::Binary { .. } | Self::Blob { .. } | Self::Vector => Some(63),
            _ => None,
        }
    }

    /// The column as the other decoders' values are read by.
    pub fn column(&self) -> Column {
        let labels = |count: &usize| (0..*count).map(label).collect();
        let kind = match self {
            Self::Int { bytes, unsigned } => Kind::Int {
                bytes: u32::from(*bytes),
                unsigned: *unsigned,
            },
            Self::Float | Self::Double => Kind::Float { decimals: None },
            Self::Decimal { .. } => Kind::Decimal,
            Self::Year => Kind::Year,
            Self::Bit { .. } => Kind::Bit,
            Self::Date => Kind::Date,
            Self::OldTime => Kind::OldTime,
            Self::OldDateTime => Kind::OldDateTime,
            Self::OldTimestamp => Kind::OldTimestamp,
            Self::Time(decimals) => Kind::Time {
                decimals: usize::from(*decimals),
            },
            Self::DateTime(decimals) => Kind::DateTime {
                decimals: usize::from(*decimals),
            },
            Self::Timestamp(decimals) => Kind::Timestamp {
                decimals: usize::from(*decimals),
            },
            Self::Text { .. } => Kind::Text,
            Self::Binary { length, fixed } => Kind::Binary {
                padded: if *fixed { usize::from(*length) } else { 0 },
            },
            Self::Blob { text: true, .. } => Kind::LongText,
            Self::Blob { .. } | Self::Geometry => Kind::Blob,
            Self::Enum(count) => Kind::Enum(labels(count)),
            Self::Set(count) => Kind::Set(labels(count)),
            Self::Json => Kind::Json,
            Self::Vector => Kind::Vector,
        };
        let name = format!("{self:?}");
        let name = name.split([' ', '(']).next().unwrap_or_default();
        Column {
            label: name.to_owned(),
            kind,
            charset: "utf8mb4".to_owned(),
            zerofill: 0,
        }
    }

    /// One value: its bytes in a row image and the text that it prints as.
    fn value(&self, e: &mut Entropy<'_>) -> (Vec<u8>, Vec<u8>) {
        let (bytes, text) = match self {
            Self::Int { bytes, unsigned } => {
                let shift = 64 - 8 * u32::from(*bytes);
                let raw = e.number() << shift >> shift;
                let text = if *unsigned {
                    raw.to_string()
                } else {
                    ((raw << shift).cast_signed() >> shift).to_string()
                };
                (raw.to_le_bytes()[..usize::from(*bytes)].to_vec(), text)
            }
            // Exact in few digits, so that no formatting is at stake here.
            Self::Float => {
                let number = f32::from(i16::from_le_bytes([e.byte(), e.byte()])) / 2.0;
                (number.to_le_bytes().to_vec(), number.to_string())
            }
            Self::Double => {
                let number =
                    f64::from(i32::from_le_bytes([e.byte(), e.byte(), e.byte(), e.byte()])) / 4.0;
                (number.to_le_bytes().to_vec(), number.to_string())
            }
            Self::Decimal { precision, scale } => decimal(*precision, *scale, e),
            Self::Year => match e.byte() {
                0 => (vec![0], "0000".to_owned()),
                year => (vec![year], (1900 + u32::from(year)).to_string()),
            },
            Self::Bit { bits } => {
                let raw = e.number() >> (64 - bits);
                let bytes = raw.to_be_bytes()[8 - usize::from(*bits).div_ceil(8)..].to_vec();
                (bytes, raw.to_string())
            }
            Self::Date => {
                let (y, m, d) = day(e);
                let packed = y << 9 | m << 5 | d;
                (
                    packed.to_le_bytes()[..3].to_vec(),
                    format!("{y:04}-{m:02}-{d:02}"),
                )
            }
            Self::OldTime => {
                let (h, m, s) = (e.below(839), e.below(60), e.below(60));
                let number = i32::try_from(h * 10_000 + m * 100 + s).unwrap();
                let negative = number > 0 && e.byte() & 1 == 1;
                let signed = if negative { -number } else { number };
                let sign = if negative { "-" } else { "" };
                (
                    signed.to_le_bytes()[..3].to_vec(),
                    format!("{sign}{h:02}:{m:02}:{s:02}"),
                )
            }
            Self::OldDateTime => {
                let ((y, mo, d), (h, m, s)) = (day(e), clock(e));
                let number = (y * 10_000 + mo * 100 + d) * 1_000_000 + h * 10_000 + m * 100 + s;
                (
                    number.to_le_bytes().to_vec(),
                    format!("{y:04}-{mo:02}-{d:02} {h:02}:{m:02}:{s:02}"),
                )
            }
            Self::OldTimestamp => {
                let (seconds, text) = moment(e);
                (seconds.to_le_bytes().to_vec(), text)
            }
            Self::Time(decimals) => {
                let (h, m, s) = (e.below(839), e.below(60), e.below(60));
                let (units, fraction, bytes) = fraction(*decimals, e);
                let whole = h << 12 | m << 6 | s;
                let magnitude = (whole << (8 * bytes)) | units;
                let negative = magnitude > 0 && e.byte() & 1 == 1;
                let zero = 0x80_0000 << (8 * bytes);
                let packed = if negative {
                    zero - magnitude
                } else {
                    zero + magnitude
                };
                let sign = if negative { "-" } else { "" };
                (
                    packed.to_be_bytes()[5 - bytes..].to_vec(),
                    format!("{sign}{h:02}:{m:02}:{s:02}{fraction}"),
                )
            }
            Self::DateTime(decimals) => {
                let ((y, mo, d), (h, m, s)) = (day(e), clock(e));
                let (units, fraction, bytes) = fraction(*decimals, e);
                let whole = 1 << 39 | (y * 13 + mo) << 22 | d << 17 | h << 12 | m << 6 | s;
                let packed = whole << (8 * bytes) | units;
                (
                    packed.to_be_bytes()[3 - bytes..].to_vec(),
                    format!("{y:04}-{mo:02}-{d:02} {h:02}:{m:02}:{s:02}{fraction}"),
                )
            }
            Self::Timestamp(decimals) => {
                let (seconds, text) = moment(e);
                let (units, fraction, bytes) = fraction(*decimals, e);
                let packed = u64::from(seconds) << (8 * bytes) | units;
                (packed.to_be_bytes()[4 - bytes..].to_vec(), text + &fraction)
            }
            Self::Text { length, .. } => {
                let text = words(e, usize::from(*length));
                (
                    prefixed(if *length > 255 { 2 } else { 1 }, text.as_bytes()),
                    text,
                )
            }
            Self::Binary { length, fixed } => {
                let mut bytes = noise(e, usize::from(*length));
                let mut printed = bytes.clone();
                if *fixed {
                    while bytes.last() == Some(&0) {
                        bytes.pop();
                    }
                    printed.resize(usize::from(*length), 0);
                }
                return (prefixed(1, &bytes), printed);
            }
            Self::Blob { prefix, text: true } => {
                let text = words(e, 255);
                (prefixed(*prefix, text.as_bytes()), text)
            }
            Self::Blob { prefix, .. } => {
                let bytes = noise(e, 255);
                return (prefixed(*prefix, &bytes), bytes);
            }
            Self::Enum(count) => {
                let index = usize::try_from(e.below(u64::try_from(*count).unwrap() + 1)).unwrap();
                let text = match index {
                    0 => String::new(),
                    index => label(index - 1),
                };
                let bytes = if *count < 256 { 1 } else { 2 };
                (index.to_le_bytes()[..bytes].to_vec(), text)
            }
            Self::Set(count) => {
                let bits = e.number() >> (64 - count);
                let chosen: Vec<String> = (0..*count)
                    .filter(|bit| bits >> bit & 1 == 1)
                    .map(label)
                    .collect();
                let bytes = usize::from(set_bytes(*count));
                (bits.to_le_bytes()[..bytes].to_vec(), chosen.join(","))
            }
            Self::Json => {
                let document = document(e, 0);
                let (kind, data) = binary_json(&document);
                let mut bytes = vec![kind];
                bytes.extend(data);
                (prefixed(4, &bytes), json_text(&document))
            }
            Self::Geometry | Self::Vector => {
                let bytes = noise(e, 64);
                return (prefixed(4, &bytes), bytes);
            }
        };
        (bytes, text.into_bytes())
    }
}

fn set_bytes(count: usize) -> u8 {
    match count.div_ceil(8) {
        n @ 1..=4 => u8::try_from(n).unwrap(),
        _ => 8,
    }
}

fn label(index: usize) -> String {
    format!("é{index}")
}

fn decimal(precision: u8, scale: u8, e: &mut Entropy<'_>) -> (Vec<u8>, String) {
    let digits: String = (0..precision)
        .map(|_| char::from(b'0' + e.byte() % 10))
        .collect();
    let (whole, fraction) = digits.split_at(usize::from(precision - scale));
    let negative = digits.bytes().any(|digit| digit != b'0') && e.byte() & 1 == 1;
    let mut bytes: Vec<u8> = Vec::new();
    let first = whole.len() % 9;
    let mut groups: Vec<&str> = vec![&whole[..first]];
    groups.extend(chunks(&whole[first..]));
    groups.extend(chunks(fraction));
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let value: u32 = group.parse().unwrap();
        let width = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4][group.len()];
        bytes.extend(&value.to_be_bytes()[4 - width..]);
    }
    bytes[0] ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    (bytes, format!("{sign}{whole}{point}{fraction}"))
}

fn chunks(digits: &str) -> impl Iterator<Item = &str> {
    (0..digits.len())
        .step_by(9)
        .map(|at| &digits[at..digits.len().min(at + 9)])
}

fn day(e: &mut Entropy<'_>) -> (u64, u64, u64) {
    (e.below(10_000), e.below(13), e.below(32))
}

fn clock(e: &mut Entropy<'_>) -> (u64, u64, u64) {
    (e.below(24), e.below(60), e.below(60))
}

/// Seconds since 1970 and their text, by way of another calendar.
fn moment(e: &mut Entropy<'_>) -> (u32, String) {
    let seconds = u32::try_from(e.number() >> 32).unwrap();
    if seconds == 0 {
        return (0, "0000-00-00 00:00:00".to_owned());
    }
    let at = jiff::Timestamp::from_second(i64::from(seconds)).unwrap();
    let text = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    (seconds, text)
}

/// A fraction's units, its text and how many bytes hold it.
fn fraction(decimals: u8, e: &mut Entropy<'_>) -> (u64, String, usize) {
    if decimals == 0 {
        return (0, String::new(), 0);
    }
    let width = usize::from(decimals);
    let value = e.below(10_u64.pow(u32::from(decimals)));
    // An odd number of digits is stored with a zero behind them.
    let units = if decimals % 2 == 1 { value * 10 } else { value };
    (units, format!(".{value:0width$}"), width.div_ceil(2))
}

/// Text of at most `length` bytes.
fn words(e: &mut Entropy<'_>, length: usize) -> String {
    let mut text = String::new();
    for _ in 0..e.small(40) {
        let letter =
            ['a', 'Z', '"', '\\', 'é', '日', '😀', '\n', '\u{1}', ' '][usize::from(e.small(10))];
        if text.len() + letter.len_utf8() <= length {
            text.push(letter);
        }
    }
    text
}

fn noise(e: &mut Entropy<'_>, length: usize) -> Vec<u8> {
    let n = usize::from(e.byte()).min(length);
    // Half of it is text.
    let mask = if e.byte() & 1 == 1 { 0xFF } else { 0x7F };
    (0..n).map(|_| e.byte() & mask).collect()
}

fn prefixed(width: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.len().to_le_bytes()[..usize::from(width)].to_vec();
    out.extend(bytes);
    out
}

fn document(e: &mut Entropy<'_>, depth: usize) -> serde_json::Value {
    use serde_json::Value as Json;
    match e.small(if depth < 4 { 8 } else { 6 }) {
        0 => Json::Null,
        1 => Json::Bool(e.byte() & 1 == 1),
        2 => e.number().into(),
        3 => e.number().cast_signed().into(),
        4 => (f64::from(i16::from_le_bytes([e.byte(), e.byte()])) / 4.0).into(),
        5 => words(e, 300).into(),
        6 => (0..e.small(5)).map(|_| document(e, depth + 1)).collect(),
        _ => (0..e.small(5))
            .map(|_| (words(e, 30), document(e, depth + 1)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// The document as SELECT prints it, with the keys in the order that the encoder
/// below writes them.
fn json_text(document: &serde_json::Value) -> String {
    use serde_json::Value as Json;
    match document {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(json_text).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", Json::from(key.as_str()), json_text(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// Type and bytes of a value in MySQL's binary JSON, always in the large format.
fn binary_json(document: &serde_json::Value) -> (u8, Vec<u8>) {
    use serde_json::Value as Json;
    match document {
        Json::Null => (4, vec![0]),
        Json::Bool(yes) => (4, vec![if *yes { 1 } else { 2 }]),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) if i16::try_from(number).is_ok() => {
                (5, number.to_le_bytes()[..2].to_vec())
            }
            (Some(number), _) if i32::try_from(number).is_ok() => {
                (7, number.to_le_bytes()[..4].to_vec())
            }
            (Some(number), _) => (9, number.to_le_bytes().to_vec()),
            (None, Some(number)) => (10, number.to_le_bytes().to_vec()),
            _ => (11, number.as_f64().unwrap().to_le_bytes().to_vec()),
        },
        Json::String(text) => {
            let mut bytes = Vec::new();
            let mut length = text.len();
            while length >= 0x80 {
                bytes.push(u8::try_from(length & 0x7F).unwrap() | 0x80);
                length >>= 7;
            }
            bytes.push(u8::try_from(length).unwrap());
            bytes.extend(text.as_bytes());
            (12, bytes)
        }
        Json::Array(items) => (3, container(&[], &items.iter().collect::<Vec<_>>())),
        Json::Object(fields) => {
            let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
            (1, container(&keys, &fields.values().collect::<Vec<_>>()))
        }
    }
}

fn container(keys: &[&str], values: &[&serde_json::Value]) -> Vec<u8> {
    let header = 8 + keys.len() * 6 + values.len() * 5;
    let mut entries = Vec::new();
    let mut heap = Vec::new();
    for key in keys {
        entries.extend(&(header + heap.len()).to_le_bytes()[..4]);
        entries.extend(&key.len().to_le_bytes()[..2]);
        heap.extend(key.as_bytes());
    }
    for value in values {
        let (kind, bytes) = binary_json(value);
        entries.push(kind);
        if matches!(kind, 4 | 5 | 7) {
            let mut inline = bytes;
            inline.resize(4, 0);
            entries.extend(inline);
        } else {
            entries.extend(&(header + heap.len()).to_le_bytes()[..4]);
            heap.extend(bytes);
        }
    }
    let mut out = values.len().to_le_bytes()[..4].to_vec();
    out.extend(&(header + heap.len()).to_le_bytes()[..4]);
    out.extend(entries);
    out.extend(heap);
    out
}

/// A cell: its bytes and its text, `None` for NULL.
pub type Cell = Option<(Vec<u8>, Vec<u8>)>;

/// A table, an event of it, and what the event's rows print as.
#[derive(Debug)]
pub struct Case {
    pub types: Vec<Type>,
    pub map: Vec<u8>,
    pub event_type: u8,
    pub event: Vec<u8>,
    pub before_present: Vec<bool>,
    pub after_present: Vec<bool>,
    pub rows: Vec<(Vec<Cell>, Vec<Cell>)>,
}

/// The case that `entropy` decides on.
pub fn case(entropy: &[u8]) -> Case {
    let e = &mut Entropy(entropy.iter());
    let types: Vec<Type> = (0..1 + e.small(20)).map(|_| column_type(e)).collect();
    let event_type = [23, 24, 25, 30, 31, 32][usize::from(e.small(6))];
    let mut present = || -> Vec<bool> {
        let partial = e.small(3) == 0;
        types
            .iter()
            .enumerate()
            // An event without any column has no bytes for its rows.
            .map(|(index, _)| index == 0 || !partial || e.byte() & 1 == 1)
            .collect()
    };
    let (before_present, after_present) = (present(), present());
    let image = |e: &mut Entropy<'_>| -> Vec<Cell> {
        types
            .iter()
            .map(|column| (e.small(5) > 0).then(|| column.value(e)))
            .collect()
    };
    let rows: Vec<_> = (0..e.small(5)).map(|_| (image(e), image(e))).collect();
    Case::new(types, event_type, before_present, after_present, rows)
}

impl Case {
    fn new(
        types: Vec<Type>,
        event_type: u8,
        before_present: Vec<bool>,
        after_present: Vec<bool>,
        rows: Vec<(Vec<Cell>, Vec<Cell>)>,
    ) -> Self {
        let mut event = 77_u64.to_le_bytes()[..6].to_vec();
        event.extend([1, 0]);
        if event_type >= 30 {
            event.extend([2, 0]);
        }
        event.push(u8::try_from(types.len()).unwrap());
        let has_before = !matches!(event_type, 23 | 30);
        let has_after = !matches!(event_type, 25 | 32);
        if has_before {
            event.extend(bitmap(&before_present));
        }
        if has_after {
            event.extend(bitmap(&after_present));
        }
        for (before, after) in &rows {
            if has_before {
                event.extend(encode_image(&before_present, before));
            }
            if has_after {
                event.extend(encode_image(&after_present, after));
            }
        }
        Self {
            map: table_map(&types, true),
            types,
            event_type,
            event,
            before_present,
            after_present,
            rows,
        }
    }

    /// The same rows in a table of one column, so that what a decoder cannot read
    /// hides no other column from it.
    pub fn alone(&self, index: usize) -> Self {
        let cell = |image: &[Cell]| vec![image[index].clone()];
        Self::new(
            vec![self.types[index].clone()],
            self.event_type,
            vec![true],
            vec![true],
            self.rows
                .iter()
                .map(|(before, after)| (cell(before), cell(after)))
                .collect(),
        )
    }
}

fn bitmap(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8)
        .map(|chunk| {
            chunk
                .iter()
                .enumerate()
                .fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at)
        })
        .collect()
}

fn encode_image(present: &[bool], cells: &[Cell]) -> Vec<u8> {
    let carried: Vec<&Cell> = cells
        .iter()
        .zip(present)
        .filter_map(|(cell, present)| present.then_some(cell))
        .collect();
    let nulls: Vec<bool> = carried.iter().map(|cell| cell.is_none()).collect();
    let mut out = bitmap(&nulls);
    for (bytes, _) in carried.into_iter().flatten() {
        out.extend(bytes);
    }
    out
}

fn lenenc(n: usize) -> Vec<u8> {
    match n {
        0..=250 => vec![u8::try_from(n).unwrap()],
        _ => {
            let mut out = vec![0xFD];
            out.extend(&n.to_le_bytes()[..3]);
            out
        }
    }
}

/// A table map, with a field that no server writes yet or without.
pub fn table_map(types: &[Type], later_field: bool) -> Vec<u8> {
    let mut out = 77_u64.to_le_bytes()[..6].to_vec();
    out.extend([1, 0]);
    out.extend(b"\x04shop\x00\x05items\x00");
    out.push(u8::try_from(types.len()).unwrap());
    out.extend(types.iter().map(|column| column.wire().0));
    let metadata: Vec<u8> = types.iter().flat_map(|column| column.wire().1).collect();
    out.extend(lenenc(metadata.len()));
    out.extend(metadata);
    out.extend(bitmap(&vec![true; types.len()]));

    let mut field = |code: u8, value: Vec<u8>| {
        out.push(code);
        out.extend(lenenc(value.len()));
        out.extend(value);
    };
    let signs: Vec<bool> = types
        .iter()
        .filter_map(|column| match column {
            Type::Int { unsigned, .. } => Some(*unsigned),
            Type::Float | Type::Double | Type::Decimal { .. } => Some(false),
            Type::Year => Some(true),
            _ => None,
        })
        .collect();
    let signs = bitmap(&signs).into_iter().map(u8::reverse_bits).collect();
    field(1, signs);
    field(3, types.iter().filter_map(Type::collation).collect());
    if later_field {
        field(200, b"unknown".to_vec());
    }
    let names = (0..types.len()).map(|index| format!("c{index}"));
    field(4, names.flat_map(|name| string(&name)).collect());
    let labels = |count: &usize| -> Vec<u8> {
        let mut out = lenenc(*count);
        out.extend((0..*count).flat_map(|index| string(&label(index))));
        out
    };
    let of = |wanted: fn(&Type) -> Option<&usize>| -> Vec<u8> {
        types.iter().filter_map(wanted).flat_map(labels).collect()
    };
    field(
        5,
        of(|column| match column {
            Type::Set(count) => Some(count),
            _ => None,
        }),
    );
    field(
        6,
        of(|column| match column {
            Type::Enum(count) => Some(count),
            _ => None,
        }),
    );
    field(8, vec![0]);
    field(10, vec![45]);
    out
}

fn string(text: &str) -> Vec<u8> {
    let mut out = lenenc(text.len());
    out.extend(text.as_bytes());
    out
}
