//! Two other decoders of row images, held against what a row prints as.
//!
//! What they hand on is put into the words of `SELECT` by the column's type alone,
//! with no line of our decoder, and has to be equal. Where they are known to read
//! something else, [`DIFFERENCES`] says what; they have to read exactly that.
//!
//! Generated rows and those that a real server writes are compared with it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql_async::Value as Raw;
use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::{
    Event, EventData, FormatDescriptionEvent, RowsEventData, TableMapEvent,
};
use mysql_async::binlog::jsonb;
use mysql_async::binlog::value::BinlogValue;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_cdc::events::row_events::mysql_value::MySqlValue as Cdc;

/// Whose reading is compared with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decoder {
    MysqlCommon,
    MysqlCdc,
}

/// A column, as far as the text of its values depends on it.
#[derive(Clone, Debug)]
pub struct Column {
    /// What its values are counted under.
    pub label: String,
    pub kind: Kind,
    /// The character set of its text and labels, where it has any.
    pub charset: String,
    /// How many digits ZEROFILL prints; 0 without it.
    pub zerofill: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Int {
        bytes: u32,
        unsigned: bool,
    },
    /// FLOAT and DOUBLE, of (M,D) the D.
    Float {
        decimals: Option<usize>,
    },
    Decimal,
    Year,
    Bit,
    Date,
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time {
        decimals: usize,
    },
    DateTime {
        decimals: usize,
    },
    Timestamp {
        decimals: usize,
    },
    /// CHAR and VARCHAR.
    Text,
    /// The TEXT types.
    LongText,
    /// BINARY of a length, VARBINARY.
    Binary {
        padded: usize,
    },
    /// The BLOB types and GEOMETRY.
    Blob,
    Enum(Vec<String>),
    Set(Vec<String>),
    Json,
    Vector,
}

/// One value of a row image.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// The image leaves the column out.
    Absent,
    /// The image holds a difference to the JSON before.
    Partial,
    Null,
    /// What `SELECT` prints, and of BIT the number.
    Text(Vec<u8>),
}

/// A row before and after its change.
pub type Images = [Option<Vec<Field>>; 2];

/// A known difference: what a decoder makes of some values of a kind.
struct Difference {
    decoder: Decoder,
    applies: fn(&Column, &[u8]) -> bool,
    /// The text that it reads in place of the right one; `None` where it reads
    /// nothing of the row (mysql_common 0.37.3) or of the event (mysql_cdc 0.2.1).
    reads: fn(&[u8]) -> Option<String>,
}

