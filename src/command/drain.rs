//! `evictd drain`: the half of the daemon that sends paths. It also puts dead
//! letters back.

use super::daemon::run as run_daemon;
use super::{CommandError, aws_config};
use crate::buffer::{Buffer, Local, Redriven, Sqs};
use crate::cli::{DrainArgs, Global, OutputFormat, Role, RunArgs};
use crate::config;
use crate::telemetry::log::LogLevel;

/// Runs until SIGTERM or SIGINT, or until the dead letters are put back.
pub async fn run(global: &Global, options: &DrainArgs, log: &LogLevel) -> Result<(), CommandError> {
    if !options.redrive {
        let options = RunArgs {
            dry_run: false,
            role: Role::Drain,
            format: OutputFormat::Text,
        };
        return Box::pin(run_daemon(global, &options, log)).await;
    }
    let config = config::load(&global.config)?;
    let redriven = match config.buffer {
        Some(config::BufferConfig::Sqs { queue_url }) => {
            let sqs = Sqs::new(&aws_config().await, queue_url.as_str());
            if !sqs.check().await?.has_dead_letter_queue {
                return Err(CommandError::configuration(format!(
                    "{queue_url} has no dead-letter queue: set a redrive policy on it"
                )));
            }
            sqs.redrive().await?
        }
        Some(config::BufferConfig::Local { path }) => Local::open(path).await?.redrive().await?,
        None => {
            return Err(CommandError::configuration(
                "--redrive moves dead letters back into the buffer: it needs [buffer]".to_owned(),
            ));
        }
    };
    report(redriven);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn report(Redriven { moved, left }: Redriven) {
    println!("put back {moved} dead letters");
    if left > 0 {
        println!("left {left} that evictd did not write");
    }
}
