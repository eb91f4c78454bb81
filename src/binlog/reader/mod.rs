//! From binlog events to what the pipeline acts on. No I/O: the reader is fed
//! events in order, and keeps track of the position, the transaction and the
//! tables.
//!
//! - `interest`: which tables matter, and what their rows are handled with.
//! - `item`: what the binlog says, in commit order.
//! - `assembler`: what is known while a binlog is followed.
//! - `feed`: one event after the other, each to what is known of it.
//! - `transaction`: the transaction being read, and prepared XA transactions.
//! - `commit`: where transactions begin and end.
//! - `query`: statements, which delimit transactions or change rows.
//! - `tables`: which tables the ids in the binlog stand for, and their rows.
//! - `known_layout`: what is known of a table.
//! - `watermark`: where reading stands, and where it may begin again.
//! - `offset`: offsets beyond 32 bits.
//! - `tests`: histories of events, whole and damaged.

mod assembler;
mod commit;
mod feed;
mod interest;
mod item;
mod known_layout;
mod offset;
mod query;
mod tables;
#[cfg(test)]
mod tests;
mod transaction;
mod watermark;

pub use assembler::Assembler;
pub use interest::Interest;
pub use item::{Item, RowsPayload, Step, Unknowable};
