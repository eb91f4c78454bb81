//! From MySQL's binlog to row changes.
//!
//! - [`connect`], [`server`]: connections, and what the server says of itself.
//! - [`dump`]: the connection that the binlog comes over, and its events.
//! - [`event`]: one event, in the bytes that it arrived in.
//! - [`heartbeat`]: whether the server still sends what it writes.
//! - [`stream`]: the live binlog, as [`assemble::Item`]s in commit order.
//! - [`mod@file`]: binlog files on disk, as the same items.
//! - [`assemble`]: events to items; position, transactions and tables. No I/O.
//! - [`table_map`], [`catalog`], [`layout`]: what a table's rows look like.
//! - [`rows`], [`row`]: the projecting row decoder.
//! - [`barrier`]: whether a transaction's rows are visible yet.
//! - [`replica_lag`]: how far an Aurora cluster's readers are behind.
//! - [`end`]: how much of the binlog is left to read.
//! - [`statement`]: what a statement means to a reader of rows.
//! - [`since`]: which file a time lies in.
//! - [`reach`]: what a statement changes besides the tables that it names.

pub mod assemble;
pub mod barrier;
pub mod catalog;
pub mod connect;
pub mod cursor;
pub mod dump;
pub mod end;
pub mod error;
pub mod event;
pub mod file;
pub mod heartbeat;
#[cfg(test)]
mod laws;
pub mod layout;
mod metadata;
pub mod previous_gtids;
pub mod reach;
pub mod replica_lag;
pub mod row;
pub mod rows;
pub mod server;
pub mod since;
mod source_error;
pub mod statement;
pub mod stream;
pub mod table_map;
mod value;
mod wire;

pub use source_error::SourceError;
