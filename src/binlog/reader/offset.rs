//! Offsets beyond the 32 bits that the protocol has for them.

use crate::model::Position;

/// The offset to skip to, if COM_BINLOG_DUMP cannot name it.
pub(super) fn beyond_dump_offset(position: &Position) -> Option<u64> {
    let needed = position.offset > u64::from(u32::MAX);
    needed.then_some(position.offset)
}

/// The offset after an event whose header holds its low 32 bits: files pass
/// 4 GiB, single events do not.
pub(super) fn next_offset(offset: u64, low: u32) -> u64 {
    const WRAP: u64 = 1 << 32;
    let next = (offset & !(WRAP - 1)) | u64::from(low);
    if next < offset {
        // A damaged ROTATE can name any offset.
        next.saturating_add(WRAP)
    } else {
        next
    }
}
