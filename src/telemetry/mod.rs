//! What an operator sees: logs, metrics and error texts.

pub mod cause;
pub mod log;
pub mod metric;
