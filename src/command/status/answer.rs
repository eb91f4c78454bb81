//! The daemon's answer, or what it left on disk.

use std::time::Duration;

use super::document::StatusDocument;
use super::text;
use crate::checkpoint::Checkpoint;
use crate::cli::{Global, StatusArgs as Options};
use crate::command::CommandError;
use crate::command::store;
use crate::config::{self, Config};
use crate::edge::budget::{Budget, BudgetStatus};
use crate::ledger::{LedgerFiles, LedgerSummary};
use crate::telemetry::http;

/// Time that the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints the daemon's answer, or what it left on disk. Fails in the second
/// case.
#[expect(clippy::print_stdout, reason = "the answer")]
pub async fn run(global: &Global, options: &Options) -> Result<(), CommandError> {
    let config = config::load(&global.config)?;
    let (status, silent) = match asked(&config).await {
        Ok(status) => (status, None),
        Err(why) => (from_disk(&config).await?, Some(why)),
    };
    if options.json {
        println!("{}", status.json());
    } else {
        print!("{}", text::render(&status, jiff::Timestamp::now()));
    }
    match silent {
        None => Ok(()),
        Some(why) => Err(CommandError::unreachable(why)),
    }
}

/// The daemon's answer, or why there is none.
async fn asked(config: &Config) -> Result<StatusDocument, String> {
    let Some(listen) = config.metrics_listen else {
        return Err(
            "no daemon can be asked: set metrics.listen and restart evictd; what is shown is from disk"
                .to_owned(),
        );
    };
    let (_, body) = http::ask(listen, "/status", PATIENCE).await.map_err(|error| {
        format!("no daemon answers at {listen}: {error}; start evictd or look at its log; what is shown is from disk")
    })?;
    serde_json::from_str(&body).map_err(|error| {
        format!("{listen} does not answer as an evictd of this version: {error}; what is shown is from disk")
    })
}

async fn from_disk(config: &Config) -> Result<StatusDocument, CommandError> {
    let stored = store::open(config)?.load().await?;
    let ledger = match &config.ledger_dir {
        Some(dir) => LedgerFiles::new(dir, &config.name).read().await?,
        None => LedgerSummary::default(),
    };
    let budgets = budgets(config).await?;
    Ok(StatusDocument::from_disk(
        &config.name,
        stored.as_ref(),
        &ledger,
        budgets,
    ))
}

/// The month's paths, as this machine's drains have counted them on disk.
async fn budgets(config: &Config) -> Result<Vec<BudgetStatus>, CommandError> {
    let (Some(cloudfront), Some(file)) = (&config.cloudfront, config.budget_file()) else {
        return Ok(Vec::new());
    };
    let budget = Budget::read_file(file, cloudfront.path_budgets()).await?;
    Ok(budget.statuses())
}
