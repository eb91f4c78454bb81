//! What an operator sees: logs, metrics, error texts, and the HTTP listener
//! that is asked for them.

pub mod admin;
pub mod cause;
pub mod exposition;
pub mod log;
pub mod metric;
pub mod repeats;

pub(crate) use repeats::repeating;