const DIFFERENCES: [Difference; 10] = [
    // The sign of MEDIUMINT is not extended.
    Difference {
        decoder: Decoder::MysqlCommon,
        applies: |column, text| {
            let mediumint = Kind::Int {
                bytes: 3,
                unsigned: false,
            };
            column.kind == mediumint && text.starts_with(b"-")
        },
        reads: |text| Some((number(text) + (1 << 24)).to_string()),
    },
    // The year 0000 is stored as 0, and other years since 1900.
    Difference {
        decoder: Decoder::MysqlCommon,
        applies: |column, text| matches!(column.kind, Kind::Year) && text == b"0000",
        reads: |_| Some("1900".to_owned()),
    },
    // One byte of fraction below zero overflows, and panics.
    Difference {
        decoder: Decoder::MysqlCommon,
        applies: |column, text| {
            matches!(column.kind, Kind::Time { decimals: 1 | 2 })
                && text.starts_with(b"-")
                && !fraction(text).iter().all(|digit| *digit == b'0')
        },
        reads: |_| None,
    },
    // TIME before 5.6 is read without its sign, and its hours as one byte.
    Difference {
        decoder: Decoder::MysqlCommon,
        applies: |column, text| {
            matches!(column.kind, Kind::OldTime) && (text.starts_with(b"-") || hours(text) > 255)
        },
        reads: |text| {
            let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b':').collect();
            let stored = number(&digits).rem_euclid(1 << 24);
            let (hours, clock) = (stored / 10_000 % 256, stored % 10_000);
            Some(format!("{hours:02}:{:02}:{:02}", clock / 100, clock % 100))
        },
    },
    // Seconds past 2038 are read as a signed number. The server stores none yet.
    Difference {
        decoder: Decoder::MysqlCommon,
        applies: |column, text| {
            matches!(column.kind, Kind::Timestamp { .. })
                && text >= b"2038-01-19 03:14:08".as_slice()
        },
        reads: |text| {
            let (whole, rest) = text.split_at(19);
            let moment: jiff::civil::DateTime = str::from_utf8(whole).unwrap().parse().unwrap();
            let moment = moment.saturating_sub(jiff::SignedDuration::from_secs(1 << 32));
            let fraction = str::from_utf8(rest).unwrap();
            Some(moment.strftime("%Y-%m-%d %H:%M:%S").to_string() + fraction)
        },
    },
    Difference {
        decoder: Decoder::MysqlCdc,
        applies: |column, text| matches!(column.kind, Kind::Year) && text == b"0000",
        reads: |_| Some("1900".to_owned()),
    },
    // It says so itself.
    Difference {
        decoder: Decoder::MysqlCdc,
        applies: |column, text| {
            matches!(column.kind, Kind::OldTime | Kind::Time { .. }) && text.starts_with(b"-")
        },
        reads: |_| None,
    },
    // Fractions are cut to milliseconds.
    Difference {
        decoder: Decoder::MysqlCdc,
        applies: |column, text| {
            matches!(
                column.kind,
                Kind::Time { decimals: 4.. }
                    | Kind::DateTime { decimals: 4.. }
                    | Kind::Timestamp { decimals: 4.. }
            ) && !text.starts_with(b"-")
        },
        reads: |text| {
            let text = str::from_utf8(text).unwrap();
            let (whole, fraction) = text.split_once('.').unwrap();
            let decimals = fraction.len();
            Some(format!("{whole}.{:0<decimals$}", &fraction[..3]))
        },
    },
    // CHAR and VARCHAR have to be UTF-8, whatever their set. No text of ours in
    // another set is, unless it is ASCII.
    Difference {
        decoder: Decoder::MysqlCdc,
        applies: |column, text| {
            column.kind == Kind::Text && !column.charset.starts_with("utf8") && !text.is_ascii()
        },
        reads: |_| None,
    },
    // So have BINARY and VARBINARY.
    Difference {
        decoder: Decoder::MysqlCdc,
        applies: |column, text| {
            matches!(column.kind, Kind::Binary { .. }) && str::from_utf8(text).is_err()
        },
        reads: |_| None,
    },
];

fn number(text: &[u8]) -> i64 {
    str::from_utf8(text).unwrap().parse().unwrap()
}

fn hours(text: &[u8]) -> i64 {
    number(text.split(|byte| *byte == b':').next().unwrap())
}

fn fraction(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'.').nth(1).unwrap_or_default()
}

/// What `decoder` has to read where the right text is `text`.
fn expected(decoder: Decoder, column: &Column, text: &[u8]) -> Option<Vec<u8>> {
    DIFFERENCES
        .iter()
        .find(|known| known.decoder == decoder && (known.applies)(column, text))
        .map_or_else(
            || Some(text.to_vec()),
            |known| (known.reads)(text).map(String::into_bytes),
        )
}

/// Whether `decoder` is known to fail at this value.
pub fn refuses(decoder: Decoder, column: &Column, text: &[u8]) -> bool {
    expected(decoder, column, text).is_none()
}

fn refuses_row(decoder: Decoder, columns: &[Column], images: &Images) -> bool {
    images.iter().flatten().any(|image| {
        columns
            .iter()
            .zip(image)
            .any(|(column, field)| match field {
                Field::Text(text) => refuses(decoder, column, text),
                _ => false,
            })
    })
}

/// How many values were found equal, NULL not counted.
#[derive(Debug, Default)]
pub struct Compared(pub BTreeMap<(Decoder, String), usize>);

