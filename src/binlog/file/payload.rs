//! A compressed transaction, unpacked event by event.

use std::io::{Cursor as Packed, Read};

use super::TRANSACTION_PAYLOAD;
use super::event::read_event;
use crate::binlog::events::cursor::Cursor;
use crate::binlog::events::event::{Event, EventFormat, FORMAT_DESCRIPTION};

/// A compressed transaction that is being unpacked.
pub(super) struct Payload {
    unpacked: Box<dyn Read + Send>,
    /// Of the events inside, which have no checksums of their own.
    format: EventFormat,
    /// What should still come out of it.
    bytes_left: u64,
}

impl Payload {
    /// Reads the fields before the compressed bytes (MySQL source
    /// documentation, `Transaction_payload_event`).
    pub(super) fn new(data: &[u8], format: &EventFormat) -> Result<Self, String> {
        const END: u64 = 0;
        const COMPRESSION: u64 = 2;
        const UNCOMPRESSED_SIZE: u64 = 3;
        const ZSTD: u64 = 0;
        const NONE: u64 = 255;
        let cut = |_| "the fields before a compressed transaction are cut".to_owned();
        let mut cursor = Cursor::new(data);
        let (mut compression, mut size) = (None, None);
        loop {
            let field = cursor.lenenc().map_err(cut)?;
            if field == END {
                break;
            }
            let mut value = Cursor::new(cursor.lenenc_bytes().map_err(cut)?);
            match field {
                // The value for "none" is written as a single byte that begins no integer.
                COMPRESSION => compression = Some(value.lenenc().unwrap_or(NONE)),
                UNCOMPRESSED_SIZE => size = Some(value.lenenc().map_err(cut)?),
                _ => continue,
            }
            // The library skips the length, and would read on elsewhere.
            if !value.is_empty() {
                return Err(
                    "a field before a compressed transaction is longer than it is".to_owned(),
                );
            }
        }
        let packed = Packed::new(cursor.rest().to_vec());
        let unpacked: Box<dyn Read + Send> = match compression {
            Some(ZSTD) => Box::new(
                zstd::stream::read::Decoder::with_buffer(packed)
                    .map_err(|error| error.to_string())?,
            ),
            Some(NONE) => Box::new(packed),
            other => {
                let other = other.map_or_else(|| "none".to_owned(), |code| code.to_string());
                return Err(format!("its compression ({other}) is unknown"));
            }
        };
        let mut footer = format.footer();
        footer.set_checksum_enabled(false);
        Ok(Self {
            unpacked,
            format: format.as_ref().clone().with_footer(footer).into(),
            bytes_left: size.ok_or("it does not say its size")?,
        })
    }

    pub(super) fn next_event(&mut self) -> Result<Option<Event>, String> {
        if self.bytes_left == 0 {
            return Ok(None);
        }
        let bytes = read_event(&mut self.unpacked, self.bytes_left)
            .map_err(|error| format!("a compressed transaction cannot be unpacked: {error}"))??;
        self.bytes_left -= u64::try_from(bytes.len()).unwrap_or(self.bytes_left);
        let event = Event::read(&self.format, bytes.into())?;
        if matches!(
            event.header().event_type_raw(),
            FORMAT_DESCRIPTION | TRANSACTION_PAYLOAD
        ) {
            return Err(
                "a compressed transaction holds an event that has no place there".to_owned(),
            );
        }
        Ok(Some(event))
    }
}
