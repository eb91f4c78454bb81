//! How much of the binlog is not read yet, asked for beside the reading.

use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use crate::binlog::server::end::BinlogEnd;

/// The question takes a lock that commits take too: it is asked seldom.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long it takes until the first place is known.
const START_INTERVAL: Duration = Duration::from_millis(200);

/// Keeps the board's figure up to date, for ever. While the server does not
/// answer there is none.
pub async fn watch(mut end: BinlogEnd, board: Arc<Board>) {
    loop {
        let Some((file, offset)) = board.reading_at().filter(|(file, _)| !file.is_empty()) else {
            tokio::time::sleep(START_INTERVAL).await;
            continue;
        };
        let bytes = end
            .bytes_after(&file, offset)
            .await
            .inspect_err(|error| tracing::debug!(%error, "the end of the binlog is not known"));
        board.behind(bytes.unwrap_or_default());
        tokio::time::sleep(INTERVAL).await;
    }
}
