//! What an operator sees: logs, metrics, error texts, the HTTP listener that is
//! asked for them, and what the service manager is told.

pub mod cause;
pub mod exposition;
pub mod http;
pub mod log;
pub mod metric;
pub mod repeats;
pub mod systemd;

pub(crate) use repeats::repeating;
