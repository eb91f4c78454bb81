//! Metrics in Prometheus' text format.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use super::metric::{self, Metric, MetricKind};

/// Upper bounds of every histogram, in seconds: from a deletion on an idle
/// machine to an outage.
const BUCKETS: [f64; 17] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
    1_800.0,
];

/// How often what histograms gathered is taken in; nobody may ever ask.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The collector of this process' metrics, each with the label `name`. They are
/// collected from the first call on, which must be in a runtime.
///
/// # Errors
///
/// Another recorder was installed before.
pub fn install(name: &str) -> Result<PrometheusHandle, BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .add_global_label("name", name)
        .set_buckets(&BUCKETS)?
        .install_recorder()?;
    metric::ALL.iter().for_each(announce);
    metrics::gauge!(metric::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// Says what a metric is. A counter without labels is there from the beginning:
/// Prometheus sees no increase in one that appears as 1.
fn announce(metric: &Metric) {
    let Metric { name, .. } = *metric;
    let help = metric.help();
    match metric.kind() {
        MetricKind::Counter => {
            metrics::describe_counter!(name, help);
            if metric.labels().next().is_none() {
                metrics::counter!(name).increment(0);
            }
        }
        MetricKind::Gauge => metrics::describe_gauge!(name, help),
        MetricKind::Histogram => metrics::describe_histogram!(name, help),
    }
}

/// Has a labelled counter from the beginning, as those without labels are.
pub fn from_zero(
    name: &'static str,
    label: &'static str,
    values: impl IntoIterator<Item = String>,
) {
    for value in values {
        metrics::counter!(name, label => value).increment(0);
    }
}
