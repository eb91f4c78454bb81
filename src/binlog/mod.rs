//! From MySQL's binlog to row changes.
//!
//! - `server`: questions to the server.
//! - `connection`: connections to the server, and the one that the binlog comes over.
//! - `events`: events out of bytes, from a server or a file.
//! - `decode`: table maps and row images to values.
//! - `statement`: what a statement means to a reader of rows.
//! - `reader`: events to items: position, transactions, tables. No I/O.
//! - `stream`: the live binlog, as items in commit order.
//! - `file`: binlog files on disk, as the same items.
//! - `error`: what can go wrong with the server.

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