impl Compared {
    fn value(&mut self, decoder: Decoder, column: &Column, field: &Field, theirs: Option<Vec<u8>>) {
        let Field::Text(text) = field else {
            assert_eq!(theirs, None, "{decoder:?}, {column:?}: {field:?}");
            return;
        };
        let theirs = theirs.unwrap_or_else(|| panic!("{decoder:?}, {column:?}: NULL"));
        let expected = expected(decoder, column, text).expect("a value that can be read");
        assert!(
            equal(column, &expected, &theirs),
            "{decoder:?}, {column:?}: {:?}, not {:?}",
            String::from_utf8_lossy(&theirs),
            String::from_utf8_lossy(&expected),
        );
        *self.0.entry((decoder, column.label.clone())).or_default() += 1;
    }
}

fn equal(column: &Column, expected: &[u8], theirs: &[u8]) -> bool {
    // Where the digits of these end is the server's affair: the number has to
    // be the same.
    if matches!(column.kind, Kind::Float { decimals: None }) {
        let number = |text: &[u8]| -> u64 {
            let text = str::from_utf8(text).unwrap();
            // ZEROFILL puts its zeros before the sign of a negative zero.
            let zeros = text.split('-').next().unwrap_or_default();
            let filled = zeros.len() < text.len() && zeros.bytes().all(|zero| zero == b'0');
            let text = if filled { &text[zeros.len()..] } else { text };
            text.parse::<f64>().unwrap().to_bits()
        };
        return expected.len() >= column.zerofill && number(expected) == number(theirs);
    }
    let missing = column.zerofill.saturating_sub(theirs.len());
    expected == [&b"0".repeat(missing), theirs].concat()
}

/// Compares the rows of one event with what mysql_common reads of it.
pub fn check_mysql_common(
    columns: &[Column],
    rows: &[Images],
    map: &TableMapEvent<'_>,
    event: &RowsEventData<'_>,
    compared: &mut Compared,
) {
    let decoder = Decoder::MysqlCommon;
    let mut theirs = event.rows(map);
    for images in rows {
        let read = catch_unwind(AssertUnwindSafe(|| theirs.next()));
        let refused = refuses_row(decoder, columns, images);
        assert_eq!(read.is_err(), refused, "{columns:?}: {images:?}");
        let Ok(read) = read else { return };
        let (before, after) = read.expect("as many rows as there are").unwrap();
        for (image, row) in images.iter().zip([before, after]) {
            assert_eq!(image.is_some(), row.is_some());
            let (Some(image), Some(row)) = (image, row) else {
                continue;
            };
            // It leaves out what the image does.
            let mut values = (0..row.len()).map(|at| row.as_ref(at).unwrap());
            for (field, column) in image.iter().zip(columns) {
                if *field == Field::Absent {
                    continue;
                }
                let value = values.next().expect("as many values as there are");
                if *field == Field::Partial {
                    assert!(matches!(value, BinlogValue::JsonDiff(_)), "{value:?}");
                } else {
                    compared.value(decoder, column, field, of_mysql_common(column, value));
                }
            }
            assert!(values.next().is_none());
        }
    }
    assert!(theirs.next().is_none());
}

/// Whether mysql_cdc cannot read the table's map, and so no row of it: it has to
/// know every type, and what labels the map holds have to be UTF-8.
pub fn refuses_map(columns: &[Column], has_labels: bool) -> bool {
    columns.iter().any(|column| match &column.kind {
        Kind::Vector => true,
        Kind::Enum(labels) | Kind::Set(labels) => {
            let is_utf8 = column.charset.starts_with("utf8");
            has_labels && !is_utf8 && !labels.iter().all(|label| label.is_ascii())
        }
        _ => false,
    })
}

/// mysql_cdc, which remembers the table maps that it read.
pub struct MysqlCdc(EventParser);

impl MysqlCdc {
    pub fn new() -> Self {
        Self(EventParser::new())
    }

