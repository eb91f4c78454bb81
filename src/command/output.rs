//! Standard output.

use std::io::{self, Write};

use super::CommandError;

/// Writes to standard output. A reader that closes it early is not a failure.
pub(crate) fn print(text: &[u8]) -> Result<(), CommandError> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::failed(error)),
        _ => Ok(()),
    }
}
