//! Connections to the server, and the one that the binlog comes over.
//!
//! Questions to the server go through `mysql_async`. The dump does not: the
//! library unpacks a compressed transaction whole, as large as it is, before
//! anybody can say no (`docs/decisions/0011-own-dump-connection.md`).
//!
//! - `connector`: opens connections for questions, secured as configured.
//! - `client`: a connection for questions, whose answers are read without a panic.
//! - `session`: the session's settings, the same on every connection.
//! - `dump`: the binlog as the server sends it, event by event.
//! - `login`: login, and commands whose answer is one packet.
//! - `packet`: packets, cut into pieces as they arrive.
//! - `tls`: TLS for the dump connection.
//! - `failure`: errors of the protocol itself.

pub mod client;
pub mod connector;
pub mod dump;
mod failure;
mod login;
mod packet;
mod session;
mod tls;

pub use dump::{Dump, DumpFrom, DumpRequest};
