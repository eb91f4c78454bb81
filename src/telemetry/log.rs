//! Logs on standard error.

use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Error;

/// The default log level.
pub const LOG_LEVEL: &str = "info";

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A log level that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("log level \"{level}\": {reason}; write error, warn, info, debug or trace")]
pub struct BadLevel {
    level: String,
    reason: String,
}

/// The log level, which can be changed while the process runs.
#[derive(Clone)]
pub struct LogLevel {
    set: Arc<dyn Fn(EnvFilter) -> Result<(), Error> + Send + Sync>,
}

impl LogLevel {
    /// Logs at `level` from now on.
    pub fn set(&self, level: &str) -> Result<(), BadLevel> {
        (self.set)(filter(level)?).map_err(|error| BadLevel {
            level: level.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn filter(level: &str) -> Result<EnvFilter, BadLevel> {
    EnvFilter::try_new(level).map_err(|error| BadLevel {
        level: level.to_owned(),
        reason: error.to_string(),
    })
}

/// Starts logging for the whole process. `level` is a level, or directives
/// such as `info,evictd=debug`.
pub fn init(level: &str, format: LogFormat) -> Result<LogLevel, BadLevel> {
    // https://no-color.org
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = std::io::stderr().is_terminal() && !no_color;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false);
    // The formats make two types, with one interface.
    let set: Arc<dyn Fn(EnvFilter) -> Result<(), Error> + Send + Sync> = match format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Arc::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Arc::new(move |filter| handle.reload(filter))
        }
    };
    Ok(LogLevel { set })
}
