//! Parses arguments, starts the runtime, and maps the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser;
use evictd::cli::Cli;
use evictd::command;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return command::report(&command::CommandError::failed(error)),
    };
    let outcome = runtime.block_on(command::run(cli));
    // A blocked thread must not keep a daemon from ending.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => command::report(&error),
    }
}
