//! Bytes of the binlog that are not read yet, asked of the server beside the
//! reading.

use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use crate::binlog::server::end::BinlogEnd;

/// Time between two questions. Each takes a lock that commits take too.
const INTERVAL: Duration = Duration::from_secs(5);

/// Time between two looks for the first place that is read.
const START_INTERVAL: Duration = Duration::from_millis(200);

/// Keeps the board's figure up to date, for ever. While the server does not
/// answer there is no figure.
pub async fn watch(mut end: BinlogEnd, board: Arc<Board>) {
    let mut asked_of = None;
    loop {
        let Some((file, offset)) = board.reading_at().filter(|(file, _)| !file.is_empty()) else {
            tokio::time::sleep(START_INTERVAL).await;
            continue;
        };
        // Another server may be read since.
        let connection = board.connection_changed_at();
        if asked_of != connection {
            asked_of = connection;
            end.forget_connection();
        }
        let bytes = end
            .bytes_after(&file, offset)
            .await
            .inspect_err(|error| tracing::debug!(%error, "the end of the binlog is not known"));
        board.binlog_lag(bytes.unwrap_or_default());
        tokio::time::sleep(INTERVAL).await;
    }
}
