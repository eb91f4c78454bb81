//! The books of a delivery: paths in the month's count, invalidations in this machine's
//! log.

use jiff::Timestamp;
use metrics::counter;
use tracing::info;

use super::ask::Delivery;
use super::budget_metrics;
use crate::buffer::Buffer;
use crate::edge::budget::BudgetError;
use crate::edge::cover::request::NextRequest;
use crate::edge::invalidation_log::Past;
use crate::edge::{Edge, EdgeError};
use crate::telemetry::{metric, repeating};

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// The messages that the accepted batch completes are gone: its count stays.
    pub(super) async fn settle(&self, reference: &str) {
        self.count(self.parts.budget.made(&self.name, reference).await);
    }

    /// Counts the batch on disk before the call, so that nothing is paid for
    /// unseen.
    pub(super) async fn count_open(&self, batch: &NextRequest) {
        let reference = &batch.invalidation.caller_reference;
        let paths = batch.invalidation.paths.len();
        self.count(self.parts.budget.open(&self.name, reference, paths).await);
    }

    /// Puts on record that a spent budget grants a path, before the call.
    pub(super) async fn count_granted(&self) {
        let tenant = self.scope.tenant.as_deref();
        self.count(self.parts.budget.granted(&self.name, tenant).await);
    }

    /// Writes the invalidation to disk for a successor, should this process be
    /// killed before the messages are deleted.
    pub(super) async fn record(&self, batch: &NextRequest, id: &str) {
        let made = Past {
            distribution_id: self.scope.distribution.to_string(),
            id: id.to_owned(),
            caller_reference: batch.invalidation.caller_reference.clone(),
            at: Timestamp::now(),
            tenant: self.scope.tenant.as_deref().map(str::to_owned),
            paths: batch.invalidation.paths.clone(),
        };
        if let Err(error) = self.parts.invalidation_log.made(made).await {
            counter!(metric::EDGE_HISTORY_ERRORS, "operation" => "write").increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "an invalidation is not on record; CloudFront's own list has it");
        }
    }

    pub(super) async fn count_not_made(&self, batch: &NextRequest) {
        let reference = &batch.invalidation.caller_reference;
        self.count(self.parts.budget.not_made(&self.name, reference).await);
    }

    /// Reports a count that was not written. It holds up nothing: an invalidation
    /// is worth more than its count.
    fn count(&self, counted: Result<(), BudgetError>) {
        if let Err(error) = counted {
            counter!(metric::BUDGET_ERRORS).increment(1);
            repeating!(warn, &self.name, { distribution = %self.name, error = %error },
                "the month's paths are counted in memory only");
        }
        budget_metrics::publish(&self.parts.budget, &self.name);
    }

    pub(super) fn report_accepted(&self, batch: &NextRequest, invalidation: &str) {
        let paths = batch.invalidation.paths.len();
        let name = || self.name.to_string();
        counter!(metric::EDGE_INVALIDATIONS, "distribution" => name()).increment(1);
        counter!(metric::EDGE_PATHS, "distribution" => name())
            .increment(u64::try_from(paths).unwrap_or(u64::MAX));
        info!(distribution = %self.name, tenant = self.scope.tenant.as_deref(), invalidation, paths, messages = batch.messages.len(), "the edge accepted an invalidation");
    }

    pub(super) fn count_retry(&self, error: &EdgeError) {
        counter!(metric::EDGE_RETRIES, "error" => error.name()).increment(1);
    }
}
