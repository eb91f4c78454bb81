//! Laws of the decoder, on generated tables: what is encoded decodes to itself,
//! other decoders agree, and no damage makes it panic.

use std::cell::RefCell;
use std::sync::Arc;

use mysql_async::binlog::events::{EventData, TableMapEvent};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::case::{Case, Cell, TYPES, Type, case, table_map};
use super::others::{
    Column, Compared, Decoder, Field, Images, MysqlCdc, check_mysql_common, foreign,
};
use evictd::binlog::decode::layout::{CatalogColumn, TableLayout};
use evictd::binlog::decode::row::RowDecoder;
use evictd::binlog::decode::rows::RowsEvent;
use evictd::binlog::decode::table_map::TableMap;
use evictd::model::{Op, Value};

/// What `projection` of the case prints as, image by image.
fn expected(case: &Case, projection: &[usize]) -> Vec<Images> {
    let op = RowsEvent::parse(case.event_type, &case.event).unwrap().op;
    let image = |cells: &[Cell], present: &[bool]| {
        projection
            .iter()
            .map(|&index| match (&cells[index], present[index]) {
                (_, false) => Field::Absent,
                (None, true) => Field::Null,
                (Some((_, text)), true) => Field::Text(text.clone()),
            })
            .collect::<Vec<_>>()
    };
    case.rows
        .iter()
        .map(|(before, after)| {
            [
                (op != Op::Insert).then(|| image(before, &case.before_present)),
                (op != Op::Delete).then(|| image(after, &case.after_present)),
            ]
        })
        .collect()
}

fn decoded(case: &Case, projection: &[usize]) -> Vec<Images> {
    let map = TableMap::parse(&case.map).unwrap();
    let layout = Arc::new(TableLayout::new(&map, None).unwrap());
    let decoder = RowDecoder::new(layout, projection);
    let event = RowsEvent::parse(case.event_type, &case.event).unwrap();
    let mut rows = decoder.rows(event).unwrap();
    let image = |values: Option<&[Value<'_>]>| {
        let print = |value: &Value<'_>| {
            let mut text = Vec::new();
            match (value.write_text(&mut text), value) {
                (true, _) => Field::Text(text),
                (false, Value::Null) => Field::Null,
                (false, Value::Partial) => Field::Partial,
                (false, _) => Field::Absent,
            }
        };
        values.map(|values| values.iter().map(print).collect())
    };
    let mut out = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        out.push([image(row.before), image(row.after)]);
    }
    out
}

