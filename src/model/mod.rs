//! The vocabulary every other module speaks: values in, values out, no I/O.

pub mod change;
pub mod float;
pub mod invalidation;
pub mod keys;
pub mod order;
pub mod path;
pub mod position;
pub mod table;
pub mod value;

pub use change::{Op, RowChange};
pub use keys::KeySet;
pub use order::Order;
pub use position::{GtidSet, Position};
pub use table::{Cascade, Column, Shape, TableName, TableSchema};
pub use value::{Date, DateTime, Time, Value};
