//! Earlier invalidations for a tenant, by whomever.
//!
//! The list of a distribution's invalidations does not show those of its
//! tenants. So each tenant has to be asked about by itself, which is done only
//! when one of its messages comes back.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::counter;
use tracing::warn;

use super::distribution::{CLOCKS_DIFFER, Distribution, PAGES_MAX, READING_MAX, Recalled};
use crate::edge::rate_limit::RateLimit;
use crate::edge::{Edge, EdgeError, EdgeErrorKind, Scope};
use crate::telemetry::metric;

/// Finds out what was invalidated for the tenant since a commit. Paths for which
/// that fails are at worst paid for again.
pub(super) async fn recall<E: Edge>(
    edge: &E,
    rate_limit: &RateLimit,
    distribution: &Distribution,
    scope: &Scope,
    committed_at: SystemTime,
) -> Recalled {
    let since = committed_at
        .checked_sub(CLOCKS_DIFFER)
        .unwrap_or(UNIX_EPOCH);
    match read(edge, rate_limit, distribution, scope, since).await {
        Ok(false) => Recalled::Everything,
        Ok(true) => Recalled::InPart,
        Err(error) => {
            counter!(metric::EDGE_LOOKS_FAILED, "error" => error.name()).increment(1);
            warn!(tenant = scope.tenant.as_deref(), error = %error, "cannot ask what was made for a tenant; some of its paths may be paid for twice");
            Recalled::Nothing
        }
    }
}

async fn read<E: Edge>(
    edge: &E,
    rate_limit: &RateLimit,
    distribution: &Distribution,
    scope: &Scope,
    since: SystemTime,
) -> Result<bool, EdgeError> {
    let mut missing = false;
    let reads_max = READING_MAX.as_nanos() / rate_limit.time_of(1).as_nanos().max(1);
    let mut reads = 0;
    let mut from = None;
    for _ in 0..PAGES_MAX {
        rate_limit.turn().await;
        let page = edge.list(scope, from).await?;
        let mut more = false;
        for listed in page.invalidations {
            if listed.made_at < since {
                continue;
            }
            more = true;
            if distribution.has_read(&listed.id) || reads >= reads_max {
                continue;
            }
            reads += 1;
            rate_limit.turn().await;
            match edge.read(scope, &listed.id).await {
                Ok(made) => distribution.learn(scope, &listed.id, listed.made_at, &made),
                Err(error) if error.kind == EdgeErrorKind::NoSuchInvalidation => missing = true,
                Err(error) => return Err(error),
            }
        }
        from = page.next;
        if !more || from.is_none() {
            break;
        }
    }
    Ok(missing)
}
