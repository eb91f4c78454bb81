//! The progress of a daemon's tasks, as they report it.
//!
//! - `board`: the state of every task, for metrics, status and health.
//! - `outage`: an outage of one component, from its first failure to its end.
//! - `backoff`: delays between attempts.
//! - `binlog_lag`: bytes of the binlog that are not read yet.

pub mod backoff;
pub mod binlog_lag;
pub mod board;
pub(crate) mod outage;
