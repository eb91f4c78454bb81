//! Plans that are shown and not acted on.
//!
//! - `lines`: plans as text and as JSON, a line each.
//! - `record`: plans kept with the changes that they belong to.
//! - `binlog_files`: plans from binlog files, without a server.
//! - `diff`: what two sets of rules make of the same changes.
//! - `totals`: what a range of the binlog comes to, and its bill.

pub mod binlog_files;
pub mod diff;
pub mod lines;
pub mod record;
pub mod totals;
