//! What the tasks of a daemon say about themselves.
//!
//! - `board`: what each task does, for whoever asks.
//! - `outage`: a part that does not answer, from its first failure to its end.
//! - `backoff`: how long to wait before trying again.
//! - `binlog_lag`: how much of the binlog is not read yet.

pub mod backoff;
pub mod binlog_lag;
pub mod board;
pub(crate) mod outage;
