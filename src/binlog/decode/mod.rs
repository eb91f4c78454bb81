//! Table maps and row images to the values of the wanted columns.
//!
//! - `table_map`: which table an id stands for.
//! - `metadata`: names, signs, character sets and labels of its columns.
//! - `column_type`: how wide a value is on the wire.
//! - `catalog`: columns as the server's catalog describes them.
//! - `layout`: all that decoding a table's rows needs.
//! - `rows`: the row images of an event, as bytes.
//! - `row`: a row image to the values of the wanted columns.
//! - `value`: one column's bytes to a value.
//! - `error`: errors between an event's bytes and a row's values.

pub mod catalog;
pub(in crate::binlog) mod column_type;
pub mod error;
pub mod layout;
mod metadata;
pub mod row;
pub mod rows;
pub mod table_map;
pub(in crate::binlog) mod value;
