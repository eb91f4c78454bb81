//! The live binlog: one connection that streams events, one for questions.
//!
//! - `source`: a server's binlog from a position on.
//! - `begin`: connects, and asks the server to begin at the position.
//! - `next`: the next item of the stream.
//! - `came`: the kinds of things that reading the stream comes upon.
//! - `reset`: finds out that the binlog is not the one that was read any more.
//! - `generation`: a binlog file, told from another of the same name.
//! - `answers`: limits on the time that the server may take.

mod answers;
mod begin;
mod came;
mod generation;
mod next;
mod reset;
mod source;

pub use came::{Came, Idle, LookUp};
pub use source::{Source, StreamSettings};
