//! From binlog bytes to row changes.

pub mod catalog;
pub mod cursor;
pub mod error;
#[cfg(test)]
mod laws;
pub mod layout;
mod metadata;
pub mod row;
pub mod rows;
pub mod table_map;
mod value;
mod wire;
