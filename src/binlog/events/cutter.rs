//! Events out of bytes, from a connection or a file. Whatever the bytes are,
//! nothing panics, and what cannot be read is reported and not left out (Over,
//! never under).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mysql_async::binlog::events::{BinlogEventFooter, FormatDescriptionEvent};
use mysql_async::binlog::{BinlogChecksumAlg, BinlogVersion};

use super::event::{CHECKSUM_BYTES, Event, EventFormat, HEADER_BYTES};
use super::event_type::{FORMAT_DESCRIPTION, TRANSACTION_PAYLOAD};
use super::header::{check_size, event_size, event_type};
use super::payload::{Payload, Unpacked};

/// An event, or why there is none.
#[derive(Debug)]
pub enum Arrival {
    Event(Event),
    /// Bytes that are not an event, or a compressed transaction that could not be
    /// unpacked to its end.
    Unreadable {
        /// The type in its header, if there is one.
        event_type: u8,
        reason: String,
    },
}

/// The most memory set aside for an event because of the size in its header,
/// which may be wrong.
const RESERVED_BYTES_MAX: usize = 64 << 20;

/// Reads events one after the other. Compressed transactions are unpacked as
/// they arrive, and come as a payload event of size zero and the events in it.
#[derive(Debug)]
pub struct Events {
    format: EventFormat,
    /// A format description was read.
    described: bool,
    /// The beginning of an event whose rest has not arrived.
    partial: Vec<u8>,
    payload: Option<Payload>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            format: Arc::new(FormatDescriptionEvent::new(BinlogVersion::Version4)),
            described: false,
            partial: Vec::new(),
            payload: None,
        }
    }
}

impl Events {
    /// Takes a piece of an event, and returns the event once it is complete.
    /// Before, [`Events::unpacked`] must have returned `None`.
    pub fn feed(&mut self, bytes: BytesMut, last: bool) -> Option<Arrival> {
        if let Some(payload) = &mut self.payload {
            payload.feed(bytes, last);
            return None;
        }
        if last && self.partial.is_empty() && event_type(&bytes) != TRANSACTION_PAYLOAD {
            return Some(self.read(bytes.freeze()));
        }
        if self.partial.is_empty() {
            let size = event_size(&bytes).unwrap_or_default();
            self.partial.reserve_exact(size.min(RESERVED_BYTES_MAX));
        }
        self.partial.extend_from_slice(&bytes);
        if self.partial.len() >= HEADER_BYTES && event_type(&self.partial) == TRANSACTION_PAYLOAD {
            let begun = BytesMut::from(&*std::mem::take(&mut self.partial));
            let mut payload = Payload::new(&self.format);
            payload.feed(begun, last);
            self.payload = Some(payload);
            return None;
        }
        last.then(|| {
            let whole = std::mem::take(&mut self.partial);
            self.read(whole.into())
        })
    }

    /// The next event out of a compressed transaction, if one has arrived.
    pub fn unpacked(&mut self) -> Option<Arrival> {
        let reason = match self.payload.as_mut()?.next() {
            Unpacked::NeedsBytes => return None,
            Unpacked::Event(event) => return Some(Arrival::Event(event)),
            Unpacked::End(problem) => problem,
        };
        self.payload = None;
        reason.map(|reason| Arrival::Unreadable {
            event_type: TRANSACTION_PAYLOAD,
            reason,
        })
    }

    fn read(&mut self, bytes: Bytes) -> Arrival {
        let event_type = event_type(&bytes);
        if !self.described {
            // The ROTATE at the beginning has a checksum or not, depending on
            // settings that only the server knows.
            let footer = BinlogEventFooter::new(if ends_in_checksum(&bytes) {
                BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32
            } else {
                BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_OFF
            });
            let format = FormatDescriptionEvent::new(BinlogVersion::Version4);
            self.format = Arc::new(format.with_footer(footer));
        }
        let read = check_size(&bytes, &self.format).and_then(|()| {
            let event = Event::read(&self.format, bytes)?;
            if event_type == FORMAT_DESCRIPTION {
                let format: FormatDescriptionEvent<'_> = event.read_event()?;
                self.format = Arc::new(format.into_owned().with_footer(event.footer()));
                self.described = true;
            }
            Ok(event)
        });
        match read {
            Ok(event) => Arrival::Event(event),
            Err(reason) => Arrival::Unreadable { event_type, reason },
        }
    }
}

/// Whether the last bytes are the checksum of those before.
fn ends_in_checksum(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .is_some_and(|(counted, stated)| crc32fast::hash(counted).to_le_bytes() == *stated)
}
