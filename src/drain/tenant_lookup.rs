//! What was made for a tenant before, and by whom it does not matter.
//!
//! A distribution's list does not show it. So a tenant is asked about itself,
//! and only when one of its messages comes back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::counter;
use tracing::warn;

use super::distribution::{CLOCKS_DIFFER, PAGES_MAX, READING_MAX, Standing};
use crate::edge::rate_limit::Pace;
use crate::edge::{Edge, EdgeError, Scope};
use crate::telemetry::metric;

/// Finds out what was made for the tenant since a commit. What is not found
/// out is at worst paid for again.
pub(super) async fn recall<E: Edge>(
    edge: &E,
    pace: &Pace,
    standing: &Standing,
    scope: &Scope,
    committed_at_us: u64,
) {
    let since = UNIX_EPOCH + Duration::from_micros(committed_at_us);
    let since = since.checked_sub(CLOCKS_DIFFER).unwrap_or(UNIX_EPOCH);
    if let Err(error) = read(edge, pace, standing, scope, since).await {
        counter!(metric::EDGE_LOOKS_FAILED, "error" => error.name()).increment(1);
        warn!(tenant = scope.tenant.as_deref(), error = %error, "cannot ask what was made for a tenant; some of its paths may be paid for twice");
    }
}

async fn read<E: Edge>(
    edge: &E,
    pace: &Pace,
    standing: &Standing,
    scope: &Scope,
    since: SystemTime,
) -> Result<(), EdgeError> {
    let reads_max = READING_MAX.as_nanos() / pace.time_of(1).as_nanos().max(1);
    let mut reads = 0;
    let mut from = None;
    for _ in 0..PAGES_MAX {
        pace.turn().await;
        let page = edge.list(scope, from).await?;
        let mut more = false;
        for listed in page.invalidations {
            if listed.made_at < since {
                continue;
            }
            more = true;
            if standing.has_read(&listed.id) || reads >= reads_max {
                continue;
            }
            reads += 1;
            pace.turn().await;
            let made = edge.read(scope, &listed.id).await?;
            standing.learn(scope, &listed.id, listed.made_at, &made);
        }
        from = page.next;
        if !more || from.is_none() {
            break;
        }
    }
    Ok(())
}
