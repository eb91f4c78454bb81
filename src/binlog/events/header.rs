//! The fields of an event's header, and whether its bytes are all there.

use mysql_common::binlog::consts::BinlogChecksumAlg;
use mysql_common::binlog::events::FormatDescriptionEvent;

use super::event::{CHECKSUM_BYTES, HEADER_BYTES};

/// The server allows readers to pass over events that they do not know.
pub(in crate::binlog) const IGNORABLE_FLAG: u16 = 0x80;
/// The server made the event up for this reader: it is not in the file.
pub(in crate::binlog) const ARTIFICIAL_FLAG: u16 = 0x20;

/// The type in an event's header; 0, which is not a type, without a header.
pub(in crate::binlog) fn event_type(bytes: &[u8]) -> u8 {
    bytes.get(4).copied().unwrap_or_default()
}

/// The size in an event's header.
pub(in crate::binlog) fn event_size(bytes: &[u8]) -> Option<usize> {
    let size = bytes.get(9..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*size)).ok()
}

/// Whether events of this format end in a checksum.
pub(in crate::binlog) fn has_checksum(format: &FormatDescriptionEvent<'_>) -> bool {
    let footer = format.footer();
    let none = Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_OFF));
    let algorithm = footer.get_checksum_alg();
    footer.get_checksum_enabled() && algorithm != none && algorithm != Ok(None)
}

/// Refuses bytes that the library would read beyond the end of.
pub(in crate::binlog) fn check_size(
    bytes: &[u8],
    format: &FormatDescriptionEvent<'_>,
) -> Result<(), String> {
    let least = if has_checksum(format) {
        HEADER_BYTES + CHECKSUM_BYTES
    } else {
        HEADER_BYTES
    };
    match event_size(bytes) {
        Some(size) if size == bytes.len() && size >= least => Ok(()),
        Some(size) => Err(format!(
            "its header says {size} bytes, and there are {}",
            bytes.len()
        )),
        None => Err(format!(
            "it has {} bytes, too few for a header",
            bytes.len()
        )),
    }
}
