//! One column's bytes to a value.
//!
//! - `kind`: everything that turns a column's bytes into its value.
//! - `charset`: text in any of MySQL's character sets to UTF-8.
//! - `single_byte`: character sets of one byte a character.
//! - `multi_byte`: character sets of the far east.
//! - `label`: the labels of ENUM and SET.
//! - `decimal`: DECIMAL.
//! - `temporal`: DATE, TIME, DATETIME and TIMESTAMP.
//! - `json`: binary JSON to text.

pub(in crate::binlog) mod charset;
pub(in crate::binlog) mod decimal;
mod json;
pub(in crate::binlog) mod kind;
pub(in crate::binlog) mod label;
mod multi_byte;
mod single_byte;
mod temporal;
