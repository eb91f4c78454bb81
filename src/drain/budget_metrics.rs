//! The month's paths and its budget, as metrics.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;

use crate::edge::budget::Budget;
use crate::telemetry::metric;

/// The forecast falls and a month ends without any invalidation.
const INTERVAL: Duration = Duration::from_secs(60);

/// Publishes every distribution's figures once a minute, for ever.
pub(super) async fn publish_all(budget: Arc<Budget>, distributions: Vec<Arc<str>>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        distributions.iter().for_each(|name| publish(&budget, name));
    }
}

/// Publishes a distribution's figures.
pub(super) fn publish(budget: &Budget, distribution: &Arc<str>) {
    let status = budget.status(distribution);
    let set = |metric: &'static str, paths: Option<u64>| {
        // Without a budget there is no series, and nothing is compared with it.
        if let Some(paths) = paths {
            let paths = f64::from(u32::try_from(paths).unwrap_or(u32::MAX));
            gauge!(metric, "distribution" => distribution.to_string()).set(paths);
        }
    };
    set(metric::BUDGET_SPENT, Some(status.spent));
    set(metric::BUDGET_FORECAST, Some(status.forecast));
    set(metric::BUDGET_LIMIT, status.limit);
    set(metric::BUDGET_LEFT, status.left);
}
