//! Errors of the protocol itself.

use std::io;

use mysql_async::{Error, IoError};

/// The server closed the connection without a word.
pub(super) fn closed() -> Error {
    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed");
    IoError::Io(error).into()
}

/// The server does not speak the protocol as it should.
pub(super) fn broken(problem: impl Into<String>) -> Error {
    IoError::Io(io::Error::new(io::ErrorKind::InvalidData, problem.into())).into()
}
