//! A binlog file, told from another of the same name.

use std::sync::Arc;

/// A binlog file, and when it was begun: after RESET BINARY LOGS another has
/// its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) file: Arc<str>,
    /// Seconds since the epoch, in the header of the file's first event.
    pub(super) begun_s: u32,
}
