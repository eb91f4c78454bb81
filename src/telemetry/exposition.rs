//! Metrics in the text format of Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use super::metric::{self, Metric, MetricKind};

/// Upper bounds of the buckets of every histogram, in seconds: from a deletion
/// on an idle machine to an outage.
const BUCKETS: [f64; 17] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
    1_800.0,
];

/// Interval at which the samples of histograms are summed up. Otherwise they
/// would pile up in memory until somebody asks.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Collects this process's metrics from the first call on, each with the label
/// `name`. The first call has to be in a Tokio runtime.
///
/// # Errors
///
/// Another recorder is installed already.
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

/// Describes a metric. A counter without labels is shown from the start, as 0:
/// in a counter that first appears as 1, Prometheus sees no increase.
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

/// Shows a labelled counter from the start, as those without labels are.
pub fn from_zero(
    name: &'static str,
    label: &'static str,
    values: impl IntoIterator<Item = String>,
) {
    for value in values {
        metrics::counter!(name, label => value).increment(0);
    }
}
