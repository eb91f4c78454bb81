//! The program: parses the command line, runs the command, and ends with its
//! exit code.

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
    // A thread that is blocked must not keep the process from ending.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => command::report(&error),
    }
}
