//! The binlog as the server sends it: login, the dump command, and events out
//! of packets.

use std::pin::Pin;

use bytes::BytesMut;
use mysql_async::{Error, Sid};
use mysql_common::packets::ComRegisterSlave;
use mysql_common::packets::binlog_request::BinlogRequest;
use tokio::io::AsyncReadExt;

use super::connector::Connector;
use super::failure::{broken, closed};
use super::login::{Login, Session, Wire, server_error};
use super::packet::{Packets, Piece};
use crate::binlog::events::cutter::{Arrival, Events};

/// Where a dump begins, and who asks for it.
#[derive(Clone, Copy, Debug)]
pub struct DumpRequest<'a> {
    /// The replica's id.
    pub server_id: u32,
    /// Time after which an idle server says that it is alive, in nanoseconds.
    pub heartbeat_ns: u128,
    pub from: DumpFrom<'a>,
}

/// Where a dump begins.
#[derive(Clone, Copy, Debug)]
pub enum DumpFrom<'a> {
    /// After every transaction of these.
    Gtids(&'a [Sid<'a>]),
    /// At an event of a file.
    Offset {
        file: &'a str,
        /// The event's offset in it, as far as the command's 32 bits go.
        offset: u32,
    },
}

/// [`FIRST_EVENT_OFFSET`](crate::model::position::FIRST_EVENT_OFFSET) as the
/// command has it.
pub(in crate::binlog) const FIRST_EVENT: u32 = 4;

/// Number of bytes read from the socket at once.
const READ_BYTES: usize = 64 << 10;

/// A binlog, received as the server writes it.
pub struct Dump {
    /// The server that sends it.
    server_uuid: String,
    wire: Pin<Box<dyn Wire>>,
    received: BytesMut,
    packets: Packets,
    events: Events,
}

impl Dump {
    /// Logs in and asks for the binlog.
    pub async fn open(connector: &Connector, request: DumpRequest<'_>) -> Result<Self, Error> {
        let mut session = Login::new(connector).session().await?;
        let nanos = request.heartbeat_ns;
        // MySQL 8.0.26 reads the new names and falls back to the old. CRC32
        // says that checksums are understood, not that there must be any.
        let settings = format!(
            "SET @source_heartbeat_period = {nanos}, @master_heartbeat_period = {nanos}, \
             @source_binlog_checksum = 'CRC32', @master_binlog_checksum = 'CRC32'"
        );
        session.query(&settings).await?;
        let server_uuid = session.select("SELECT @@server_uuid").await?;
        session
            .command(&ComRegisterSlave::new(request.server_id))
            .await?;
        let binlog = BinlogRequest::new(request.server_id);
        let binlog = match request.from {
            DumpFrom::Gtids(sids) => binlog.with_use_gtid(true).with_sids(sids.iter().cloned()),
            DumpFrom::Offset { file, offset } => {
                binlog.with_filename(file.as_bytes()).with_pos(offset)
            }
        };
        session.send_dump(&binlog).await?;
        Ok(Self::new(server_uuid, session))
    }

    fn new(server_uuid: String, session: Session) -> Self {
        Self {
            server_uuid,
            wire: session.into_wire(),
            received: BytesMut::with_capacity(READ_BYTES),
            packets: Packets::default(),
            events: Events::default(),
        }
    }

    /// `@@server_uuid` of the server that sends it.
    pub fn server_uuid(&self) -> &str {
        &self.server_uuid
    }

    /// The next arrival; `None` once the server ended the dump in an orderly
    /// way. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Option<Arrival>, Error> {
        loop {
            match self.arrived()? {
                Arrived::One(arrival) => return Ok(Some(arrival)),
                Arrived::End => return Ok(None),
                Arrived::NeedsBytes => {}
            }
            self.received.reserve(READ_BYTES);
            if self.wire.read_buf(&mut self.received).await? == 0 {
                return Err(closed());
            }
        }
    }

    /// The next arrival out of the bytes that are there.
    fn arrived(&mut self) -> Result<Arrived, Error> {
        loop {
            if let Some(arrival) = self.events.unpacked() {
                return Ok(Arrived::One(arrival));
            }
            match self.packets.piece(&mut self.received) {
                None => return Ok(Arrived::NeedsBytes),
                Some(Piece::Event { bytes, last }) => {
                    if let Some(arrival) = self.events.feed(bytes, last) {
                        return Ok(Arrived::One(arrival));
                    }
                }
                Some(Piece::Refusal(packet)) => return Err(server_error(&packet)),
                Some(Piece::End) => return Ok(Arrived::End),
                Some(Piece::Foreign(first)) => {
                    return Err(broken(format!("a packet begins with {first:#04x}")));
                }
            }
        }
    }
}

enum Arrived {
    One(Arrival),
    End,
    NeedsBytes,
}
