//! The commands beside `run`, as processes.

mod check;
mod checkpoint;
mod documented;
mod explain;
mod manual;
mod plan;
mod replay;
mod rights;
mod workload;
