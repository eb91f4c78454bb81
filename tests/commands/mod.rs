//! The commands besides `run`, as processes.
//!
//! - `workload`: changes of every kind, in binlog files of their own.

pub mod check;
mod checkpoint;
mod documented;
mod explain;
mod manual;
mod plan;
mod replay;
mod rights;
mod workload;
