//! Other decoders, reading the same bytes.

use std::collections::BTreeMap;
use std::io::Write as _;

use evictd::model::{TableSchema, Value};
use mysql_async::Value as Raw;
use mysql_async::binlog::events::Event;
use mysql_async::binlog::row::BinlogRow;
use mysql_async::binlog::value::BinlogValue;

use super::Printed;
use super::corpus::Sample;

/// How much was compared.
#[derive(Debug, Default)]
pub struct Counts {
    /// Values that mysql_common reads as we do.
    pub mysql_common_same: usize,
    /// Values that it hands on raw: labels by number, text in its own set.
    pub mysql_common_raw: usize,
    /// Rows that it could not read.
    pub mysql_common_failed: usize,
    /// Values that mysql_cdc reads as SELECT prints them.
    pub mysql_cdc_same: usize,
    /// Values that it reads in another way: signs, padding, milliseconds.
    pub mysql_cdc_raw: usize,
}

/// Compares one image. Both skip absent columns, mysql_common by leaving them
/// out.
pub fn mysql_common_agrees(
    schema: &TableSchema,
    ours: Option<&[Value<'_>]>,
    theirs: Option<&BinlogRow>,
    counts: &mut Counts,
) {
    assert_eq!(ours.is_some(), theirs.is_some());
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return;
    };
    let partial = |value: &BinlogValue<'_>| matches!(value, BinlogValue::JsonDiff(_));
    let mut at = 0;
    for (value, column) in ours.iter().zip(&schema.columns) {
        let other = theirs.as_ref(at);
        if value.is_absent() || *value == Value::Partial {
            // A partially updated JSON column is absent here and a difference
            // there; it stands in its own place among theirs.
            let same_name = theirs
                .columns_ref()
                .get(at)
                .is_some_and(|theirs| theirs.name_str() == *column.name);
            at += usize::from(same_name && other.is_some_and(partial));
            continue;
        }
        at += 1;
        let other = other.unwrap();
        if same(value, other) {
            counts.mysql_common_same += 1;
        } else {
            assert!(
                raw(value, other),
                "{}: ours {value:?}, mysql_common's {other:?}",
                column.name
            );
            counts.mysql_common_raw += 1;
        }
    }
    assert_eq!(at, theirs.len());
}

