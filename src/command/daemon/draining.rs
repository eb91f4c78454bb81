//! The half of a turn that sends buffered paths to the edge.

use std::sync::Arc;

use tokio::sync::watch;

use crate::buffer::{Buffer, Sqs};
use crate::command::CommandError;
use crate::command::check::dead_letters;
use crate::command::finding::Level;
use crate::command::shutdown::GRACE;
use crate::config::{CloudFrontConfig, Config};
use crate::drain::{Drain, DrainOptions};
use crate::edge::CloudFront;
use crate::edge::budget::Budget;
use crate::edge::invalidation_log::History;
use crate::model::Sent;

/// Checks that the queue answers, and says so if its dead letters are not as they
/// should be.
pub(super) async fn check_queue(sqs: &Sqs, max_receives: u32) -> Result<(), CommandError> {
    let finding = dead_letters(&sqs.check().await?, max_receives);
    if finding.level == Level::Warning {
        tracing::warn!(queue_url = sqs.url(), "{}", finding.message);
    }
    Ok(())
}

/// Opens the half that drains, and the files that it keeps.
pub(super) async fn open_drain<B: Buffer>(
    config: &Config,
    cloudfront: CloudFrontConfig,
    buffer: Arc<B>,
    edge: CloudFront,
    last_sent: Option<watch::Receiver<Option<Sent>>>,
) -> Result<Drain<B, CloudFront>, CommandError> {
    let limits = cloudfront.path_budgets();
    let budget = match config.budget_file() {
        Some(file) => Budget::open_file(file, limits).await?,
        None => {
            tracing::info!(
                "ledger.dir is not set: the month's paths are counted from this start on"
            );
            Budget::in_memory(limits)
        }
    };
    let log = match config.history_file() {
        Some(file) => History::open_file(file, buffer.visibility()).await?,
        // CloudFront lists its own invalidations.
        None => History::off(),
    };
    let options = DrainOptions {
        source: config.name.as_str().into(),
        last_sent,
        window: cloudfront.window,
        grace: GRACE,
        calls_per_second: cloudfront.calls_per_second,
        max_receives: config.max_receives,
        overdue_after: cloudfront.overdue_after,
        budget_exempt: cloudfront.always,
        distributions: cloudfront
            .distributions
            .iter()
            .map(|distribution| {
                (
                    distribution.name.as_str().into(),
                    distribution.id.as_str().into(),
                )
            })
            .collect(),
    };
    Ok(Drain::new(buffer, Arc::new(edge), Arc::new(budget), options).recording(log))
}
