//! Logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A filter that is none.
#[derive(Debug, thiserror::Error)]
#[error("log level \"{level}\": {reason}; write error, warn, info, debug or trace")]
pub struct BadLevel {
    level: String,
    reason: String,
}

/// Starts logging for the whole process. `level` is a level, or directives
/// such as `info,evictd=debug`.
pub fn init(level: &str, format: LogFormat) -> Result<(), BadLevel> {
    let filter = EnvFilter::try_new(level).map_err(|error| BadLevel {
        level: level.to_owned(),
        reason: error.to_string(),
    })?;
    // https://no-color.org
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = std::io::stderr().is_terminal() && !no_color;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