fn same(ours: &Value<'_>, theirs: &BinlogValue<'_>) -> bool {
    let theirs = match theirs {
        BinlogValue::Value(value) => value,
        BinlogValue::Jsonb(json) => {
            let Value::Text(text) = ours else {
                return false;
            };
            let Ok(theirs) = serde_json::Value::try_from(json.clone()) else {
                return false;
            };
            return serde_json::from_str::<serde_json::Value>(text)
                .is_ok_and(|ours| ours == theirs);
        }
        BinlogValue::JsonDiff(_) => return false,
    };
    let mut text = Vec::new();
    ours.write_text(&mut text);
    match (ours, theirs) {
        (Value::Null, Raw::NULL) => true,
        (Value::Int(ours), Raw::Int(theirs)) => ours == theirs,
        (Value::UInt(ours), Raw::UInt(theirs)) => ours == theirs,
        (Value::UInt(ours), Raw::Int(theirs)) => i64::try_from(*ours) == Ok(*theirs),
        (Value::Float(ours), Raw::Float(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Value::Double(ours), Raw::Double(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Value::Date(ours), Raw::Date(year, month, day, 0, 0, 0, 0)) => {
            (ours.year, ours.month, ours.day) == (*year, *month, *day)
        }
        (Value::DateTime(ours), Raw::Date(year, month, day, hours, minutes, seconds, micros)) => {
            (ours.date.year, ours.date.month, ours.date.day) == (*year, *month, *day)
                && (ours.hours, ours.minutes, ours.seconds, ours.micros)
                    == (*hours, *minutes, *seconds, *micros)
        }
        (Value::DateTime(ours), Raw::Bytes(seconds)) => {
            let seconds = std::str::from_utf8(seconds).unwrap();
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            let moment = jiff::Timestamp::from_second(whole.parse().unwrap()).unwrap();
            let moment = moment.to_zoned(jiff::tz::TimeZone::UTC);
            let ours_at = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                ours.date.year,
                ours.date.month,
                ours.date.day,
                ours.hours,
                ours.minutes,
                ours.seconds
            );
            // mysql_common reads the zero date as the epoch.
            let theirs_at = match whole {
                "0" => "0000-00-00T00:00:00".to_owned(),
                _ => moment.datetime().to_string(),
            };
            ours_at == theirs_at && fraction.parse() == Ok(ours.micros)
        }
        (Value::Time(ours), Raw::Time(negative, days, hours, minutes, seconds, micros)) => {
            u32::from(ours.hours) == days * 24 + u32::from(*hours)
                && (ours.minutes, ours.seconds, ours.micros) == (*minutes, *seconds, *micros)
                && ours.negative == *negative
        }
        (Value::Text(_) | Value::Bytes(_) | Value::UInt(_), Raw::Bytes(theirs)) => text == *theirs,
        _ => false,
    }
}

/// What mysql_common leaves to its caller.
fn raw(ours: &Value<'_>, theirs: &BinlogValue<'_>) -> bool {
    match (ours, theirs) {
        // ENUM numbers, SET bits, text in its own set, ZEROFILL, FLOAT(M,D),
        // and the year 0, which it reads as 1900.
        (Value::Text(_), BinlogValue::Value(_)) => true,
        // A negative MEDIUMINT, whose sign it does not extend.
        (Value::Int(ours), BinlogValue::Value(Raw::Int(theirs))) => *theirs - *ours == 1 << 24,
        // BINARY(n) before its padding.
        (Value::Bytes(ours), BinlogValue::Value(Raw::Bytes(theirs))) => ours
            .strip_prefix(theirs.as_slice())
            .is_some_and(|padding| padding.iter().all(|byte| *byte == 0)),
        // JSON that serde_json holds otherwise: opaque values, doubles.
        (Value::Text(_), BinlogValue::Jsonb(_)) => true,
        _ => false,
    }
}

/// Writes the events of the tables that mysql_cdc knows the types of to a binlog
/// file and compares what it reads from there.
pub fn mysql_cdc_agrees(
    events: &[Event],
    expected: &BTreeMap<String, Vec<Printed>>,
    tables: &[(String, Sample)],
    counts: &mut Counts,
) {
    use mysql_cdc::events::binlog_event::BinlogEvent;

    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0xFE, b'b', b'i', b'n']).unwrap();
    let known = |table: &str| {
        let (_, sample) = tables.iter().find(|(name, _)| name == table).unwrap();
        [
            "JSON",
            "VECTOR",
            "GEOMETRY",
            "POINT",
            "utf16",
            "utf32",
            "ucs2",
            "CHARACTER SET",
        ]
        .iter()
        .all(|word| !sample.column_type.contains(word))
    };
    let mut wanted = false;
    for event in events {
        let kind = super::event_type(event);
        if kind == super::TABLE_MAP_EVENT {
            let map = evictd::binlog::table_map::TableMap::parse(event.data()).unwrap();
            wanted = map.schema == super::DATABASE && known(map.table);
        }
        let rows = matches!(kind, 19 | 30..=32);
        if kind == super::FORMAT_DESCRIPTION_EVENT || (rows && wanted) {
            event
                .write(mysql_async::binlog::BinlogVersion::Version4, &mut file)
                .unwrap();
        }
    }
    file.flush().unwrap();

    let reader = mysql_cdc::binlog_reader::BinlogReader::new(file.reopen().unwrap()).unwrap();
    let mut names = BTreeMap::new();
    for event in reader.read_events() {
        let Ok((_, event)) = event else {
            counts.mysql_cdc_raw += 1;
            continue;
        };
        match event {
            BinlogEvent::TableMapEvent(map) => {
                names.insert(map.table_id, map.table_name);
            }
            BinlogEvent::WriteRowsEvent(event) => {
                let expected = &expected[&names[&event.table_id]];
                for row in &event.rows {
                    let Some(mysql_cdc::events::row_events::mysql_value::MySqlValue::Int(id)) =
                        &row.cells[0]
                    else {
                        panic!("no id")
                    };
                    let printed = &expected[*id as usize];
                    match (cdc_text(&row.cells[1]), &printed[1]) {
                        (Some(text), printed) if text.as_ref() == printed.as_ref() => {
                            counts.mysql_cdc_same += 1;
                        }
                        _ => counts.mysql_cdc_raw += 1,
                    }
                }
            }
            _ => {}
        }
    }
}

/// A cell as text; the outer `None` for what has no plain text.
fn cdc_text(
    cell: &Option<mysql_cdc::events::row_events::mysql_value::MySqlValue>,
) -> Option<Option<Vec<u8>>> {
    use mysql_cdc::events::row_events::mysql_value::MySqlValue as Cdc;
    let text = match cell {
        None => return Some(None),
        Some(Cdc::TinyInt(n)) => n.to_string(),
        Some(Cdc::SmallInt(n)) => n.to_string(),
        Some(Cdc::MediumInt(n) | Cdc::Int(n)) => n.to_string(),
        Some(Cdc::BigInt(n)) => n.to_string(),
        Some(Cdc::Decimal(text) | Cdc::String(text)) => text.clone(),
        Some(Cdc::Blob(bytes)) => return Some(Some(bytes.clone())),
        Some(Cdc::Year(year)) => year.to_string(),
        Some(Cdc::Date(date)) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
        Some(Cdc::DateTime(at)) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            at.year, at.month, at.day, at.hour, at.minute, at.second
        ),
        Some(_) => return None,
    };
    Some(Some(text.into_bytes()))
}
