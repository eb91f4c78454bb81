//! Why a command failed, and the exit code that says so.

use std::process::ExitCode;

use crate::binlog::SourceError;
use crate::binlog::file::FileError;
use crate::buffer::BufferError;
use crate::cache::CacheError;
use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::edge::EdgeError;
use crate::edge::budget::BudgetError;
use crate::edge::invalidation_log::HistoryError;
use crate::ledger::LedgerError;

/// Why a command failed: one line for the operator, and an exit code.
#[derive(Debug)]
pub struct CommandError {
    pub(super) exit: Exit,
    pub(super) cause: anyhow::Error,
}

/// The meaning of a failure's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed,
    Configuration,
    Unreachable,
    Gap,
}

impl CommandError {
    pub(super) fn new(exit: Exit, cause: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            cause: cause.into(),
        }
    }

    /// A failure that no other exit code describes.
    pub fn failed(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Failed, cause)
    }

    pub(super) fn unreachable(message: String) -> Self {
        Self::new(Exit::Unreachable, anyhow::Error::msg(message))
    }

    pub(super) fn configuration(message: String) -> Self {
        Self::new(Exit::Configuration, anyhow::Error::msg(message))
    }

    /// Says what to do about a gap, if it is one.
    pub(super) fn of_gap(mut self, remedy: &str) -> Self {
        if self.exit == Exit::Gap {
            self.cause = anyhow::anyhow!("{:#}; {remedy}", self.cause);
        }
        self
    }

    /// Whether a server does not answer, which passes by itself.
    pub(super) fn is_of_a_server_away(&self) -> bool {
        let cause = &self.cause;
        matches!(cause.downcast_ref(), Some(CacheError::Unavailable { .. }))
            || matches!(
                cause.downcast_ref(),
                Some(CheckpointError::Unavailable { .. })
            )
            || matches!(
                cause.downcast_ref(),
                Some(
                    SourceError::Unreachable { .. }
                        | SourceError::Silent { .. }
                        | SourceError::Stalled { .. }
                )
            )
    }

    /// What is refused now and was not before passes once a server, an account
    /// or a disk is mended. No exit code may say that it does not.
    pub(super) fn of_what_worked_before(mut self) -> Self {
        if self.exit == Exit::Configuration {
            self.exit = Exit::Unreachable;
        }
        self
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

impl From<SourceError> for CommandError {
    fn from(error: SourceError) -> Self {
        let exit = match &error {
            SourceError::Unreachable { .. }
            | SourceError::Untrusted { .. }
            | SourceError::Silent { .. }
            | SourceError::Stalled { .. }
            | SourceError::Ended { .. }
            | SourceError::Anonymous { .. }
            | SourceError::Moved { .. }
            | SourceError::Replaced { .. } => Exit::Unreachable,
            SourceError::Unfit { .. } | SourceError::NoBinlog { .. } => Exit::Configuration,
            SourceError::Gap { .. } => Exit::Gap,
        };
        Self::new(exit, error)
    }
}

impl From<CacheError> for CommandError {
    fn from(error: CacheError) -> Self {
        let exit = match &error {
            CacheError::Unavailable { .. } | CacheError::NoToken { .. } => Exit::Unreachable,
            CacheError::Refused { .. } => Exit::Configuration,
        };
        Self::new(exit, error)
    }
}

impl From<BufferError> for CommandError {
    fn from(error: BufferError) -> Self {
        let exit = match &error {
            BufferError::Unavailable { .. } => Exit::Unreachable,
            BufferError::Refused { .. } => Exit::Configuration,
        };
        Self::new(exit, error)
    }
}

impl From<EdgeError> for CommandError {
    fn from(error: EdgeError) -> Self {
        let exit = if error.is_transient() {
            Exit::Unreachable
        } else {
            Exit::Configuration
        };
        Self::new(exit, error)
    }
}

impl From<BudgetError> for CommandError {
    fn from(error: BudgetError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

impl From<HistoryError> for CommandError {
    fn from(error: HistoryError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

impl From<FileError> for CommandError {
    fn from(error: FileError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

impl From<LedgerError> for CommandError {
    fn from(error: LedgerError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

impl From<CheckpointError> for CommandError {
    fn from(error: CheckpointError) -> Self {
        let exit = match &error {
            CheckpointError::Unavailable { .. }
            | CheckpointError::Full { .. }
            | CheckpointError::Held { .. } => Exit::Unreachable,
            CheckpointError::Superseded { .. } => Exit::Failed,
            CheckpointError::Io { .. }
            | CheckpointError::Refused { .. }
            | CheckpointError::Later { .. }
            | CheckpointError::Malformed { .. } => Exit::Configuration,
        };
        Self::new(exit, error)
    }
}

/// Prints the error as one line and gives its exit code.
#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
pub fn report(error: &CommandError) -> ExitCode {
    eprintln!("evictd: error: {:#}", error.cause);
    ExitCode::from(match error.exit {
        Exit::Failed => 1,
        Exit::Configuration => 2,
        Exit::Unreachable => 3,
        Exit::Gap => 4,
    })
}
