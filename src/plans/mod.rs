//! Plans that are printed, compared or counted, and not acted on.
//!
//! - `lines`: plans as text or JSON, a line each.
//! - `record`: the contract of what takes plans with their changes.
//! - `binlog_files`: plans from binlog files, without a server.
//! - `diff`: differences between the plans of two sets of rules.
//! - `totals`: plans counted, and their bill.

pub mod binlog_files;
pub mod diff;
pub mod lines;
pub mod record;
pub mod totals;
