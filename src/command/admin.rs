//! What the daemon answers at `metrics.listen`.

use std::net::SocketAddr;

use jiff::Timestamp;
use tokio::net::TcpListener;

use super::CommandError;
use super::status::document::{Daemon, Status};
use crate::pipeline::board::{Leadership, Reports};
use crate::telemetry::admin::{self, Answer};
use crate::telemetry::{exposition, metric};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Collects metrics and answers requests at `listen` from now on.
pub async fn start(
    listen: SocketAddr,
    daemon: Daemon,
    reports: Reports,
) -> Result<(), CommandError> {
    let refused =
        |error: String| CommandError::configuration(format!("metrics.listen {listen}: {error}"));
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| refused(error.to_string()))?;
    let metrics = exposition::install(&daemon.name).map_err(|error| refused(error.to_string()))?;
    tokio::spawn(admin::serve(listener, move |path| {
        let status = || Status::of(&daemon, &reports);
        let answer = |(good, line): (bool, String)| Answer {
            good,
            content_type: TEXT,
            body: format!("{line}\n"),
        };
        Some(match path {
            "/metrics" => {
                publish(&reports);
                Answer {
                    good: true,
                    content_type: EXPOSITION,
                    body: metrics.render(),
                }
            }
            "/healthz" => answer(status().health()),
            "/readyz" => answer(status().readiness()),
            "/status" => Answer {
                good: true,
                content_type: JSON,
                body: status().json(),
            },
            _ => return None,
        })
    }));
    Ok(())
}

/// What is known only when somebody asks.
fn publish(reports: &Reports) {
    let snapshot = reports.board.snapshot();
    match snapshot.leadership {
        Some((Leadership::Leads, _)) => metrics::gauge!(metric::LEADER).set(1.0),
        Some((Leadership::StandsBy, _)) => {
            metrics::gauge!(metric::LEADER).set(0.0);
            // It knows nothing of the lag, and what it knew as the leader is
            // no longer so.
            metrics::gauge!(metric::LAG_SECONDS).set(f64::NAN);
            metrics::gauge!(metric::LAG_BYTES).set(f64::NAN);
        }
        None => {}
    }
    if let Some(lag) = snapshot.lag(Timestamp::now()) {
        metrics::gauge!(metric::LAG_SECONDS).set(lag.as_secs_f64());
        let bytes = snapshot.behind_bytes();
        metrics::gauge!(metric::LAG_BYTES).set(bytes.map_or(f64::NAN, approximate));
    }
}

/// A number of bytes as a metric has it.
fn approximate(bytes: u64) -> f64 {
    // Exact up to 4 GiB, and then to a mebibyte.
    match u32::try_from(bytes) {
        Ok(bytes) => f64::from(bytes),
        Err(_) => f64::from(u32::try_from(bytes >> 20).unwrap_or(u32::MAX)) * 1_048_576.0,
    }
}
