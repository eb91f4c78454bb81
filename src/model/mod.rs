//! The vocabulary every other module speaks: values in, values out, no I/O.

pub mod change;
pub mod current;
pub mod edge_item;
pub mod float;
pub mod guards;
pub mod invalidation;
pub mod keys;
pub mod order;
pub mod pairs;
pub mod path;
pub mod position;
pub mod table;
pub mod value;

pub use change::{Op, RowChange};
pub use current::Current;
pub use guards::{GuardPattern, Guards};
pub use keys::{KeyList, KeySet};
pub use order::QueuePosition;
pub use pairs::PairSet;
pub use position::{GtidSet, Position};
pub use table::{Cascade, Column, Shape, TableName, TableSchema};
pub use value::{Date, DateTime, Time, Value};
