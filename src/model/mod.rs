//! The vocabulary that every other module speaks: values in, values out, no I/O.
//!
//! - `value`: column values, and their text as `SELECT` prints it.
//! - `float`: FLOAT and DOUBLE as `SELECT` prints them.
//! - `table`: tables and their columns, as far as rules need to know them.
//! - `change`: a committed change of one row.
//! - `commit_time`: the time at which a change was committed.
//! - `gtid`: the identifiers of transactions, and sets of them.
//! - `position`: positions in the binlog.
//! - `invalidation`: the actions that a change asks for, in Redis and at the edge.
//! - `guards`: version watermarks, and the names of the keys that hold them.
//! - `keys`: keys in one allocation, as a list and as a set.
//! - `pairs`: pairs of byte strings in one allocation.
//! - `path`: the form of a path that CloudFront invalidates.
//! - `edge_item`: the items of an invalidation: paths, and cache tags.
//! - `cast`: casts between integers that end at the target's bounds.
//! - `cache_uses`: what an account in a cache is needed for.
//! - `order`: the order of messages in a buffer.

use std::collections::BTreeSet;
use std::sync::Arc;

pub mod cache_uses;
pub mod cast;
pub mod change;
pub mod commit_time;
pub mod edge_item;
pub mod float;
pub mod gtid;
pub mod guards;
pub mod invalidation;
pub mod keys;
pub mod order;
pub mod pairs;
pub mod path;
pub mod position;
pub mod table;
pub mod value;

pub use self::cache_uses::CacheUses;
pub use self::change::{Op, RowChange};
pub use self::commit_time::CommitTime;
pub use self::gtid::GtidSet;
pub use self::guards::{GuardPattern, Guards};
pub use self::keys::{KeyList, KeySet};
pub use self::order::{BufferMark, BufferState, Sent};
pub use self::pairs::PairSet;
pub use self::position::Position;
pub use self::table::{Cascade, Column, Shape, TableName, TableSchema};
pub use self::value::{Date, DateTime, Time, Value};

/// The processes that hold a cache's entries, by their ids. Empty if they are not
/// known.
pub type CacheRuns = Arc<BTreeSet<String>>;
