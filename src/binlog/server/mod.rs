//! Questions to the server.
//!
//! - `questions`: a connection for questions, and the facts about the server.
//! - `positions`: where to begin, and whether the server has what comes next.
//! - `catalog`: tables, their columns, foreign keys.
//! - `reach`: how far a statement's changes reach.
//! - `since`: when binlog files were begun, and which of them a time lies in.
//! - `end`: the end of the binlog, and how much is left to read.
//! - `barrier`: waits until the rows of transactions are visible to other sessions.
//! - `stream_id`: the stream that transactions were read from.
//! - `replica_lag`: how far the readers of an Aurora cluster are behind.
//! - `leader`: the leader among several evictds.
//! - `address`: which server new connections to the source's address reach.
//! - `omissions`: what the server leaves out of its binlog.

pub mod address;
pub mod barrier;
pub mod catalog;
pub mod end;
pub mod leader;
mod omissions;
mod positions;
mod questions;
pub mod reach;
pub mod replica_lag;
pub mod since;
pub mod stream_id;

pub use omissions::BinlogFilters;
pub use questions::{Server, ServerFacts};