    fn read(&mut self, event_type: u8, body: &[u8]) -> Option<BinlogEvent> {
        let header = EventHeader {
            timestamp: 0,
            event_type,
            server_id: 1,
            event_length: 0,
            next_event_position: 0,
            event_flags: 0,
        };
        self.0.parse_event(&header, body).ok()
    }

    /// Reads a table map, and says whether it could.
    pub fn map(&mut self, columns: &[Column], has_labels: bool, body: &[u8]) -> bool {
        let read = self.read(19, body).is_some();
        assert_eq!(read, !refuses_map(columns, has_labels), "{columns:?}");
        read
    }

    /// Compares the rows of one event of a table whose map it could read.
    pub fn check(
        &mut self,
        columns: &[Column],
        rows: &[Images],
        event_type: u8,
        body: &[u8],
        compared: &mut Compared,
    ) {
        let decoder = Decoder::MysqlCdc;
        let event = self.read(event_type, body);
        let refused = rows
            .iter()
            .any(|images| refuses_row(decoder, columns, images));
        assert_eq!(event.is_none(), refused, "{columns:?}: {rows:?}");
        let theirs: Vec<[Option<Vec<Option<Cdc>>>; 2]> = match event {
            None => return,
            Some(BinlogEvent::WriteRowsEvent(event)) => event
                .rows
                .into_iter()
                .map(|row| [None, Some(row.cells)])
                .collect(),
            Some(BinlogEvent::DeleteRowsEvent(event)) => event
                .rows
                .into_iter()
                .map(|row| [Some(row.cells), None])
                .collect(),
            Some(BinlogEvent::UpdateRowsEvent(event)) => {
                let both = event.rows.into_iter();
                both.map(|row| [Some(row.before_update.cells), Some(row.after_update.cells)])
                    .collect()
            }
            Some(other) => panic!("no rows: {other:?}"),
        };
        assert_eq!(theirs.len(), rows.len());
        for (images, theirs) in rows.iter().zip(theirs) {
            for (image, theirs) in images.iter().zip(theirs) {
                assert_eq!(image.is_some(), theirs.is_some());
                let (Some(image), Some(theirs)) = (image, theirs) else {
                    continue;
                };
                assert_eq!(image.len(), theirs.len());
                // What is absent it takes for NULL.
                for ((field, column), value) in image.iter().zip(columns).zip(theirs) {
                    let text = value.map(|value| of_mysql_cdc(column, value));
                    compared.value(decoder, column, field, text);
                }
            }
        }
    }
}

/// The text of a value that mysql_common read.
fn of_mysql_common(column: &Column, value: &BinlogValue<'_>) -> Option<Vec<u8>> {
    let value = match (value, &column.kind) {
        (BinlogValue::Jsonb(document), Kind::Json) => {
            return Some(json_text(document).into_bytes());
        }
        (BinlogValue::Value(value), _) => value,
        _ => panic!("{column:?}: {value:?}"),
    };
    let text = match (&column.kind, value) {
        (_, Raw::NULL) => return None,
        (Kind::Int { .. }, Raw::Int(number)) => number.to_string(),
        (Kind::Int { .. }, Raw::UInt(number)) => number.to_string(),
        (Kind::Float { decimals }, Raw::Float(number)) => float(*number, *decimals),
        (Kind::Float { decimals }, Raw::Double(number)) => double(*number, *decimals),
        (Kind::Date, Raw::Date(year, month, day, 0, 0, 0, 0)) => date(*year, *month, *day),
        (
            Kind::DateTime { .. } | Kind::OldDateTime,
            Raw::Date(year, month, day, hours, minutes, seconds, micros),
        ) => {
            let clock = clock((*hours).into(), *minutes, *seconds);
            date(*year, *month, *day) + " " + &clock + &fraction_of(&column.kind, *micros)
        }
        (
            Kind::Time { .. } | Kind::OldTime,
            Raw::Time(negative, days, hours, minutes, seconds, micros),
        ) => {
            let sign = if *negative { "-" } else { "" };
            let clock = clock(days * 24 + u32::from(*hours), *minutes, *seconds);
            sign.to_owned() + &clock + &fraction_of(&column.kind, *micros)
        }
        (Kind::OldTimestamp, Raw::Int(seconds)) => moment(*seconds),
        (Kind::Timestamp { .. }, Raw::Bytes(text)) => {
            let text = str::from_utf8(text).unwrap();
            let (seconds, micros) = text.split_once('.').unwrap_or((text, "0"));
            moment(seconds.parse().unwrap()) + &fraction_of(&column.kind, micros.parse().unwrap())
        }
        (Kind::Enum(labels), Raw::Int(index)) => label(labels, (*index).try_into().unwrap()),
        (Kind::Set(labels), Raw::Bytes(bits)) => {
            let mut wide = [0; 8];
            wide[..bits.len()].copy_from_slice(bits);
            chosen(labels, u64::from_le_bytes(wide))
        }
        (Kind::Bit, Raw::Bytes(bytes)) => {
            let number = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
            bytes.iter().fold(0, number).to_string()
        }
        (
            Kind::Decimal
            | Kind::Year
            | Kind::Text
            | Kind::LongText
            | Kind::Binary { .. }
            | Kind::Blob
            | Kind::Vector,
            Raw::Bytes(bytes),
        ) => return Some(of_bytes(column, bytes.clone())),
        (kind, value) => panic!("{kind:?}: {value:?}"),
    };
    Some(text.into_bytes())
}

