//! Paths that have waited long for the search, under wildcards that cover them.
//!
//! Every wildcard is a request of its own: one may be refused as what it stands for is. It
//! reaches pages that did not change, which is better than pages that stay outdated. What
//! was refused alone waits on, so that one bad path empties nothing.

use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use super::ask::Answer;
use super::isolate::Isolation;
use super::refused_paths::Standing;
use super::suspects::{SuspectGroup, Tenant};
use super::verdict::Verdict;
use crate::buffer::Buffer;
use crate::edge::Edge;
use crate::edge::cover::request::{BudgetMode, NextRequest};
use crate::model::edge_item::is_tag;
use crate::telemetry::{metric, repeating};

/// Wildcards that are asked for in place of paths that have waited long, and the shortest time
/// from some to the next.
const COVERS_MAX: usize = 4;
const COVERS_EVERY: Duration = Duration::from_secs(2);
/// So many paths are asked for one by one rather than with everything else.
const SINGLY_MAX: usize = 10;

impl<B: Buffer, E: Edge> Isolation<'_, B, E> {
    /// Whether the budget does not allow to ask for each of the paths.
    pub(super) fn costs_too_much(&self, group: &SuspectGroup) -> bool {
        match self.parts.budget.status(&self.name).mode() {
            BudgetMode::Free => false,
            BudgetMode::AtMost(most) => group.paths.len() > most,
            BudgetMode::Spent | BudgetMode::Saving => group.paths.len() > 1,
        }
    }

    /// Asks for wildcards over the tenant's paths, but for those that were refused alone. One
    /// that is refused says nothing: what it stands for waits again.
    pub(super) async fn cover(&mut self, tenant: &Tenant) {
        let delivery = self.delivery(tenant);
        let known = self.distribution.suspects();
        let covered = delivery.covered(self.suspects.pool(tenant));
        delivery.delete(&covered).await;
        let mut room = self.distribution.room();
        room.wildcards = room.wildcards.min(COVERS_MAX);
        let pool = self.suspects.pool(tenant);
        let refused = |path: &str| matches!(known.standing(path), Standing::Refused(_));
        let wanted = |path: &str| !is_tag(path) && !refused(path);
        let mut batches = Vec::new();
        let paths = pool.paths().filter(|path| wanted(path)).count();
        if known.accepts(tenant) && paths > COVERS_MAX {
            batches = pool.under_wildcards(&delivery.scope, wanted, room);
        }
        // A few calls tell as much, and empty nothing else.
        let is_wide = batches.iter().any(NextRequest::is_of_everything);
        if paths <= COVERS_MAX || is_wide && paths <= SINGLY_MAX {
            batches.drain(..).for_each(|batch| pool.put_back(batch));
            self.suspects.part(tenant);
        }
        let among = self.suspects.smallest(tenant);
        let mut is_denied = false;
        for mut batch in batches {
            if is_denied {
                self.suspects.pool(tenant).put_back(batch);
                continue;
            }
            // What was accepted since may cover some of it, and hardly all.
            self.basis.after(None);
            let answer = delivery.ask(&mut batch, &mut self.basis).await;
            let pool = self.suspects.pool(tenant);
            if matches!(answer, Answer::Accepted) {
                let reference = batch.invalidation.caller_reference.clone();
                let paths = batch.coalesced();
                self.distribution.covers.add(paths, &among);
                counter!(metric::EDGE_PATHS_COALESCED, "distribution" => self.name.to_string())
                    .increment(u64::try_from(paths).unwrap_or(u64::MAX));
                repeating!(warn, &self.name, { distribution = %self.name, tenant = tenant.as_deref(), paths, sent = ?batch.invalidation.paths, among = ?among },
                    "paths go under a wildcard: they shared requests with paths that CloudFront refuses, and it is not known yet which those are");
                let complete = pool.accept(batch);
                delivery.delete(&complete).await;
                delivery.settle(&reference).await;
                continue;
            }
            pool.put_back(batch);
            if let Answer::Refused(verdict, error) = answer {
                delivery.count_retry(&error);
                is_denied = verdict == Verdict::Outage;
                if is_denied {
                    delivery.refused_for_now(&error, 1);
                }
            }
        }
        self.suspects.wait_anew(tenant);
        self.covers_from = Instant::now() + COVERS_EVERY;
        self.end(&delivery).await;
    }
}
