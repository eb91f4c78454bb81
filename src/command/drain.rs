//! `evictd drain`: the half of the daemon that sends paths. It also puts dead
//! letters back.

use jiff::Timestamp;

use super::daemon::run as run_daemon;
use super::{CommandError, aws_config};
use crate::buffer::{Buffer, Local, Redriven, Sqs};
use crate::cli::{DrainArgs, Global, OutputFormat, Role, RunArgs};
use crate::config;
use crate::ledger::{LedgerError, LedgerFiles};
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
    let began = Timestamp::now();
    let is_local = matches!(&config.buffer, Some(config::BufferConfig::Local { .. }));
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
    if let Some(dir) = &config.ledger_dir {
        let files = LedgerFiles::new(dir, &config.name);
        if let Err(error) = put_on_record(&files, redriven, began, is_local).await {
            tracing::warn!(%error, "the status shows the dead letters as before");
        }
    }
    Ok(())
}

/// Puts on record that dead letters are put back; or, where a file `is_local` and holds
/// none, that those on record are not there any more.
async fn put_on_record(
    files: &LedgerFiles,
    redriven: Redriven,
    began: Timestamp,
    is_local: bool,
) -> Result<(), LedgerError> {
    let moved = u64::try_from(redriven.moved).unwrap_or(u64::MAX);
    let missed = files.read().await?.in_the_buffer().saturating_sub(moved);
    // A receive of SQS may leave some out.
    let counts = moved == 0 || is_local;
    if missed > 0 && redriven.left == 0 && counts {
        report_missed(missed);
    }
    if moved > 0 {
        return files.redriven(began, false).await;
    }
    if missed > 0 && redriven.left == 0 && is_local {
        files.redriven(began, true).await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn report_missed(missed: u64) {
    println!(
        "{missed} more are on record, and not in the buffer: they went with an earlier file of it, or somebody took \
         them out; unless a gap of the buffer is on record since, change their rows once more, or invalidate their \
         paths yourself"
    );
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn report(redriven: Redriven) {
    let Redriven {
        moved,
        buried_again,
        left,
    } = redriven;
    println!("put back {moved} dead letters");
    if buried_again > 0 {
        println!(
            "{buried_again} of them are dead letters again: what made them such is not mended"
        );
    }
    if left > 0 {
        println!("left {left} that evictd did not write");
    }
}
