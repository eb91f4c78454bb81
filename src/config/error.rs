//! Errors of a configuration: one line each, with what is wrong, where, and what
//! to do.

use std::path::{Path, PathBuf};

use crate::rules::BindError;

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {reason}; name the configuration with --config or EVICTD_CONFIG", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// A line of the file is wrong.
    #[error("{}:{line}: {message}", file.display())]
    Invalid {
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The fault, and what to do about it.
        message: String,
    },
    /// A secret that the configuration refers to cannot be read.
    #[error("{what}: {reason}")]
    Secret {
        /// The field that needs it.
        what: &'static str,
        reason: String,
    },
}

impl ConfigError {
    /// An error in `line`; [`ConfigError::in_file`] adds the file.
    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        ConfigError::Invalid {
            file: PathBuf::new(),
            line,
            message: message.into(),
        }
    }

    /// The same error with its file.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            ConfigError::Invalid { line, message, .. } => ConfigError::Invalid {
                file: path.to_owned(),
                line,
                message,
            },
            other => other,
        }
    }

    /// The error that a rule of the configuration at `path` does not fit the
    /// server's tables.
    pub fn from_bind(error: BindError, path: &Path) -> Self {
        Self::at(error.line, error.message).in_file(path)
    }
}

/// A configuration's text, to find the line of a byte offset.
pub(super) struct Lines<'t>(pub &'t str);

impl Lines<'_> {
    /// The line of the byte at `offset`, counted from 1.
    pub(super) fn at(&self, offset: usize) -> usize {
        let before = self.0.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn of<T>(&self, spanned: &toml::Spanned<T>) -> usize {
        self.at(spanned.span().start)
    }

    /// Makes one line of a TOML error, with a suggestion for a misspelt field.
    pub(super) fn error(&self, error: &toml::de::Error) -> ConfigError {
        let mut message = error.message().trim().replace('\n', " ");
        let mut quoted = message.split('`').skip(1).step_by(2);
        if message.starts_with("unknown field") || message.starts_with("unknown variant") {
            let wrong = quoted.next().unwrap_or_default().to_owned();
            let hint = crate::rules::suggestion(&wrong, quoted);
            message.push_str(&hint);
        }
        let line = error.span().map_or(1, |span| self.at(span.start));
        ConfigError::at(line, message)
    }
}
