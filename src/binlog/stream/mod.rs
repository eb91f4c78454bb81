//! The live binlog: one connection that streams events, one for questions.
//!
//! - `source`: a server's binlog from a position on.
//! - `begin`: connects, and asks the server to begin at the position.
//! - `next`: the next item, as far as the server has sent it.
//! - `came`: what reading the stream leads to.
//! - `reset`: whether the binlog is still the one that was read.
//! - `generation`: a binlog file, told from another of the same name.
//! - `answers`: how long the server may take, and what its silence means.

mod answers;
mod begin;
mod came;
mod generation;
mod next;
mod reset;
mod source;

pub use came::{Came, Idle, LookUp};
pub use source::{Source, StreamSettings};
