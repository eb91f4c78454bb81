//! What stands in config/ about metrics, against the metrics that there are, and Prometheus' own opinion of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use evictd::telemetry::metric::{self, Metric, MetricKind};
use serde_json::Value;

use crate::support::{run_promtool, scratch};

fn repository_file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names of metrics in an expression, as they are declared: a histogram without the endings of its series.
pub fn named(expression: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_name(c));
    let ours = words.filter(|word| word.starts_with("evictd_"));
    ours.map(|word| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|ending| {
            let name = word.strip_suffix(ending)?;
            let metric = declared(name)?;
            (metric.kind() == MetricKind::Histogram).then_some(name)
        });
        histogram.unwrap_or(word).to_owned()
    })
    .collect()
}

fn declared(name: &str) -> Option<&'static Metric> {
    metric::ALL.iter().find(|metric| metric.name == name)
}

/// Every panel's expressions with their legends.
fn panels() -> Vec<(String, String, String)> {
    let dashboard: Value =
        serde_json::from_str(&repository_file("config/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .into_iter()
            .map(move |target| (title.clone(), target))
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets
        .map(|(title, target)| (title, text(&target["expr"]), text(&target["legendFormat"])))
        .collect()
}

#[test]
fn the_dashboard_names_metrics_and_labels_that_exist_and_filters_by_name() {
    let panels = panels();
    assert!(panels.len() > 40, "{}", panels.len());
    for (title, expression, legend) in &panels {
        assert!(
            expression.contains("{name=\"$name\""),
            "{title}: {expression}"
        );
        let names = named(expression);
        assert!(!names.is_empty(), "{title}: {expression}");
        for name in names {
            let metric = declared(&name).unwrap_or_else(|| panic!("{title}: no metric {name}"));
            let labels: Vec<&str> = metric.labels().collect();
            for label in legend
                .split("{{")
                .skip(1)
                .map(|rest| rest.split("}}").next().unwrap())
            {
                assert!(
                    labels.contains(&label),
                    "{title}: {name} has no label {label}"
                );
            }
            let histogram = expression.contains(&format!("{name}_bucket"));
            assert_eq!(
                metric.kind() == MetricKind::Histogram,
                histogram,
                "{title}: {expression}"
            );
            if metric.kind() == MetricKind::Counter {
                let grows = ["rate(", "increase("]
                    .iter()
                    .any(|word| expression.contains(word));
                assert!(grows, "{title}: a counter is shown as it is: {expression}");
            }
        }
    }
    let dashboard: Value =
        serde_json::from_str(&repository_file("config/grafana-dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let name = variables
        .iter()
        .find(|variable| variable["name"] == "name")
        .unwrap();
    assert_eq!(named(name["definition"].as_str().unwrap()).len(), 1);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "an id stands twice");
}

#[test]
fn the_dashboard_shows_what_an_operator_asks_for() {
    let shown: BTreeSet<String> = panels()
        .iter()
        .flat_map(|(_, expression, _)| named(expression))
        .collect();
    for name in [
        metric::LAG_SECONDS,
        metric::LAG_BYTES,
        metric::CHANGES,
        metric::COMMIT_TO_VISIBLE,
        metric::COMMIT_TO_DELETED,
        metric::COMMIT_TO_SETTLED,
        metric::COMMIT_TO_EDGE_ACCEPTED,
        metric::COMMIT_TO_EDGE_COMPLETED,
        metric::QUEUE_BYTES,
        metric::EDGE_IN_PROGRESS,
        metric::BUDGET_SPENT,
        metric::BUDGET_FORECAST,
        metric::BUDGET_LIMIT,
        metric::GAPS,
        metric::DEAD_LETTERS,
        metric::CACHE_RETRIES,
        metric::SOURCE_RECONNECTS,
        metric::MISSED_VERSION_BUMPS,
        metric::WIDENINGS,
    ] {
        assert!(shown.contains(name), "{name} is in no panel");
    }
}

/// The blocks of config/prometheus-alerts.yaml, one for each alert, with its name.
fn alerts() -> Vec<(String, String)> {
    let text = repository_file("config/prometheus-alerts.yaml");
    let blocks = text.split("- alert: ").skip(1);
    blocks
        .map(|block| (block.lines().next().unwrap().to_owned(), block.to_owned()))
        .collect()
}

/// A heading's place in a page.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_alert_names_metrics_that_exist_says_what_it_means_and_has_a_run_book() {
    let page = repository_file("docs/operations.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    let anchors: BTreeSet<String> = headings.map(anchor).collect();
    let alerts = alerts();
    assert!(alerts.len() > 10, "{}", alerts.len());
    for (alert, block) in alerts {
        let names = named(&block);
        assert!(!names.is_empty(), "{alert}");
        for name in &names {
            assert!(declared(name).is_some(), "{alert}: no metric {name}");
        }
        for part in ["  expr: ", " severity: ", " summary: ", " description: "] {
            assert!(block.contains(part), "{alert} has no{part}");
        }
        let runbook = block.split(" runbook: docs/operations.md#").nth(1);
        let runbook = runbook.and_then(|rest| rest.split_whitespace().next());
        let runbook = runbook.unwrap_or_else(|| panic!("{alert} has no run book"));
        assert!(anchors.contains(runbook), "{alert}: no section {runbook}");
        assert!(
            page.contains(&alert),
            "docs/operations.md does not name {alert}"
        );
    }
}

#[test]
fn prometheus_accepts_the_alerts_and_they_fire_when_they_should_and_only_then() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = root.join("config/prometheus-alerts.yaml");
    let rules = rules.to_str().unwrap();
    run_promtool(&["check", "rules", rules], "");
    let tests = repository_file("tests/metrics/alerts.yaml");
    for (alert, _) in alerts() {
        let (silent, firing) = (
            format!("alertname: {alert},"),
            format!("alertname=\"{alert}\""),
        );
        assert!(
            tests.contains(&silent),
            "nothing says when {alert} is silent"
        );
        assert!(tests.contains(&firing), "nothing says when {alert} fires");
    }
    let dir = scratch("alerts");
    let file = dir.path().join("alerts.yaml");
    fs::write(&file, tests.replace("- RULES", &format!("- {rules}"))).unwrap();
    run_promtool(&["test", "rules", file.to_str().unwrap()], "");
}