/// The text of a value that mysql_cdc read. Its integers have no sign.
fn of_mysql_cdc(column: &Column, value: Cdc) -> Vec<u8> {
    let kind = &column.kind;
    let text = match (kind, value) {
        (Kind::Int { .. }, Cdc::TinyInt(number)) => integer(kind, number.into()),
        (Kind::Int { .. }, Cdc::SmallInt(number)) => integer(kind, number.into()),
        (Kind::Int { .. }, Cdc::MediumInt(number) | Cdc::Int(number)) => {
            integer(kind, number.into())
        }
        (Kind::Int { .. }, Cdc::BigInt(number)) => integer(kind, number),
        (Kind::Float { decimals }, Cdc::Float(number)) => float(number, *decimals),
        (Kind::Float { decimals }, Cdc::Double(number)) => double(number, *decimals),
        (Kind::Decimal, Cdc::Decimal(text)) => text,
        (Kind::Year, Cdc::Year(year)) => year.to_string(),
        (Kind::Bit, Cdc::Bit(bits)) => {
            // The highest comes first.
            let number = |number: u64, bit: &bool| number << 1 | u64::from(*bit);
            bits.iter().fold(0, number).to_string()
        }
        (Kind::Date, Cdc::Date(at)) => date(at.year, at.month, at.day),
        (Kind::Time { .. } | Kind::OldTime, Cdc::Time(at)) => {
            clock(at.hour.try_into().unwrap(), at.minute, at.second)
                + &fraction_of(kind, at.millis * 1000)
        }
        (Kind::DateTime { .. } | Kind::OldDateTime, Cdc::DateTime(at)) => {
            date(at.year, at.month, at.day)
                + " "
                + &clock(at.hour.into(), at.minute, at.second)
                + &fraction_of(kind, at.millis * 1000)
        }
        (Kind::Timestamp { .. } | Kind::OldTimestamp, Cdc::Timestamp(millis)) => {
            let micros = u32::try_from(millis % 1000).unwrap() * 1000;
            moment((millis / 1000).cast_signed()) + &fraction_of(kind, micros)
        }
        (Kind::Enum(labels), Cdc::Enum(index)) => label(labels, index.try_into().unwrap()),
        (Kind::Set(labels), Cdc::Set(bits)) => chosen(labels, bits),
        (Kind::Text | Kind::Binary { .. }, Cdc::String(text)) => {
            return of_bytes(column, text.into_bytes());
        }
        (Kind::LongText | Kind::Blob, Cdc::Blob(bytes)) => return of_bytes(column, bytes),
        // It leaves the document as it is, for the other decoder to read.
        (Kind::Json, Cdc::Blob(document)) => {
            let map = foreign(19, b"\x01\0\0\0\0\0\x01\0\0\0\0\0\x01\xF5\x01\x04\x01");
            let map = map.read_event::<TableMapEvent<'_>>().unwrap();
            let mut insert = b"\x01\0\0\0\0\0\x01\0\x02\0\x01\x01\0".to_vec();
            insert.extend(&document.len().to_le_bytes()[..4]);
            insert.extend(document);
            let insert = foreign(30, &insert);
            let Some(EventData::RowsEvent(insert)) = insert.read_data().unwrap() else {
                panic!("no rows event")
            };
            let (_, row) = insert.rows(&map).next().unwrap().unwrap();
            return of_mysql_common(column, row.unwrap().as_ref(0).unwrap()).unwrap();
        }
        (kind, value) => panic!("{kind:?}: {value:?}"),
    };
    text.into_bytes()
}

