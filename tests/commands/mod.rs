//! The commands beside `run`, as processes.

mod checkpoint;
mod explain;
mod plan;
mod workload;
