//! A binlog reader of the harness's own. It sees when transactions reach replicas, and whether their rows can be
//! read by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use mysql_async::binlog::events::{EventData, RowsEventData, TableMapEvent};
use mysql_async::binlog::value::BinlogValue;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, Opts, Value};
use tokio::sync::watch;

use super::clients::{Database, Endpoint};
use super::shapes::Shape;
use super::traffic::{Traffic, count};

const SERVER_ID: u32 = 778;

/// Longer than writers pause.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// When each probe was committed, in µs since the epoch, as the binlog says.
pub type CommitTimes = Arc<Mutex<HashMap<u64, u64>>>;

/// A row that was inserted or updated, and its version.
type Changed = (Shape, u64, u64);

/// Reads along until the end of the run; a broken connection goes on at the server's end.
pub async fn spy(traffic: Arc<Traffic>, database: Endpoint, times: CommitTimes) {
    let (newest, changes) = watch::channel(None);
    let look = look(Arc::clone(&traffic), Database::new(&database), changes);
    let read = async {
        loop {
            read(database.port(), &times, &newest).await.ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = traffic.over.cancelled() => {}
        () = look => {}
        () = read => {}
    }
}

/// The server's binlog from its present end on.
pub async fn stream(port: u16, server_id: u32) -> mysql_async::Result<BinlogStream> {
    let url = format!("mysql://root@127.0.0.1:{port}?prefer_socket=false");
    let mut conn = Conn::new(Opts::from_url(&url).unwrap()).await?;
    let end: Option<mysql_async::Row> = conn.query_first("SHOW BINARY LOG STATUS").await?;
    let end = end.expect("the server has a binlog");
    let (file, offset): (String, u64) = (end.get("File").unwrap(), end.get("Position").unwrap());
    let request = BinlogStreamRequest::new(server_id)
        .with_filename(file.as_bytes())
        .with_pos(offset);
    conn.get_binlog_stream(request).await
}

async fn read(
    port: u16,
    times: &CommitTimes,
    newest: &watch::Sender<Option<Changed>>,
) -> mysql_async::Result<()> {
    let mut stream = stream(port, SERVER_ID).await?;
    let mut committed_us = 0;
    let mut last = None;
    // A reset or another server may leave a stream behind on which nothing comes any more.
    while let Ok(Some(event)) = tokio::time::timeout(SILENCE_MAX, stream.next()).await {
        match event?.read_data()? {
            Some(EventData::GtidEvent(gtid)) => committed_us = gtid.immediate_commit_timestamp(),
            Some(EventData::AnonymousGtidEvent(gtid)) => {
                committed_us = gtid.0.immediate_commit_timestamp();
            }
            Some(EventData::RowsEvent(rows)) => {
                let Some(map) = stream.get_tme(rows.table_id()) else {
                    continue;
                };
                let table = map.table_name();
                let first_columns = first_columns(&rows, map);
                if table == "probes" {
                    let mut times = times.lock().unwrap();
                    times.extend(first_columns.iter().map(|(id, _)| (*id, committed_us)));
                } else if let Some(shape) =
                    Shape::ALL.into_iter().find(|shape| shape.table() == table)
                {
                    last = first_columns
                        .last()
                        .map(|(id, version)| (shape, *id, *version));
                }
            }
            Some(EventData::XidEvent(_)) => {
                newest.send_replace(last.take());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first two columns of all rows that are there afterwards.
pub fn first_columns(rows: &RowsEventData<'_>, map: &TableMapEvent<'static>) -> Vec<(u64, u64)> {
    let number = |value: Option<&BinlogValue<'_>>| match value {
        Some(BinlogValue::Value(Value::Int(number))) => number.cast_unsigned(),
        Some(BinlogValue::Value(Value::UInt(number))) => *number,
        _ => 0,
    };
    rows.rows(map)
        .filter_map(|row| row.unwrap().1)
        .map(|row| (number(row.as_ref(0)), number(row.as_ref(1))))
        .collect()
}

/// Asks for the newest change as soon as it is known, one at a time.
async fn look(
    traffic: Arc<Traffic>,
    mut database: Database,
    mut changes: watch::Receiver<Option<Changed>>,
) {
    while changes.changed().await.is_ok() {
        let Some((shape, id, version)) = *changes.borrow_and_update() else {
            continue;
        };
        // A row that is gone by now says nothing.
        if let Ok(Some(now)) = database.version(shape, id).await {
            count(&traffic.counts.events_looked_at);
            if now < version {
                count(&traffic.counts.early_events);
            }
        }
    }
}
