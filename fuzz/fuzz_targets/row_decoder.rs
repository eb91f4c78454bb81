//! Any bytes as a table map and a rows event: decode every column and print
//! every value.
//!
//! The input is a byte of event type, two bytes of length, so many bytes of table
//! map, and the rows event.

#![no_main]

use std::sync::Arc;

use evictd::binlog::decode::layout::{CatalogColumn, TableLayout};
use evictd::binlog::decode::row::RowDecoder;
use evictd::binlog::decode::rows::{self, RowsEvent};
use evictd::binlog::decode::table_map::TableMap;
use libfuzzer_sys::fuzz_target;

const EVENT_TYPES: [u8; 8] = [23, 24, 25, 30, 31, 32, 39, 0];

fuzz_target!(|input: &[u8]| {
    let [kind, low, high, rest @ ..] = input else {
        return;
    };
    let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (map, event) = rest.split_at(length);
    let Ok(map) = TableMap::parse(map) else {
        return;
    };
    let catalog = match TableLayout::needs_catalog(&map) {
        Ok(true) => Some(catalog(map.column_count())),
        Ok(false) => None,
        Err(_) => return,
    };
    let Ok(layout) = TableLayout::new(&map, catalog.as_deref()) else {
        return;
    };
    let all: Vec<usize> = (0..layout.column_count()).collect();
    let decoder = RowDecoder::new(Arc::new(layout), &all);
    let _ = rows::table_id(event);
    let Ok(event) = RowsEvent::parse(EVENT_TYPES[usize::from(kind % 8)], event) else {
        return;
    };
    let Ok(mut rows) = decoder.rows(event) else {
        return;
    };
    let mut text = Vec::new();
    loop {
        match rows.next_row() {
            Ok(None) => break,
            Err(_) => {}
            Ok(Some(row)) => {
                for value in [row.before, row.after].into_iter().flatten().flatten() {
                    text.clear();
                    value.write_text(&mut text);
                }
            }
        }
    }
});

/// A catalog for a map without names. Few maps fit it, which is enough to see
/// what happens when they do not.
fn catalog(columns: usize) -> Vec<CatalogColumn> {
    [
        "int",
        "varchar(9)",
        "enum('a','b')",
        "int(5) unsigned zerofill",
        "double(9,3)",
    ]
    .iter()
    .cycle()
    .take(columns)
    .enumerate()
    .map(|(index, column_type)| CatalogColumn {
        name: format!("c{index}"),
        column_type: (*column_type).to_owned(),
        charset: column_type
            .starts_with("varchar")
            .then(|| "utf8mb4".to_owned()),
        primary_key: index == 0,
    })
    .collect()
}
