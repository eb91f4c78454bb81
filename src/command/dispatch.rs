//! Runs the command that the command line names.

use super::error::Exit;
use super::{
    CommandError, check, checkpoint, completions, daemon, drain, explain, health, plan, replay,
    status,
};
use crate::cli::{Cli, Command};
use crate::telemetry;
use crate::telemetry::log::{LOG_LEVEL, LogLevel};
use crate::telemetry::repeats;

/// The remedy for a gap on which `run` has halted.
const HALTED: &str = "set source.on_gap = \"invalidate-all\" to delete everything that rules cover and go on at the binlog's end, or correct the checkpoint or source.start";

/// The remedy for a gap that `replay` has met.
const NOT_REPLAYED: &str = "replay from a later position (`evictd replay --from earliest` for all that the server has), and invalidate by hand what was cached before it";

/// Starts logging, and runs the command.
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
        Command::Run(options) => Box::pin(daemon::run(&cli.global, &options, log))
            .await
            .map_err(|error| error.of_gap(HALTED)),
        Command::Drain(options) => Box::pin(drain::run(&cli.global, &options, log)).await,
        Command::Status(options) => status::run(&cli.global, &options).await,
        Command::Health(options) => health::run(&cli.global, &options).await,
        Command::Replay(options) => Box::pin(replay::run(&cli.global, &options))
            .await
            .map_err(|error| error.of_gap(NOT_REPLAYED)),
        Command::Plan(options) => plan::run(&cli.global, &options),
        Command::Completions(options) => completions::completions(&options),
        Command::Man(options) => completions::pages(&options),
        Command::Check(options) => Box::pin(check::run(&cli.global, &options)).await,
        Command::Checkpoint(options) => Box::pin(checkpoint::run(&cli.global, &options)).await,
        Command::Explain(options) => Box::pin(explain::run(&cli.global, &options)).await,
    }
}
