//! Connects, and asks the server to begin at the position.
//!
//! A position has a file and offset, which belong to one server, and GTIDs, which
//! mean the same on all. Numbers of GTIDs are given again, though: by a server
//! whose binlog was reset, or that was put back to an earlier copy of its data.
//! And a server that is asked by GTIDs leaves out whole files, with whatever
//! anonymous transactions they have. So the server that was read is asked by file
//! and offset. It is the same one as before only if it still has that file, begun
//! at the same time and as long: a server begins another file whenever it starts.
//! GTIDs are for another server, and for the end that was asked for just before.

use mysql_async::{GnoInterval, Sid};
use mysql_common::packets::Tag;
use tokio::time::Instant;

use super::answers::answered;
use super::source::{OpenStream, Source};
use crate::binlog::connection::dump::FIRST_EVENT;
use crate::binlog::connection::{Dump, DumpFrom, DumpRequest};
use crate::binlog::error::SourceError;
use crate::binlog::reader::Interest;
use crate::binlog::server::Server;
use crate::binlog::server::since::begun_s;
use crate::binlog::server::stream_id::StreamId;
use crate::model::gtid::GtidSource;
use crate::model::{GtidSet, Position};

impl<I: Interest> Source<I> {
    /// Connects at the last whole transaction.
    ///
    /// # Errors
    ///
    /// [`SourceError::Gap`] if the server no longer has what comes next.
    pub async fn reconnect(&mut self, expected_uuid: Option<&str>) -> Result<(), SourceError> {
        self.open = None;
        let connector = self.connector.clone();
        answered(&connector, self.connect(expected_uuid)).await
    }

    async fn connect(&mut self, expected_uuid: Option<&str>) -> Result<(), SourceError> {
        let mut server = match Server::connect(&self.connector).await {
            // Until it has one again.
            Err(error @ SourceError::NoBinlog { .. }) => {
                self.left_out = Some(error.to_string());
                return Err(error);
            }
            connected => connected?,
        };
        self.compare_left_out(&mut server).await?;
        let position = self.assembler.position();
        let has_gtids = position.gtids.is_some() && server.facts().gtids;
        let another = expected_uuid.filter(|uuid| *uuid != server.facts().server_uuid);
        if let (Some(uuid), false) = (another, has_gtids) {
            let reason = format!(
                "it was read from server {uuid} and this is {}, where the same file holds other data",
                server.facts().server_uuid
            );
            return Err(SourceError::gap(position, reason));
        }
        // The same server sends one that was begun again, executed or not.
        let begun = self.assembler.begun_gtid().filter(|_| another.is_some());
        server.check_gtids(position, begun).await?;
        // A set of GTIDs that an operator named has no file.
        let by_gtid = has_gtids && (another.is_some() || self.at_end || !position.has_place());
        if !by_gtid {
            server.check_place(position).await?;
        }
        // On another server the statement may stand anywhere in what is written.
        let columns_of = match self.assembler.columns_of() {
            Some(_) if another.is_some() => Some(server.status().await?),
            _ => None,
        };
        let dump = self.open_dump(by_gtid).await?;
        // The address may lead elsewhere by now, to a file of the same name.
        let asked = &server.facts().server_uuid;
        if dump.server_uuid() != asked {
            return Err(SourceError::Moved {
                address: self.connector.address().to_owned(),
                reason: format!(
                    "{} answered that it has the position, and {} sends its binlog",
                    asked,
                    dump.server_uuid()
                ),
            });
        }
        if another.is_some() {
            self.generation = None;
            self.assembler.forget_place();
        } else {
            self.assembler.rewind();
        }
        if let Some(end) = columns_of {
            self.assembler.read_with_columns_of(end);
        }
        self.at_end = false;
        self.begun = true;
        let (stream, life) = StreamId::begin(&server.facts().server_uuid);
        self.stream = stream;
        self.open = Some(OpenStream {
            life,
            dump,
            server,
            heard_at: Instant::now(),
            asked_at: Instant::now(),
            busy: false,
            drained: false,
            idle: None,
        });
        Ok(())
    }

    /// Reading goes on where changes are left out of the binlog, for the sake of
    /// the others. Those that were left out are lost when it begins and when it
    /// ends.
    async fn compare_left_out(&mut self, server: &mut Server) -> Result<(), SourceError> {
        let interest = self.assembler.interest();
        let left_out = server.left_out(|table| interest.wants(table)).await?;
        if left_out == self.left_out {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.left_out, left_out);
        let reason = match (&self.left_out, before) {
            (Some(reason), _) => reason.clone(),
            (None, before) => format!("until now, {}", before.unwrap_or_default()),
        };
        Err(SourceError::gap(self.assembler.position(), reason))
    }

    /// Skips everything between the position and the server's current end, and
    /// returns the UUID of that server and the end. [`Source::reconnect`] goes on
    /// from there.
    pub async fn skip_to_current(&mut self) -> Result<(String, Position), SourceError> {
        self.open = None;
        let current = answered(&self.connector, async {
            let mut server = Server::connect(&self.connector).await?;
            let end = server.end().await?;
            Ok((server.facts().server_uuid.clone(), end))
        });
        let (uuid, end) = current.await?;
        let begun_s = begun_s(&self.connector, self.settings.server_id, &end.file).await?;
        self.assembler.restart(end.clone());
        self.expect_file_begun(begun_s);
        self.begin_at_end();
        Ok((uuid, end))
    }

    /// Goes back to an earlier position, of a file that was begun at `begun_s` if
    /// that is known. [`Source::reconnect`] goes on from there.
    pub fn read_again(&mut self, position: Position, begun_s: Option<u32>) {
        self.open = None;
        self.at_end = false;
        self.generation = None;
        self.assembler.restart(position);
        if let Some(begun_s) = begun_s {
            self.expect_file_begun(begun_s);
        }
    }

    async fn open_dump(&self, by_gtid: bool) -> Result<Dump, SourceError> {
        let position = self.assembler.position();
        let sids = match &position.gtids {
            Some(gtids) if by_gtid => self.sids(gtids)?,
            _ => Vec::new(),
        };
        let from = if by_gtid {
            DumpFrom::Gtids(&sids)
        } else {
            DumpFrom::Offset {
                file: &position.file,
                // An offset that the command cannot name is reached by passing
                // over everything before it.
                offset: u32::try_from(position.offset).unwrap_or(FIRST_EVENT),
            }
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

    /// The set as the dump command has it, whose intervals exclude their end.
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
            // Nothing is lost: from the first event on, the position has a file
            // and offset of this server. Asked by those it says GTID_MODE = ON
            // in place of AUTO_POSITION, and sends such a transaction to nobody.
            mysql_async::Error::Server(server)
                if server.code == 1236
                    && server.message.contains("anonymous transaction")
                    && server.message.contains("AUTO_POSITION")
                    && self.assembler.position().has_place() =>
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
