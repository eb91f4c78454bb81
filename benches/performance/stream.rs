//! What any reader pays: the binlog as it comes from the server, not decoded.

use std::hint::black_box;
use std::time::{Duration, Instant};

use evictd::binlog::events::event_type::ROTATE;
use futures_util::StreamExt;
use mysql_async::BinlogStreamRequest;
use mysql_async::binlog::events::Event;

use crate::support::Mysql;
use crate::workload::Stretch;

/// Feeds each event of a stretch's file.
pub async fn each_event(
    mysql: &Mysql,
    stretch: &Stretch,
    mut handle: impl FnMut(&Event),
) -> Duration {
    let request = BinlogStreamRequest::new(777)
        .with_filename(stretch.file.as_bytes())
        .with_pos(stretch.offset)
        .with_non_blocking();
    let conn = mysql.conn().await;
    let mut stream = conn
        .get_binlog_stream(request)
        .await
        .expect("the stream opens");
    let begun = Instant::now();
    while let Some(event) = stream.next().await {
        let event = event.expect("an event arrives");
        if event.header().event_type_raw() == ROTATE && event.header().log_pos() != 0 {
            break;
        }
        handle(&event);
    }
    let took = begun.elapsed();
    stream.close().await.ok();
    took
}

/// Rows a second that `mysql_async` hands over, the best of several rounds: everything that disturbs a measurement
/// makes it slower.
pub async fn bare(mysql: &Mysql, stretch: &Stretch, rounds: usize) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let mut bytes = 0;
        let took = each_event(mysql, stretch, |event| bytes += event.data().len()).await;
        black_box(bytes);
        best = best.min(took);
    }
    stretch.rows as f64 / best.as_secs_f64()
}