/// The event behind a header, as mysql_common reads it.
pub fn foreign(event_type: u8, body: &[u8]) -> Event {
    let mut bytes = vec![0; 4];
    bytes.push(event_type);
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(&(19 + body.len()).to_le_bytes()[..4]);
    bytes.extend([0; 6]);
    bytes.extend(body);
    let description = FormatDescriptionEvent::new(BinlogVersion::Version4);
    Event::read(&description, bytes.as_slice()).unwrap()
}

fn integer(kind: &Kind, raw: u64) -> String {
    match kind {
        Kind::Int {
            bytes,
            unsigned: false,
        } => {
            let unused = 64 - 8 * bytes;
            ((raw << unused).cast_signed() >> unused).to_string()
        }
        _ => raw.to_string(),
    }
}

/// FLOAT prints 6 digits and DOUBLE as many as it takes; with (M,D) both print D
/// behind the point.
fn float(number: f32, decimals: Option<usize>) -> String {
    match decimals {
        Some(decimals) => format!("{number:.decimals$}"),
        None => format!("{number:.5e}"),
    }
}

fn double(number: f64, decimals: Option<usize>) -> String {
    match decimals {
        Some(decimals) => format!("{number:.decimals$}"),
        None => format!("{number:e}"),
    }
}

fn date(year: u16, month: u8, day: u8) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

fn clock(hours: u32, minutes: u8, seconds: u8) -> String {
    format!("{hours:02}:{minutes:02}:{seconds:02}")
}

/// The column's digits of `micros`, which has no more.
fn fraction_of(kind: &Kind, micros: u32) -> String {
    let decimals = match kind {
        Kind::Time { decimals } | Kind::DateTime { decimals } | Kind::Timestamp { decimals } => {
            *decimals
        }
        _ => 0,
    };
    let digits = format!("{micros:06}");
    let (kept, rest) = digits.split_at(decimals);
    assert!(
        rest.bytes().all(|digit| digit == b'0'),
        "{kind:?}: {micros}"
    );
    if kept.is_empty() {
        String::new()
    } else {
        format!(".{kept}")
    }
}

/// Seconds since 1970; none at all is the zero date.
fn moment(seconds: i64) -> String {
    if seconds == 0 {
        return "0000-00-00 00:00:00".to_owned();
    }
    let at = jiff::Timestamp::from_second(seconds).unwrap();
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn label(labels: &[String], index: usize) -> String {
    match index {
        0 => String::new(),
        index => labels[index - 1].clone(),
    }
}

fn chosen(labels: &[String], bits: u64) -> String {
    assert!(labels.len() == 64 || bits >> labels.len() == 0);
    let set = labels
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1);
    let set: Vec<&str> = set.map(|(_, label)| label.as_str()).collect();
    set.join(",")
}

fn of_bytes(column: &Column, mut bytes: Vec<u8>) -> Vec<u8> {
    match &column.kind {
        Kind::Text | Kind::LongText => in_utf8(&column.charset, bytes),
        Kind::Binary { padded } => {
            bytes.resize(bytes.len().max(*padded), 0);
            bytes
        }
        _ => bytes,
    }
}

