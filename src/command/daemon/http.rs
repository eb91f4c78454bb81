//! The daemon's answers at `metrics.listen`.

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::shown::Shown;
use crate::command::status::document::StatusDocument;
use crate::config::Config;
use crate::progress::board::Leadership;
use crate::telemetry::http::{self, HttpAnswer};
use crate::telemetry::{exposition, metric};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers requests at `listener` until it is aborted.
pub(super) fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    shown: watch::Receiver<Shown>,
) -> AbortHandle {
    let serving = tokio::spawn(http::serve(listener, move |path| {
        let shown = shown.borrow().clone();
        let status = || StatusDocument::of(&shown.daemon, &shown.reports);
        let answer = |(good, line): (bool, String)| HttpAnswer {
            good,
            content_type: TEXT,
            body: format!("{line}\n"),
        };
        Some(match path {
            "/metrics" => {
                publish(&shown);
                HttpAnswer {
                    good: true,
                    content_type: EXPOSITION,
                    body: metrics.render(),
                }
            }
            "/healthz" => answer(status().health()),
            "/readyz" => answer(status().readiness()),
            "/status" => HttpAnswer {
                good: true,
                content_type: JSON,
                body: status().json(),
            },
            _ => return None,
        })
    }));
    serving.abort_handle()
}

/// Shows the counters that alerts watch from the start, as 0. In a counter that
/// first appears as 1, Prometheus sees no increase.
pub(super) fn from_zero(config: &Config) {
    let rules = config
        .rules
        .iter()
        .filter(|rule| rule.version.is_some())
        .map(|rule| rule.name.to_string());
    exposition::from_zero(metric::MISSED_VERSION_BUMPS, "rule", rules);
    let names = || {
        config
            .cloudfront
            .iter()
            .flat_map(|section| &section.distributions)
            .map(|distribution| distribution.name.clone())
    };
    exposition::from_zero(metric::EDGE_OVERDUE, "distribution", names());
    exposition::from_zero(metric::EDGE_QUOTA_WAITS, "distribution", names());
    if config.cloudfront.is_some() && config.history_file().is_some() {
        let operations = ["read", "write"].map(str::to_owned);
        exposition::from_zero(metric::EDGE_HISTORY_ERRORS, "operation", operations);
    }
    let ledgers = ["gaps", "dead-letters"];
    for metric in [metric::LEDGER_FAILURES, metric::LEDGER_LOST] {
        exposition::from_zero(metric, "ledger", ledgers.map(str::to_owned));
    }
    let outcomes = ["applied", "refused"].map(str::to_owned);
    exposition::from_zero(metric::CONFIG_RELOADS, "outcome", outcomes);
}

/// Sets the gauges whose values are computed when somebody asks.
fn publish(
    Shown {
        daemon, reports, ..
    }: &Shown,
) {
    let now = Timestamp::now();
    let snapshot = reports.board.snapshot();
    match snapshot.leadership {
        Some((Leadership::Leads, _)) => metrics::gauge!(metric::LEADER).set(1.0),
        Some((Leadership::StandsBy, _)) => {
            metrics::gauge!(metric::LEADER).set(0.0);
            // A standby does not know the lag, and what it knew as the leader
            // is outdated.
            metrics::gauge!(metric::LAG_SECONDS).set(f64::NAN);
            metrics::gauge!(metric::LAG_BYTES).set(f64::NAN);
            metrics::gauge!(metric::CONNECTED).set(f64::NAN);
        }
        None => {}
    }
    let stands_by = matches!(snapshot.leadership, Some((Leadership::StandsBy, _)));
    if let Some(lag) = snapshot.lag(now) {
        metrics::gauge!(metric::LAG_SECONDS).set(lag.as_secs_f64());
        let bytes = snapshot.binlog_lag_bytes();
        metrics::gauge!(metric::LAG_BYTES).set(bytes.map_or(f64::NAN, approximate));
    }
    if snapshot.connection_changed_at.is_some() && !stands_by {
        metrics::gauge!(metric::CONNECTED).set(one_if(snapshot.connected));
    }
    if let Some(reading) = &snapshot.reading {
        for (queue, bytes) in [
            ("gathering", reading.gathers_bytes),
            ("settling", snapshot.settling_bytes),
        ] {
            let bytes = approximate(u64::try_from(bytes).unwrap_or(u64::MAX));
            metrics::gauge!(metric::QUEUE_BYTES, "queue" => queue).set(bytes);
        }
    }
    for (part, state) in &snapshot.parts {
        let trouble = state.trouble_since.map_or(0.0, |since| {
            now.duration_since(since).as_secs_f64().max(0.0)
        });
        let busy = state
            .busy_since
            .map_or(0.0, |since| since.elapsed().as_secs_f64());
        let part = || part.to_string();
        metrics::gauge!(metric::PART_TROUBLE_SECONDS, "part" => part()).set(trouble);
        metrics::gauge!(metric::PART_BUSY_SECONDS, "part" => part()).set(busy);
    }
    let ledger = reports.ledger.summary();
    let open = ledger
        .recent_gaps
        .iter()
        .filter(|gap| gap.is_open())
        .count();
    metrics::gauge!(metric::GAPS_OPEN).set(approximate(u64::try_from(open).unwrap_or(u64::MAX)));
    metrics::gauge!(metric::DEAD_LETTERS_ON_RECORD).set(approximate(ledger.dead_letters));
    let last_gap = ledger.recent_gaps.back().map(|gap| gap.begun_at);
    let last_letter = ledger.recent_dead_letters.back().map(|letter| letter.at);
    for (metric, at) in [
        (metric::LAST_GAP, last_gap),
        (metric::LAST_DEAD_LETTER, last_letter),
    ] {
        if let Some(at) = at {
            metrics::gauge!(metric).set(seconds(at));
        }
    }
    let loaded = &daemon.loaded;
    metrics::gauge!(metric::CONFIG_CURRENT).set(one_if(loaded.refused.is_none()));
    let misfits = u64::try_from(loaded.misfits.len()).unwrap_or(u64::MAX);
    metrics::gauge!(metric::RULES_UNFIT).set(approximate(misfits));
    metrics::gauge!(metric::CONFIG_LOADED).set(seconds(loaded.at));
}

fn seconds(at: Timestamp) -> f64 {
    approximate(u64::try_from(at.as_second()).unwrap_or_default())
}

fn one_if(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// A number as the value of a metric.
fn approximate(number: u64) -> f64 {
    // Exact below 2^32, and rounded down to a multiple of 2^20 above.
    match u32::try_from(number) {
        Ok(number) => f64::from(number),
        Err(_) => f64::from(u32::try_from(number >> 20).unwrap_or(u32::MAX)) * 1_048_576.0,
    }
}
