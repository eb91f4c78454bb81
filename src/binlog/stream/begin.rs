//! Where the server is asked to begin, and what it answers if it cannot.

use mysql_async::{GnoInterval, Sid};
use mysql_common::packets::Tag;

use super::Source;
use crate::binlog::connection::dump::FIRST_EVENT;
use crate::binlog::connection::{Dump, DumpFrom, DumpRequest};
use crate::binlog::error::SourceError;
use crate::binlog::reader::Interest;
use crate::model::GtidSet;
use crate::model::position::GtidSource;

impl<I: Interest> Source<I> {
    pub(super) async fn open_dump(&self, by_gtid: bool) -> Result<Dump, SourceError> {
        let position = self.assembler.position();
        let sids = match &position.gtids {
            Some(gtids) if by_gtid => self.sids(gtids)?,
            _ => Vec::new(),
        };
        let from = match by_gtid {
            true => DumpFrom::Gtids(&sids),
            // What the command cannot name is skipped from the beginning on.
            false => DumpFrom::Offset {
                file: &position.file,
                offset: u32::try_from(position.offset).unwrap_or(FIRST_EVENT),
            },
        };
        let request = DumpRequest {
            server_id: self.settings.server_id,
            heartbeat_ns: self.settings.heartbeat.as_nanos(),
            from,
        };
        Dump::open(&self.connector, request)
            .await
            .map_err(|error| self.stream_error(&error))
    }

    /// The set as the dump command has it; its intervals end before their last.
    fn sids(&self, gtids: &GtidSet) -> Result<Vec<Sid<'static>>, SourceError> {
        let sid = |(source, ranges): (&GtidSource, &[(u64, u64)])| {
            let interval = |(first, last): &(u64, u64)| GnoInterval::new(*first, last + 1);
            let sid = Sid::new(source.uuid).with_intervals(ranges.iter().map(interval).collect());
            if source.tag.is_empty() {
                return Ok(sid);
            }
            Tag::new(source.tag.to_string())
                .map(|tag| sid.with_tag(tag))
                .map_err(|error| {
                    self.connector
                        .unfit(format!("GTID tag {}: {error}", source.tag))
                })
        };
        gtids.iter().map(sid).collect()
    }

    pub(super) fn stream_error(&self, error: &mysql_async::Error) -> SourceError {
        match error {
            // Since a position of the same server has a file and offset too,
            // this is no loss.
            mysql_async::Error::Server(server)
                if server.code == 1236
                    && server.message.contains("anonymous transaction")
                    && !self.anonymous_ahead =>
            {
                SourceError::Anonymous {
                    address: self.connector.address().to_owned(),
                }
            }
            // ER_MASTER_FATAL_ERROR_READING_BINLOG: purged, diverged, or a
            // replica of the same id took over.
            mysql_async::Error::Server(server)
                if server.code == 1236 && !server.message.contains("server_uuid/server_id") =>
            {
                SourceError::gap(self.assembler.position(), server.message.clone())
            }
            mysql_async::Error::Server(server) if server.code == 1236 => SourceError::Replaced {
                address: self.connector.address().to_owned(),
                server_id: self.settings.server_id,
            },
            error => self
                .connector
                .statement_error(error, "read the binlog", "REPLICATION SLAVE"),
        }
    }
}
