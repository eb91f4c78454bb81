//! One event of the binlog, in the bytes that it arrived in.
//!
//! The library's own type copies the bytes, and the server's format description
//! beside them, for every event.

use std::sync::Arc;

use bytes::Bytes;
use mysql_common::binlog::consts::BinlogChecksumAlg;
use mysql_common::binlog::events::{BinlogEventFooter, BinlogEventHeader, FormatDescriptionEvent};
use mysql_common::binlog::{BinlogCtx, BinlogEvent};
use mysql_common::io::ParseBuf;
use mysql_common::proto::MyDeserialize;

use super::event_type::FORMAT_DESCRIPTION;

/// The format of a server's events, which all of them share.
pub type EventFormat = Arc<FormatDescriptionEvent<'static>>;

/// The bytes before every event's body.
pub(in crate::binlog) const HEADER_BYTES: usize = BinlogEventHeader::LEN;

/// The bytes behind the body of an event with a checksum.
pub(in crate::binlog) const CHECKSUM_BYTES: usize = BinlogEventFooter::BINLOG_CHECKSUM_LEN;

/// The checksum and how it is made, at the end of a format description.
const FORMAT_FOOTER_BYTES: usize = CHECKSUM_BYTES + BinlogEventFooter::BINLOG_CHECKSUM_ALG_DESC_LEN;

/// The header's flags, and the one that a server clears when it closes the
/// file: a checksum is made without it (MySQL source, `binlog_event.h`,
/// `LOG_EVENT_BINLOG_IN_USE_F`).
const FLAGS: std::ops::Range<usize> = 17..HEADER_BYTES;
const IN_USE: u16 = 1;

#[derive(Clone, Debug)]
pub struct Event {
    format: EventFormat,
    header: BinlogEventHeader,
    footer: BinlogEventFooter,
    bytes: Bytes,
    body_end: usize,
    /// Where the bytes end that its checksum is made of.
    checked_end: usize,
}

impl Event {
    /// Takes a whole event's bytes.
    ///
    /// # Errors
    ///
    /// There are fewer bytes than an event of this `format` has.
    pub fn read(format: &EventFormat, bytes: Bytes) -> Result<Self, String> {
        let short = || format!("it has {} bytes, too few for an event", bytes.len());
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
        let header = BinlogEventHeader::deserialize((), &mut ParseBuf(header))
            .map_err(|error| error.to_string())?;
        let is_format = header.event_type_raw() == FORMAT_DESCRIPTION;
        // It describes its own footer.
        let footer = if !is_format {
            format.footer()
        } else if rest.len() >= FORMAT_FOOTER_BYTES {
            BinlogEventFooter::read(rest).map_err(|error| error.to_string())?
        } else {
            return Err(short());
        };
        let described = footer.get_checksum_alg() != Ok(None);
        let off = footer.get_checksum_alg() == Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_OFF));
        // A format description has room for a checksum even if events have none.
        let checksum = if described && footer.get_checksum_enabled() && (is_format || !off) {
            CHECKSUM_BYTES
        } else {
            0
        };
        let algorithm = usize::from(is_format && described);
        let checked_end = bytes.len().checked_sub(checksum).ok_or_else(short)?;
        let body_end = checked_end.checked_sub(algorithm).ok_or_else(short)?;
        if body_end < HEADER_BYTES {
            return Err(short());
        }
        Ok(Self {
            format: Arc::clone(format),
            header,
            footer,
            bytes,
            body_end,
            checked_end,
        })
    }

    pub fn header(&self) -> BinlogEventHeader {
        self.header
    }

    pub fn footer(&self) -> BinlogEventFooter {
        self.footer
    }

    /// Its body, without header and checksum.
    pub fn data(&self) -> &[u8] {
        let body = self.bytes.get(HEADER_BYTES..self.body_end);
        body.unwrap_or_default()
    }

    /// Its body as an event of type `T`.
    ///
    /// # Errors
    ///
    /// The body is shorter or longer than such an event.
    pub fn read_event<'a, T: BinlogEvent<'a>>(&'a self) -> Result<T, String> {
        let mut body = ParseBuf(self.data());
        let event_type = self.header.event_type_raw();
        let context = BinlogCtx::new(HEADER_BYTES + body.len(), &self.format, event_type);
        let read: T = body.parse(context).map_err(|error| error.to_string())?;
        match body.len() {
            0 => Ok(read),
            left => Err(format!("{left} bytes are left behind its end")),
        }
    }

    /// Whether it has a checksum that does not match. Events out of a
    /// compressed transaction have none.
    pub fn is_damaged(&self) -> bool {
        let crc32 = Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32));
        if !self.footer.get_checksum_enabled() || self.footer.get_checksum_alg() != crc32 {
            return false;
        }
        let (checked, stated) = self.bytes.split_at(self.checked_end.min(self.bytes.len()));
        let mut hasher = crc32fast::Hasher::new();
        match checked.split_first_chunk::<HEADER_BYTES>() {
            Some((header, body)) if self.header.flags_raw() & IN_USE != 0 => {
                let mut header = *header;
                let flags = (self.header.flags_raw() & !IN_USE).to_le_bytes();
                if let Some(field) = header.get_mut(FLAGS) {
                    field.copy_from_slice(&flags);
                }
                hasher.update(&header);
                hasher.update(body);
            }
            _ => hasher.update(checked),
        }
        hasher.finalize().to_le_bytes() != *stated
    }
}
