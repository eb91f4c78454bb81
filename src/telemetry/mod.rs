//! What an operator sees: logs, metrics, error texts, the HTTP listener that is
//! asked for them, and what the service manager is told.
//!
//! - `log`: logs on standard error.
//! - `repeats`: log lines that would come again and again.
//! - `cause`: an error together with everything that caused it.
//! - `metric`: the names of metrics, and what they mean.
//! - `exposition`: metrics in Prometheus' text format.
//! - `http`: a small HTTP listener, and its client.
//! - `systemd`: the protocol of the service manager.

pub mod cause;
pub mod exposition;
pub mod http;
pub mod log;
pub mod metric;
pub mod repeats;
pub mod systemd;

pub(crate) use self::repeats::repeating;
