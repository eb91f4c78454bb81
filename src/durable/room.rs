//! Whether what a disk lacks is room.

use std::io;

/// Whether the disk is full, which passes, in contrast to a place that is wrong.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
