//! The result of a check of the configuration and the servers.

use std::fmt;

use serde::Serialize;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, but worse than it could.
    Warning,
    /// It does not work, or something stays stale.
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// One result of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub level: Level,
    /// What was checked: `configuration`, `mysql`, `redis`, `sqs`,
    /// `cloudfront`.
    pub part: &'static str,
    /// The finding, and what to do.
    pub message: String,
    /// Whether the error is that a server does not answer, and not a wrong
    /// setting.
    pub unreachable: bool,
}

impl Finding {
    pub fn new(level: Level, part: &'static str, message: impl Into<String>) -> Self {
        Self {
            level,
            part,
            message: message.into(),
            unreachable: false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.as_str();
        write!(f, "{level:<8} {:<13} {}", self.part, self.message)
    }
}
