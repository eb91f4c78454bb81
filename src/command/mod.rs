//! One file for each subcommand; the only place that wires parts together.

mod check;
mod checkpoint;
mod completions;
mod daemon;
mod drain;
mod explain;
mod finding;
mod health;
mod parts;
mod plan;
mod preflight;
mod replay;
mod shutdown;
mod status;
mod store;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::binlog::SourceError;
use crate::binlog::file::FileError;
use crate::buffer::BufferError;
use crate::cache::CacheError;
use crate::checkpoint::CheckpointError;
use crate::cli::{Cli, Command};
use crate::config::ConfigError;
use crate::edge::EdgeError;
use crate::edge::budget::BudgetError;
use crate::edge::invalidation_log::HistoryError;
use crate::ledger::LedgerError;
use crate::telemetry;
use crate::telemetry::log::LogLevel;
use crate::telemetry::repeats;

/// What is logged unless somebody says.
const LOG_LEVEL: &str = "info";

/// Why a command failed: one line for the operator, and an exit code.
#[derive(Debug)]
pub struct CommandError {
    exit: Exit,
    cause: anyhow::Error,
}

/// The exit codes of a failure, as the manual lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Failed,
    Configuration,
    Unreachable,
    Gap,
}

impl CommandError {
    fn new(exit: Exit, cause: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            cause: cause.into(),
        }
    }

    /// Something failed that no other code describes.
    pub fn failed(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Failed, cause)
    }

    fn unreachable(message: String) -> Self {
        Self::new(Exit::Unreachable, anyhow::Error::msg(message))
    }

    fn configuration(message: String) -> Self {
        Self::new(Exit::Configuration, anyhow::Error::msg(message))
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
            | SourceError::Silent { .. }
            | SourceError::Ended { .. }
            | SourceError::Anonymous { .. }
            | SourceError::Replaced { .. } => Exit::Unreachable,
            SourceError::Unfit { .. } => Exit::Configuration,
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
        let exit = match &error {
            EdgeError::TooManyInProgress { .. }
            | EdgeError::Throttled { .. }
            | EdgeError::Unavailable { .. } => Exit::Unreachable,
            EdgeError::TooLarge { .. }
            | EdgeError::ReferenceTaken { .. }
            | EdgeError::InvalidPath { .. }
            | EdgeError::Denied { .. }
            | EdgeError::NoSuchDistribution { .. }
            | EdgeError::NoSuchTenant { .. }
            | EdgeError::Refused { .. } => Exit::Configuration,
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
            CheckpointError::Unavailable { .. } => Exit::Unreachable,
            CheckpointError::Superseded { .. } => Exit::Failed,
            CheckpointError::Io { .. }
            | CheckpointError::Held { .. }
            | CheckpointError::Refused { .. }
            | CheckpointError::Malformed { .. } => Exit::Configuration,
        };
        Self::new(exit, error)
    }
}

/// Runs the command that was asked for.
pub async fn run(cli: Cli) -> Result<(), CommandError> {
    let level = cli.global.log_level.as_deref().unwrap_or(LOG_LEVEL);
    let log = telemetry::log::init(level, cli.global.log_format.into())
        .map_err(|error| CommandError::new(Exit::Configuration, error))?;
    // Ends with the process.
    tokio::spawn(repeats::summarise());
    let outcome = Box::pin(dispatch(cli, &log)).await;
    repeats::flush();
    outcome
}

async fn dispatch(cli: Cli, log: &LogLevel) -> Result<(), CommandError> {
    match cli.command {
        Command::Run(options) => Box::pin(daemon::run(&cli.global, &options, log)).await,
        Command::Drain(options) => Box::pin(drain::run(&cli.global, &options, log)).await,
        Command::Status(options) => status::run(&cli.global, &options).await,
        Command::Health(options) => health::run(&cli.global, &options).await,
        Command::Replay(options) => Box::pin(replay::run(&cli.global, &options)).await,
        Command::Plan(options) => plan::run(&cli.global, &options),
        Command::Completions(options) => completions::completions(&options),
        Command::Man(options) => completions::pages(&options),
        Command::Check(options) => Box::pin(check::run(&cli.global, &options)).await,
        Command::Checkpoint(options) => Box::pin(checkpoint::run(&cli.global, &options)).await,
        Command::Explain(options) => Box::pin(explain::run(&cli.global, &options)).await,
    }
}

/// Region, credentials and endpoints, as every AWS tool finds them.
async fn aws_config() -> aws_config::SdkConfig {
    aws_config::defaults(aws_config::BehaviorVersion::latest())
        .load()
        .await
}

/// Writes to standard output. A reader that has seen enough is no failure.
fn print(text: &[u8]) -> Result<(), CommandError> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::failed(error)),
        _ => Ok(()),
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