fn in_utf8(charset: &str, bytes: Vec<u8>) -> Vec<u8> {
    let encoding = match charset {
        "utf8mb4" | "utf8mb3" | "ascii" => return bytes,
        "utf16" | "ucs2" => encoding_rs::UTF_16BE,
        "utf16le" => encoding_rs::UTF_16LE,
        "latin1" => encoding_rs::WINDOWS_1252,
        "latin5" => encoding_rs::WINDOWS_1254,
        "macroman" => encoding_rs::MACINTOSH,
        "cp1251" => encoding_rs::WINDOWS_1251,
        "sjis" => encoding_rs::SHIFT_JIS,
        "euckr" => encoding_rs::EUC_KR,
        "gbk" => encoding_rs::GBK,
        "gb18030" => encoding_rs::GB18030,
        "utf32" => {
            let (letters, rest) = bytes.as_chunks::<4>();
            assert!(rest.is_empty());
            let letter = |bytes: &[u8; 4]| char::from_u32(u32::from_be_bytes(*bytes)).unwrap();
            return letters.iter().map(letter).collect::<String>().into_bytes();
        }
        _ => panic!("no conversion from {charset}"),
    };
    let (text, _) = encoding.decode_without_bom_handling(&bytes);
    text.into_owned().into_bytes()
}

/// A document in its own order, as `SELECT` prints it.
fn json_text(document: &jsonb::Value<'_>) -> String {
    use jsonb::Value as Json;
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let fields = |items: Vec<String>| format!("{{{}}}", items.join(", "));
    match document {
        Json::Null => "null".to_owned(),
        Json::Bool(yes) => yes.to_string(),
        Json::I16(number) => number.to_string(),
        Json::U16(number) => number.to_string(),
        Json::I32(number) => number.to_string(),
        Json::U32(number) => number.to_string(),
        Json::I64(number) => number.to_string(),
        Json::U64(number) => number.to_string(),
        Json::F64(number) => json_double(*number),
        Json::String(text) => quoted(&text.str()),
        Json::SmallArray(items) => {
            list(items.iter().map(|item| json_text(&item.unwrap())).collect())
        }
        Json::LargeArray(items) => {
            list(items.iter().map(|item| json_text(&item.unwrap())).collect())
        }
        Json::SmallObject(items) => fields(
            items
                .iter()
                .map(|item| item.unwrap())
                .map(|(key, value)| format!("{}: {}", quoted(&key.value()), json_text(&value)))
                .collect(),
        ),
        Json::LargeObject(items) => fields(
            items
                .iter()
                .map(|item| item.unwrap())
                .map(|(key, value)| format!("{}: {}", quoted(&key.value()), json_text(&value)))
                .collect(),
        ),
        Json::Opaque(_) => match document.clone().parse().unwrap() {
            jsonb::JsonDom::Scalar(jsonb::JsonScalar::DateTime(at)) => quoted(&format!("{at:.6}")),
            jsonb::JsonDom::Scalar(jsonb::JsonScalar::Number(jsonb::JsonNumber::Decimal(
                number,
            ))) => number.to_string(),
            jsonb::JsonDom::Scalar(jsonb::JsonScalar::Opaque(bytes)) => {
                // The server breaks lines of base64.
                let text = bytes.to_string();
                let (kind, digits) = text.rsplit_once(':').unwrap();
                let lines: Vec<&str> = digits
                    .as_bytes()
                    .chunks(76)
                    .map(|line| str::from_utf8(line).unwrap())
                    .collect();
                quoted(&format!("{kind}:{}", lines.join("\n")))
            }
            other => panic!("not opaque: {other:?}"),
        },
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Plain from 15 zeros behind the point to 15 digits before it.
fn json_double(number: f64) -> String {
    let text = format!("{number:e}");
    let (_, exponent) = text.split_once('e').unwrap();
    match exponent.parse::<i32>().unwrap() {
        -15..15 => {
            let plain = number.to_string();
            let point = if plain.contains('.') { "" } else { ".0" };
            plain + point
        }
        _ => text,
    }
}
