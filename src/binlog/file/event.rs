//! One event out of a file or a payload, never past its end.

use std::io::{self, Read};

use crate::binlog::events::cursor::Cursor;
use crate::binlog::events::event::HEADER_BYTES;

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
