//! Nodes of a cluster that do not answer.
//!
//! A node that is frozen or unreachable takes seconds to be noticed, and a call
//! that waits for it holds up the calls to all others. So one failure counts for
//! every connection to the cluster: commands to that node fail at once, and only
//! those who try again what failed ask it, each on a connection that nobody else
//! waits for ([`Cluster::insist`](super::cluster::Cluster::insist)).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::address::Address;
use super::error::RequestError;

/// Time after which anybody asks a node again, should nobody have done so.
const LEFT_ALONE: Duration = Duration::from_secs(30);

/// Time after which those ask it who try again.
const INSISTED_AFTER: Duration = Duration::from_millis(500);

/// The nodes that failed last time, for all connections to a cluster.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    failed: Mutex<HashMap<Address, Failure>>,
    /// Rises with every beginning and end of an outage.
    changes: AtomicU64,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    error: RequestError,
}

impl Outages {
    /// The number of beginnings and ends. While it stays, so do the nodes that are
    /// left alone.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Why the node is left alone, if it is. `insists` is for those who try again.
    pub(crate) fn of(&self, node: &Address, insists: bool) -> Option<RequestError> {
        if self.changes() == 0 {
            return None;
        }
        let after = if insists { INSISTED_AFTER } else { LEFT_ALONE };
        let failed = self.lock();
        let failure = failed.get(node)?;
        (failure.at.elapsed() < after).then(|| failure.error.clone())
    }

    pub(crate) fn begins(&self, node: &Address, error: &RequestError) {
        let failure = Failure {
            at: Instant::now(),
            error: error.clone(),
        };
        if self.lock().insert(node.clone(), failure).is_none() {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Ends the outages of all nodes but those that `lasts` is true of.
    pub(crate) fn end_unless(&self, lasts: impl Fn(&Address) -> bool) {
        if self.changes() == 0 {
            return;
        }
        let mut failed = self.lock();
        let before = failed.len();
        failed.retain(|node, _| lasts(node));
        if failed.len() < before {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Failure>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_failed_is_left_alone_by_all_and_longest_by_those_who_do_not_try_again() {
        let outages = Outages::default();
        let node = Address {
            host: "node".into(),
            port: 1,
        };
        let error = RequestError::Unavailable {
            address: node.to_string(),
            code: "timeout",
            reason: "as told".to_owned(),
        };
        let left_alone = |insists| outages.of(&node, insists).is_some();
        assert!(!left_alone(false));
        outages.begins(&node, &error);
        assert_eq!(outages.of(&node, true), Some(error.clone()));
        tokio::time::advance(INSISTED_AFTER).await;
        assert!(left_alone(false) && !left_alone(true));
        let changes = outages.changes();
        outages.begins(&node, &error);
        assert_eq!(outages.changes(), changes, "the same outage");
        assert!(left_alone(true));
        tokio::time::advance(LEFT_ALONE).await;
        assert!(!left_alone(false));
        outages.begins(&node, &error);
        outages.end_unless(|_| true);
        assert!(left_alone(false));
        outages.end_unless(|other| *other != node);
        assert!(!left_alone(false));
        assert_eq!(outages.changes(), changes + 1);
    }
}
