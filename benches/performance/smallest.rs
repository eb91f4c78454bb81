//! The smallest client that could do evictd's work for one table: a stream, a barrier, one UNLINK for what came
//! while the last one was on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evictd::binlog::events::event_type::WRITE_ROWS;
use futures_util::StreamExt;
use mysql_async::binlog::events::EventData;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, Opts};
use redis::AsyncCommands;
use tokio::sync::mpsc;

/// When each row was committed, in µs since the epoch, as the binlog says.
pub type CommitTimes = Arc<Vec<AtomicU64>>;

/// Where the only column of the index stands in an event with a row of a table of two columns.
const ID: std::ops::Range<usize> = 13..21;

struct Committed {
    gtid: String,
    id: usize,
}

/// Deletes `smallest:ID` for every row inserted into any table, once the row is visible, on a thread of its own for
/// as long as the process runs.
pub async fn spawn(mysql: u16, redis: u16, times: CommitTimes) {
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let url = format!("mysql://root@127.0.0.1:{mysql}?prefer_socket=false");
            let opts = Opts::from_url(&url).unwrap();
            let stream = stream(&opts).await;
            let (committed, to_delete) = mpsc::channel(10_000);
            ready.send(()).unwrap();
            tokio::join!(
                read(stream, times, committed),
                delete(opts, redis, to_delete)
            );
        });
    });
    is_ready.await.expect("it starts");
}

async fn stream(opts: &Opts) -> BinlogStream {
    let mut conn = Conn::new(opts.clone()).await.unwrap();
    let end: Option<mysql_async::Row> = conn.query_first("SHOW BINARY LOG STATUS").await.unwrap();
    let end = end.expect("the server has a binlog");
    let (file, offset): (String, u64) = (end.get("File").unwrap(), end.get("Position").unwrap());
    let request = BinlogStreamRequest::new(779)
        .with_filename(file.as_bytes())
        .with_pos(offset);
    conn.get_binlog_stream(request).await.unwrap()
}

async fn read(mut stream: BinlogStream, times: CommitTimes, committed: mpsc::Sender<Committed>) {
    let mut at_us = 0;
    let mut gtid = String::new();
    while let Some(Ok(event)) = stream.next().await {
        if event.header().event_type_raw() == WRITE_ROWS {
            let id: [u8; 8] = event.data()[ID].try_into().unwrap();
            let id = u64::from_le_bytes(id) as usize;
            times[id].store(at_us, Ordering::Relaxed);
            let gtid = std::mem::take(&mut gtid);
            committed.send(Committed { gtid, id }).await.unwrap();
        } else if let Some(EventData::GtidEvent(event)) = event.read_data().unwrap() {
            at_us = event.immediate_commit_timestamp();
            let hex: String = event
                .sid()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
            gtid = format!("{}:{}", parts.join("-"), event.gno());
        }
    }
}

async fn delete(opts: Opts, redis: u16, mut to_delete: mpsc::Receiver<Committed>) {
    let mut barrier = Conn::new(opts).await.unwrap();
    let client = redis::Client::open(format!("redis://127.0.0.1:{redis}/0")).unwrap();
    let mut cache = client.get_multiplexed_async_connection().await.unwrap();
    let mut batch = Vec::new();
    while to_delete.recv_many(&mut batch, 10_000).await > 0 {
        let gtids: Vec<&str> = batch
            .iter()
            .map(|it: &Committed| it.gtid.as_str())
            .collect();
        let visible: Option<i64> = barrier
            .exec_first(
                "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 5)",
                (gtids.join(","),),
            )
            .await
            .unwrap();
        assert_eq!(visible, Some(0));
        let keys: Vec<String> = batch
            .iter()
            .map(|row| format!("smallest:{}", row.id))
            .collect();
        let _: u64 = cache.unlink(keys).await.unwrap();
        batch.clear();
    }
}
