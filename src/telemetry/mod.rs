//! What an operator sees: metric names and error texts.

pub mod cause;
pub mod metric;
