//! What looking at the configuration and the servers found.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, and worse than it could.
    Warning,
    /// It does not work, or something stays stale.
    Error,
}

impl Level {
    /// The level's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at: `configuration`, `mysql`, `redis`, `sqs`, `cloudfront`.
    pub part: &'static str,
    /// What was found, and what to do.
    pub message: String,
    /// Nobody answered: an error of another kind than a wrong setting.
    pub unreachable: bool,
}

impl Finding {
    /// Something found in `part`.
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