/// Decodes and prints everything, whatever it is.
fn exercise(map: &[u8], event_type: u8, event: &[u8], catalog: Option<&[CatalogColumn]>) {
    let Ok(map) = TableMap::parse(map) else {
        return;
    };
    let needs_catalog = TableLayout::needs_catalog(&map);
    let Ok(layout) = TableLayout::new(&map, catalog) else {
        return;
    };
    assert!(needs_catalog.is_ok());
    let all: Vec<usize> = (0..layout.column_count()).collect();
    let decoder = RowDecoder::new(Arc::new(layout), &all);
    let Ok(event) = RowsEvent::parse(event_type, event) else {
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
}

fn config() -> Config {
    Config {
        cases: 512,
        // A seed kept beside the source would be one more thing to keep.
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_encoded_decodes_to_itself(
        entropy in prop::collection::vec(any::<u8>(), 0..3000),
        wanted in any::<u32>(),
    ) {
        let case = case(&entropy);
        let all: Vec<usize> = (0..case.types.len()).collect();
        prop_assert_eq!(decoded(&case, &all), expected(&case, &all));
        let some: Vec<usize> = all.into_iter().filter(|index| wanted >> index & 1 == 1).collect();
        prop_assert_eq!(decoded(&case, &some), expected(&case, &some));
    }

    #[test]
    fn damage_never_panics(
        entropy in prop::collection::vec(any::<u8>(), 0..2000),
        damage in prop::collection::vec((any::<bool>(), 0..3_u8, any::<u16>(), any::<u8>()), 1..6),
        event_type in prop::sample::select(vec![23_u8, 24, 25, 30, 31, 32, 39]),
        minimal in any::<bool>(),
    ) {
        let case = case(&entropy);
        let (mut map, mut event) = (case.map, case.event);
        for (in_map, kind, at, byte) in damage {
            let bytes = if in_map { &mut map } else { &mut event };
            if bytes.is_empty() {
                continue;
            }
            let at = usize::from(at) % bytes.len();
            match kind {
                0 => bytes[at] ^= byte | 1,
                1 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        let catalog: Vec<CatalogColumn> = (0..case.types.len())
            .map(|index| CatalogColumn {
                name: format!("c{index}"),
                column_type: ["int(4294967295) zerofill", "enum('a','b')", "decimal(4294967295,1) zerofill", "double(9,30) zerofill", "varchar(4294967295)"][index % 5].to_owned(),
                charset: Some("utf8mb4".to_owned()),
                primary_key: index == 0,
            })
            .collect();
        exercise(&map, event_type, &event, minimal.then_some(&catalog));
    }

    #[test]
    fn noise_never_panics(
        map in prop::collection::vec(any::<u8>(), 0..200),
        event in prop::collection::vec(any::<u8>(), 0..200),
        event_type in any::<u8>(),
    ) {
        exercise(&map, event_type, &event, None);
    }
}

#[test]
fn other_decoders_read_the_same() {
    let compared = RefCell::new(Compared::default());
    let entropy = prop::collection::vec(any::<u8>(), 0..3000);
    TestRunner::new(config())
        .run(&entropy, |entropy| {
            let case = case(&entropy);
            others_agree(&case, &mut compared.borrow_mut());
            for index in 0..case.types.len() {
                others_agree(&case.alone(index), &mut compared.borrow_mut());
            }
            Ok(())
        })
        .unwrap();
    // Of every type, mysql_cdc not knowing VECTOR, or nothing is compared.
    let compared = compared.into_inner().0;
    let of = |decoder: Decoder| compared.keys().filter(|key| key.0 == decoder).count();
    let types = usize::from(TYPES);
    assert_eq!(of(Decoder::MysqlCommon), types);
    assert_eq!(of(Decoder::MysqlCdc), types - 1);
    for (what, count) in compared {
        assert!(count >= 20, "{count} values of {what:?}");
    }
}

fn others_agree(case: &Case, compared: &mut Compared) {
    let columns: Vec<Column> = case.types.iter().map(Type::column).collect();
    let all: Vec<usize> = (0..case.types.len()).collect();
    let rows = decoded(case, &all);
    // Both refuse a field of the map that they do not know.
    let map = table_map(&case.types, false);

    let theirs = foreign(19, &map);
    let theirs: TableMapEvent<'_> = theirs.read_event().unwrap();
    let event = foreign(case.event_type, &case.event);
    let Some(EventData::RowsEvent(event)) = event.read_data().unwrap() else {
        panic!("no rows event")
    };
    check_mysql_common(&columns, &rows, &theirs, &event, compared);

    let mut theirs = MysqlCdc::new();
    if theirs.map(&columns, true, &map) {
        theirs.check(&columns, &rows, case.event_type, &case.event, compared);
    }
}

/// Valid inputs for the fuzzer to start from, in the form that
/// `fuzz/fuzz_targets/row_decoder.rs` reads; `make fuzz` has them written to
/// the directory that EVICTD_FUZZ_SEEDS names.
#[test]
fn seeds_for_the_fuzzer_are_valid_events() {
    let directory = std::env::var("EVICTD_FUZZ_SEEDS");
    let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
    for seed in 0..400 {
        let entropy: Vec<u8> = (0..2000)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise.to_le_bytes()[3]
            })
            .collect();
        let case = case(&entropy[..100 + seed * 4]);
        let kind = [23, 24, 25, 30, 31, 32, 39, 0]
            .iter()
            .position(|kind| *kind == case.event_type)
            .unwrap();
        let mut input = vec![u8::try_from(kind).unwrap()];
        input.extend(&case.map.len().to_le_bytes()[..2]);
        TableMap::parse(&case.map).unwrap();
        RowsEvent::parse(case.event_type, &case.event).unwrap();
        input.extend(case.map);
        input.extend(case.event);
        if let Ok(directory) = &directory {
            std::fs::write(format!("{directory}/seed-{seed}"), input).unwrap();
        }
    }
}
