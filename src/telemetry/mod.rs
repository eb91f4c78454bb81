//! What an operator sees: logs, error texts, metrics, the HTTP listener that
//! serves them, and notifications to the service manager.
//!
//! - `log`: logs on standard error.
//! - `repeats`: log lines that would repeat, summed up.
//! - `cause`: an error together with everything that caused it.
//! - `aws_credentials`: credentials that AWS does not accept, and those that are missing.
//! - `clock`: a clock of this machine that AWS does not accept.
//! - `metric`: the names of metrics, and what they mean.
//! - `exposition`: metrics in the text format of Prometheus.
//! - `http`: a small HTTP listener, and its client.
//! - `systemd`: systemd's protocol for notifications.

pub mod aws_credentials;
pub mod cause;
pub mod clock;
pub mod exposition;
pub mod http;
pub mod log;
pub mod metric;
pub mod repeats;
pub mod systemd;

pub(crate) use self::repeats::repeating;
