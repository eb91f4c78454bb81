use std::sync::Arc;

use super::decoder::RowDecoder;
use crate::binlog::decode::error::{DecodeError, ValueError};
use crate::binlog::decode::layout::TableLayout;
use crate::binlog::decode::rows::RowsEvent;
use crate::binlog::decode::table_map::TableMap;
use crate::binlog::events::event_type::{ROWS_QUERY, WRITE_ROWS};
use crate::model::Value;

/// `shop.items (id TINYINT, day DATE)` with names.
const MAP: &[u8] =
    b"\x07\0\0\0\0\0\x01\0\x04shop\0\x05items\0\x02\x01\x0A\0\x03\x01\x01\0\x04\x07\x02id\x03day";

fn decoder(projection: &[usize]) -> RowDecoder {
    let map = TableMap::parse(MAP).unwrap();
    RowDecoder::new(Arc::new(TableLayout::new(&map, None).unwrap()), projection)
}

fn insert(present: u8, rows: &[u8]) -> Vec<u8> {
    let mut event = b"\x07\0\0\0\0\0\x01\0\x02\0\x02".to_vec();
    event.push(present);
    event.extend(rows);
    event
}

#[test]
fn a_damaged_value_leaves_the_rows_behind_it_readable() {
    // Month 15 in the first row.
    let event = insert(3, &[0, 1, 0xE1, 0xD1, 0x0F, 0, 2, 0x21, 0xD0, 0x0F]);
    let decoder = decoder(&[0, 1]);
    let mut rows = decoder
        .rows(RowsEvent::parse(WRITE_ROWS, &event).unwrap())
        .unwrap();
    assert_eq!(
        rows.next_row().unwrap_err(),
        DecodeError::Value {
            column: "day".into(),
            problem: ValueError::Temporal
        }
    );
    let row = rows.next_row().unwrap().unwrap();
    assert_eq!(row.after.unwrap().first(), Some(&Value::Int(2)));
    assert!(rows.next_row().unwrap().is_none());
}

/// `shop.items (slug VARCHAR(10), day DATE)`, the slug in utf8mb4.
const TEXT_MAP: &[u8] = b"\x07\0\0\0\0\0\x01\0\x04shop\0\x05items\0\x02\x0F\x0A\x02\x28\0\x03\x02\x01\x2D\x04\x09\x04slug\x03day";

#[test]
fn text_that_cannot_be_converted_leaves_its_value_unknown_and_nothing_else() {
    let map = TableMap::parse(TEXT_MAP).unwrap();
    let layout = Arc::new(TableLayout::new(&map, None).unwrap());
    let decoder = RowDecoder::new(layout, &[0, 1]);
    let text = DecodeError::Value {
        column: "slug".into(),
        problem: ValueError::Text,
    };
    let rows = [0, 1, b'a', 0x21, 0xD0, 0x0F, 0, 1, 0xE9, 0x21, 0xD0, 0x0F];
    let event = insert(3, &rows);
    let mut rows = decoder
        .rows(RowsEvent::parse(WRITE_ROWS, &event).unwrap())
        .unwrap();
    rows.next_row().unwrap().unwrap();
    assert_eq!(rows.undecodable(), None);
    let row = rows.next_row().unwrap().unwrap();
    let after = row.after.unwrap();
    assert_eq!(after.first(), Some(&Value::Undecodable(b"\xE9")));
    assert!(matches!(after.last(), Some(Value::Date(_))));
    assert_eq!(rows.undecodable(), Some(&text));
    // Month 15: it may be that nothing of the row is what it seems.
    let event = insert(3, &[0, 1, 0xE9, 0xE1, 0xD1, 0x0F]);
    let mut rows = decoder
        .rows(RowsEvent::parse(WRITE_ROWS, &event).unwrap())
        .unwrap();
    assert!(matches!(
        rows.next_row(),
        Err(DecodeError::Value {
            problem: ValueError::Temporal,
            ..
        })
    ));
}

#[test]
fn a_damaged_value_that_nobody_wants_is_not_looked_at() {
    let event = insert(3, &[0, 1, 0xE1, 0xD1, 0x0F]);
    let decoder = decoder(&[0]);
    let mut rows = decoder
        .rows(RowsEvent::parse(WRITE_ROWS, &event).unwrap())
        .unwrap();
    let row = rows.next_row().unwrap().unwrap();
    assert_eq!(row.after, Some(&[Value::Int(1)][..]));
}

#[test]
fn a_cut_row_ends_the_event_with_an_error() {
    let event = insert(3, &[0, 1, 0xE1]);
    let decoder = decoder(&[]);
    let mut rows = decoder
        .rows(RowsEvent::parse(WRITE_ROWS, &event).unwrap())
        .unwrap();
    assert!(matches!(
        rows.next_row(),
        Err(DecodeError::Truncated { .. })
    ));
    assert!(rows.next_row().unwrap().is_none());
}

#[test]
fn an_insert_of_nothing_but_defaults_is_one_row_of_unknown_values() {
    let event = insert(0, &[]);
    let decoder = decoder(&[0]);
    let mut rows = decoder
        .rows(RowsEvent::parse(WRITE_ROWS, &event).unwrap())
        .unwrap();
    let row = rows.next_row().unwrap().unwrap();
    assert_eq!(row.after, Some(&[Value::Absent][..]));
    assert!(rows.next_row().unwrap().is_none());
    let event = insert(0, &[9]);
    let mut rows = decoder
        .rows(RowsEvent::parse(WRITE_ROWS, &event).unwrap())
        .unwrap();
    assert!(matches!(
        rows.next_row(),
        Err(DecodeError::Malformed { .. })
    ));
    assert!(rows.next_row().unwrap().is_none());
}

#[test]
fn an_event_of_another_layout_is_refused() {
    let event = b"\x07\0\0\0\0\0\x01\0\x02\0\x03\x07";
    let decoder = decoder(&[0]);
    assert_eq!(
        decoder
            .rows(RowsEvent::parse(WRITE_ROWS, event).unwrap())
            .unwrap_err(),
        DecodeError::ColumnCount {
            layout: 2,
            event: 3
        }
    );
    assert!(matches!(
        RowsEvent::parse(ROWS_QUERY, event),
        Err(DecodeError::UnexpectedEvent {
            event_type: ROWS_QUERY
        })
    ));
}
