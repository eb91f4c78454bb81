//! From MySQL's binlog to row changes.
//!
//! - `server`: questions to the server.
//! - `connection`: connections to the server, and the one that the binlog comes over.
//! - `events`: events out of the bytes of a connection or a file.
//! - `decode`: table maps and row images to values of the wanted columns.
//! - `statement`: the meaning of a statement to a reader of rows.
//! - `reader`: events to items, with the position, transactions and tables. No I/O.
//! - `stream`: the live binlog, as items in commit order.
//! - `file`: binlog files on disk, as the same items.
//! - `error`: errors of the server.

pub mod connection;
pub mod decode;
mod error;
pub mod events;
pub mod file;
pub mod reader;
pub mod server;
pub mod statement;
pub mod stream;

pub use error::SourceError;
