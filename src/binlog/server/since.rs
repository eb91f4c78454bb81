//! When binlog files were begun, and which of them a time lies in.

use std::time::Duration;

use super::questions::Server;
use crate::binlog::connection::connector::Connector;
use crate::binlog::connection::dump::FIRST_EVENT;
use crate::binlog::connection::{Dump, DumpFrom, DumpRequest};
use crate::binlog::error::SourceError;
use crate::binlog::events::cutter::Arrival;
use crate::binlog::events::event_type::FORMAT_DESCRIPTION;
use crate::model::Position;
use crate::model::position::FIRST_EVENT_OFFSET;

/// A made-up ROTATE event, which names the file, comes before the format.
const EVENTS_BEFORE_FORMAT_MAX: usize = 3;

/// Time that the server may take to send the beginning of a file.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The beginning of the file that was written at `since_s` (seconds since the
/// epoch), or of the oldest file.
///
/// A file's first event has the time when the file was begun, so that only the
/// beginnings of files are read, from the oldest on: after a clock was set back,
/// their times do not ascend. What was committed in the second in which a file was
/// begun may be in the file before it.
///
/// # Errors
///
/// The server cannot be asked, or the account may not read the binlog.
pub async fn file_at(
    server: &mut Server,
    connector: &Connector,
    server_id: u32,
    since_s: i64,
) -> Result<Position, SourceError> {
    let files = server.files().await?;
    // None of these was begun at that time or later.
    let mut older = 0_usize;
    for (file, _) in &files {
        if i64::from(begun_s(connector, server_id, file).await?) >= since_s {
            break;
        }
        older += 1;
    }
    let (file, _) = files
        .get(older.saturating_sub(1))
        .ok_or_else(|| connector.unfit("the server has no binlog files"))?;
    if older == 0 {
        tracing::warn!(
            file,
            "the server's oldest binlog file was not begun before that time: what happened before is purged"
        );
    }
    Ok(Position {
        file: file.as_str().into(),
        offset: FIRST_EVENT_OFFSET,
        gtids: None,
    })
}

/// When a file was begun, in seconds since the epoch.
///
/// # Errors
///
/// The server cannot be asked, or the account may not read the binlog.
pub async fn begun_s(
    connector: &Connector,
    server_id: u32,
    file: &str,
) -> Result<u32, SourceError> {
    let begun = tokio::time::timeout(
        ANSWER_TIMEOUT,
        format_written_at(connector, server_id, file),
    )
    .await
    .map_err(|_| {
        let seconds = ANSWER_TIMEOUT.as_secs();
        connector.unreachable(format!("no answer within {seconds} s"))
    })?
    .map_err(|error| connector.statement_error(&error, "read the binlog", "REPLICATION SLAVE"))?;
    begun.ok_or_else(|| connector.unfit(format!("binlog file {file} does not begin as it should")))
}

/// The time in a file's format description.
async fn format_written_at(
    connector: &Connector,
    server_id: u32,
    file: &str,
) -> Result<Option<u32>, mysql_async::Error> {
    let request = DumpRequest {
        server_id,
        heartbeat_ns: ANSWER_TIMEOUT.as_nanos(),
        from: DumpFrom::Offset {
            file,
            offset: FIRST_EVENT,
        },
    };
    let mut dump = Dump::open(connector, request).await?;
    for _ in 0..EVENTS_BEFORE_FORMAT_MAX {
        match dump.next().await? {
            Some(Arrival::Event(event))
                if event.header().event_type_raw() == FORMAT_DESCRIPTION =>
            {
                return Ok(Some(event.header().timestamp()));
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(None)
}
