//! One event out of a file or a payload, never past its end.

use std::io::{self, Read};

use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::{Event, FormatDescriptionEvent};

use super::FORMAT_DESCRIPTION;
use crate::binlog::cursor::Cursor;

const HEADER_BYTES: usize = 19;
const CHECKSUM_BYTES: usize = 4;
/// A checksum, and the byte that says how it is made.
const FORMAT_FOOTER_BYTES: usize = 5;

/// Memory is taken as bytes arrive: a size may be wrong. Up to here it is taken
/// at once.
const TRUSTED_BYTES: u64 = 128 << 20;

/// One event's bytes out of `left` ones; the reason where they are none.
pub(super) fn read_event(input: &mut impl Read, left: u64) -> io::Result<Result<Vec<u8>, String>> {
    let mut bytes = Vec::with_capacity(256);
    let header = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    input
        .by_ref()
        .take(header.min(left))
        .read_to_end(&mut bytes)?;
    let size = bytes
        .get(9..13)
        .and_then(|size| Cursor::new(size).u32().ok());
    let Some(size) = size.map(u64::from).filter(|_| bytes.len() == HEADER_BYTES) else {
        return Ok(Err("an event's header is not all there".to_owned()));
    };
    if size < header {
        return Ok(Err(format!("an event of {size} bytes cannot be")));
    }
    if size > left {
        return Ok(Err(format!("of an event of {size} bytes {left} are there")));
    }
    bytes.reserve(usize::try_from(size.min(TRUSTED_BYTES)).unwrap_or_default());
    input.by_ref().take(size - header).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).ok() != Some(size) {
        return Ok(Err(format!(
            "of an event of {size} bytes {} are there",
            bytes.len()
        )));
    }
    Ok(Ok(bytes))
}

/// Parses what [`read_event`] cut out. The library takes the footer off without
/// asking whether it is there.
pub(super) fn parse(format: &FormatDescriptionEvent<'_>, bytes: &[u8]) -> Result<Event, String> {
    let event_type = bytes.get(4).copied().unwrap_or_default();
    let footer = match event_type {
        FORMAT_DESCRIPTION => FORMAT_FOOTER_BYTES,
        _ => CHECKSUM_BYTES,
    };
    let described = format.footer();
    let has_checksum = described.get_checksum_enabled()
        && !matches!(
            described.get_checksum_alg(),
            Ok(None | Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_OFF))
        );
    if (has_checksum || event_type == FORMAT_DESCRIPTION) && bytes.len() < HEADER_BYTES + footer {
        return Err(format!("an event of type {event_type} is too short"));
    }
    Event::read(format, bytes).map_err(|error| error.to_string())
}
