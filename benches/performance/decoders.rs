//! What decoders of others make of the same binlog.

use std::fs::File;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evictd::binlog::decode::layout::TableLayout;
use evictd::binlog::decode::row::RowDecoder;
use evictd::binlog::decode::rows::RowsEvent;
use evictd::binlog::decode::table_map::TableMap;
use evictd::binlog::events::event_type::{TABLE_MAP, UPDATE_ROWS};
use mysql_async::binlog::events::EventData;

use crate::figure::{Figure, Table};
use crate::stream::{bare, each_event};
use crate::support::Mysql;
use crate::workload::{Stretch, World};

pub async fn measure(world: &mut World, table: &mut Table) {
    table.section("Decoders: row changes a second");
    let many = world.many().await;
    let mysql = world.mysql();
    let floor = bare(mysql, &many, 2).await;
    let of = "the bare stream";
    let rate = |took: Duration| many.rows as f64 / took.as_secs_f64();
    let own = own_decoder(mysql, &many)
        .await
        .min(own_decoder(mysql, &many).await);
    let what = "evictd's decoder, a key rendered from each image";
    table.add(Figure::rate(what, rate(own), of, floor));
    let cdc = rate(mysql_cdc(mysql, &many));
    table.add(Figure::rate(
        "mysql_cdc, every column, from the file",
        cdc,
        of,
        floor,
    ));
    let common = rate(mysql_common(mysql, &many).await);
    table.add(Figure::rate(
        "mysql_common, every column",
        common,
        of,
        floor,
    ));
}

async fn own_decoder(mysql: &Mysql, stretch: &Stretch) -> Duration {
    let mut decoder: Option<(Vec<u8>, RowDecoder)> = None;
    let mut rows = 0;
    let mut key = Vec::new();
    let took = each_event(mysql, stretch, |event| {
        match event.header().event_type_raw() {
            TABLE_MAP => {
                let map = TableMap::parse(event.data()).unwrap();
                if decoder
                    .as_ref()
                    .is_none_or(|(bytes, _)| bytes != map.layout_bytes())
                {
                    let layout = Arc::new(TableLayout::new(&map, None).unwrap());
                    let projection = [layout.schema.column("id").unwrap()];
                    let bytes = map.layout_bytes().to_vec();
                    decoder = Some((bytes, RowDecoder::new(layout, &projection)));
                }
            }
            UPDATE_ROWS => {
                let (_, decoder) = decoder.as_ref().unwrap();
                let event = RowsEvent::parse(UPDATE_ROWS, event.data()).unwrap();
                let mut changes = decoder.rows(event).unwrap();
                while let Some(change) = changes.next_row().unwrap() {
                    for image in [change.before, change.after].into_iter().flatten() {
                        key.clear();
                        key.extend_from_slice(b"user:");
                        image[0].write_text(&mut key);
                        black_box(&key);
                    }
                    rows += 1;
                }
            }
            _ => {}
        }
    })
    .await;
    assert_eq!(rows, stretch.rows, "every row is decoded");
    took
}

async fn mysql_common(mysql: &Mysql, stretch: &Stretch) -> Duration {
    let mut map = None;
    let mut rows = 0;
    let took = each_event(mysql, stretch, |event| match event.read_data().unwrap() {
        Some(EventData::TableMapEvent(table)) => map = Some(table.into_owned()),
        Some(EventData::RowsEvent(event)) => {
            for row in event.rows(map.as_ref().unwrap()) {
                black_box(row.unwrap());
                rows += 1;
            }
        }
        _ => {}
    })
    .await;
    assert_eq!(rows, stretch.rows + ends(stretch), "every row is decoded");
    took
}

/// From the file on disk: its own transport has neither TLS nor large packets.
fn mysql_cdc(mysql: &Mysql, stretch: &Stretch) -> Duration {
    use mysql_cdc::events::binlog_event::BinlogEvent;
    let file = File::open(mysql.data_dir().join(&stretch.file)).expect("the file is there");
    let begun = Instant::now();
    let reader = mysql_cdc::binlog_reader::BinlogReader::new(file).expect("it is a binlog");
    let mut rows = 0;
    for event in reader.read_events() {
        let (_, event) = event.expect("an event is decoded");
        if let BinlogEvent::UpdateRowsEvent(event) = &event {
            rows += event.rows.len() as u64;
        }
        black_box(&event);
    }
    assert_eq!(rows, stretch.rows, "every row is decoded");
    begun.elapsed()
}

fn ends(stretch: &Stretch) -> u64 {
    stretch.ends().len() as u64
}
