//! From binlog events to what the pipeline acts on. No I/O: the reader is fed
//! events in order, and keeps track of the position, the transaction and the
//! tables.
//!
//! - `interest`: the tables that matter, and the handling of their rows.
//! - `item`: the things that the binlog says, in commit order.
//! - `assembler`: the state: position, transaction and tables.
//! - `feed`: the dispatch of events, one after the other.
//! - `transaction`: the transaction being read, and prepared XA transactions.
//! - `transactions_read`: the transactions that items belong to.
//! - `commit`: the beginning and the end of transactions.
//! - `query`: statements, which delimit transactions or change rows.
//! - `tables`: what the ids in the binlog stand for, and their rows.
//! - `known_layout`: table maps that were seen, and how their rows are handled.
//! - `watermark`: the place where reading stands, and where it may begin again.
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
mod transactions_read;
mod watermark;

pub use assembler::Assembler;
pub use interest::Interest;
pub use item::{Item, RowsPayload, Step, Unknowable};
pub use transactions_read::TransactionsRead;
