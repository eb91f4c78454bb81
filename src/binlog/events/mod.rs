//! Events of the binlog, out of the bytes of a connection or a file.
//!
//! - `event`: one event.
//! - `event_type`: the types of events.
//! - `header`: the fields of an event's header.
//! - `cutter`: events out of the bytes of a connection or a file.
//! - `payload`: compressed transactions, unpacked as they arrive.
//! - `heartbeat`: heartbeats, and the reset of a binlog that they reveal.
//! - `previous_gtids`: every transaction before a binlog file.
//! - `cursor`: a bounds-checked reader over bytes.
//! - `tests`: compressed transactions in pieces of any size.

pub mod cursor;
pub mod cutter;
pub mod event;
pub mod event_type;
pub(in crate::binlog) mod header;
pub mod heartbeat;
pub mod payload;
pub mod previous_gtids;
#[cfg(test)]
mod tests;
