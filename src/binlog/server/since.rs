//! Which binlog file a time lies in.

use futures_util::StreamExt;
use mysql_async::BinlogStreamRequest;

use super::Server;
use super::connector::Connector;
use super::error::SourceError;
use crate::model::Position;
use crate::model::position::FIRST_EVENT_OFFSET;

const FORMAT_DESCRIPTION: u8 = 15;
/// Before it comes the made-up event that names the file.
const EVENTS_BEFORE_FORMAT_MAX: usize = 3;

/// The beginning of the file that was written at `since_s` (seconds since the
/// epoch), or of the oldest one.
///
/// A file's first event has the time when the file was begun, so that a few
/// files are looked into and none is read.
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
    let (mut older, mut newer) = (0, files.len());
    // All files before `older` were begun by then, and none from `newer` on.
    while older < newer {
        let middle = usize::midpoint(older, newer);
        let Some((file, _)) = files.get(middle) else {
            break;
        };
        match began_at_s(connector, server_id, file).await? > since_s {
            true => newer = middle,
            false => older = middle + 1,
        }
    }
    let (file, _) = files
        .get(older.saturating_sub(1))
        .ok_or_else(|| connector.unfit("the server has no binlog files"))?;
    if older == 0 {
        tracing::warn!(
            file,
            "the server's oldest binlog file was begun after that time: what happened before is purged"
        );
    }
    Ok(Position {
        file: file.as_str().into(),
        offset: FIRST_EVENT_OFFSET,
        gtids: None,
    })
}

/// When a file was begun, in seconds since the epoch.
async fn began_at_s(connector: &Connector, server_id: u32, file: &str) -> Result<i64, SourceError> {
    let failed = |error: mysql_async::Error| {
        connector.statement_error(&error, "read the binlog", "REPLICATION SLAVE")
    };
    let request = BinlogStreamRequest::new(server_id)
        .with_filename(file.as_bytes())
        .with_pos(FIRST_EVENT_OFFSET);
    let conn = connector.connect().await?;
    let mut events = conn.get_binlog_stream(request).await.map_err(failed)?;
    for _ in 0..EVENTS_BEFORE_FORMAT_MAX {
        let Some(event) = events.next().await.transpose().map_err(failed)? else {
            break;
        };
        if event.header().event_type_raw() == FORMAT_DESCRIPTION {
            return Ok(i64::from(event.header().timestamp()));
        }
    }
    Err(connector.unfit(format!("binlog file {file} does not begin as it should")))
}
