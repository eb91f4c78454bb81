//! An edge that keeps CloudFront's contract for caller references, and refuses
//! as told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::edge::{
    AcceptedInvalidation, Edge, EdgeError, EdgeErrorKind, InvalidationBatch, Listed, Made, Page,
    Scope,
};

type Judge = Box<dyn FnMut(&InvalidationBatch) -> Option<EdgeError> + Send>;

#[derive(Default)]
pub(super) struct FakeEdge {
    pub(super) state: Mutex<EdgeState>,
}

#[derive(Default)]
pub(super) struct EdgeState {
    /// Every invalidation that was made, and when.
    pub(super) made: Vec<(Instant, InvalidationBatch)>,
    pub(super) calls: Vec<InvalidationBatch>,
    judge: Option<Judge>,
    /// Lists that were asked for.
    pub(super) lists: u32,
    /// Invalidations read in full.
    pub(super) reads: u32,
    /// Nothing that was made completes any more.
    pub(super) stands_still: bool,
    /// Lists that fail before one works.
    pub(super) failing_lists: u32,
    /// The same of reads, each of which takes so long.
    pub(super) failing_reads: u32,
    pub(super) slow_reads: Duration,
    pub(super) slow: Duration,
    /// Calls that come before have no answer until their timeout.
    hangs_until: Option<Instant>,
}

/// The client's.
const TIMEOUT: Duration = Duration::from_secs(20);

impl FakeEdge {
    pub(super) const COMPLETES_AFTER: Duration = Duration::from_secs(10);

    pub(super) fn judged(
        judge: impl FnMut(&InvalidationBatch) -> Option<EdgeError> + Send + 'static,
    ) -> Self {
        let edge = Self::default();
        edge.state.lock().unwrap().judge = Some(Box::new(judge));
        edge
    }

    pub(super) fn slow(slow: Duration) -> Self {
        let edge = Self::default();
        edge.state.lock().unwrap().slow = slow;
        edge
    }

    pub(super) fn hanging(until: Instant) -> Self {
        let edge = Self::default();
        edge.state.lock().unwrap().hangs_until = Some(until);
        edge
    }

    /// It refuses nothing any more.
    pub(super) fn mend(&self) {
        self.state.lock().unwrap().judge = None;
    }

    pub(super) fn made(&self) -> Vec<InvalidationBatch> {
        let state = self.state.lock().unwrap();
        state.made.iter().map(|(_, batch)| batch.clone()).collect()
    }

    /// All paths of all invalidations, sorted.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.made().into_iter().flat_map(|b| b.paths).collect();
        paths.sort();
        paths
    }

    pub(super) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }
}

impl Edge for FakeEdge {
    async fn invalidate(
        &self,
        batch: &InvalidationBatch,
    ) -> Result<AcceptedInvalidation, EdgeError> {
        let (slow, hangs_until) = {
            let state = self.state.lock().unwrap();
            (state.slow, state.hangs_until)
        };
        if hangs_until.is_some_and(|until| Instant::now() < until) {
            tokio::time::sleep(TIMEOUT).await;
            return Err(unavailable(batch));
        }
        tokio::time::sleep(slow).await;
        let mut state = self.state.lock().unwrap();
        state.calls.push(batch.clone());
        if let Some(error) = state.judge.as_mut().and_then(|judge| judge(batch)) {
            return Err(error);
        }
        let known = state.made.iter().position(|(_, made)| {
            made.caller_reference == batch.caller_reference && made.scope == batch.scope
        });
        let id = match known {
            Some(index) if state.made[index].1.paths == batch.paths => index,
            Some(_) => {
                return Err(taken(batch));
            }
            None => {
                state.made.push((Instant::now(), batch.clone()));
                state.made.len() - 1
            }
        };
        Ok(AcceptedInvalidation {
            id: format!("I{id}"),
        })
    }

    /// Everything completes within [`FakeEdge::COMPLETES_AFTER`].
    async fn list(&self, scope: &Scope, _from: Option<String>) -> Result<Page, EdgeError> {
        let mut state = self.state.lock().unwrap();
        state.lists += 1;
        if state.failing_lists > 0 {
            state.failing_lists -= 1;
            return Err(not_now(scope));
        }
        Ok(Page {
            invalidations: state
                .made
                .iter()
                .enumerate()
                .rev()
                .filter(|(_, (_, batch))| batch.scope == *scope)
                .map(|(index, (at, _))| Listed {
                    id: format!("I{index}"),
                    made_at: SystemTime::now(),
                    completed: at.elapsed() >= Self::COMPLETES_AFTER && !state.stands_still,
                })
                .collect(),
            next: None,
        })
    }

    async fn read(&self, scope: &Scope, id: &str) -> Result<Made, EdgeError> {
        let slow = self.state.lock().unwrap().slow_reads;
        tokio::time::sleep(slow).await;
        let mut state = self.state.lock().unwrap();
        state.reads += 1;
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            return Err(not_now(scope));
        }
        let index: usize = id.trim_start_matches('I').parse().unwrap();
        let (at, batch) = &state.made[index];
        Ok(Made {
            caller_reference: batch.caller_reference.clone(),
            paths: batch.paths.clone(),
            completed: at.elapsed() >= Self::COMPLETES_AFTER && !state.stands_still,
        })
    }
}

/// It does not say what was made.
fn not_now(scope: &Scope) -> EdgeError {
    EdgeError {
        distribution: Arc::clone(&scope.distribution),
        code: "Throttling".to_owned(),
        reason: "on purpose".to_owned(),
        kind: EdgeErrorKind::Throttled,
    }
}

fn refusal(batch: &InvalidationBatch, code: &str, kind: EdgeErrorKind) -> EdgeError {
    EdgeError {
        distribution: Arc::clone(&batch.scope.distribution),
        code: code.to_owned(),
        reason: "on purpose".to_owned(),
        kind,
    }
}

pub(super) fn throttled(batch: &InvalidationBatch) -> EdgeError {
    refusal(batch, "Throttling", EdgeErrorKind::Throttled)
}

pub(super) fn too_many(batch: &InvalidationBatch) -> EdgeError {
    let kind = EdgeErrorKind::TooManyInProgress;
    refusal(batch, "TooManyInvalidationsInProgress", kind)
}

pub(super) fn unavailable(batch: &InvalidationBatch) -> EdgeError {
    refusal(batch, "ServiceUnavailable", EdgeErrorKind::Unavailable)
}

pub(super) fn unknown(batch: &InvalidationBatch) -> EdgeError {
    refusal(
        batch,
        "SomethingNew",
        EdgeErrorKind::Unknown { status: 400 },
    )
}

pub(super) fn refused(batch: &InvalidationBatch) -> EdgeError {
    refusal(batch, "MalformedXML", EdgeErrorKind::Refused)
}

pub(super) fn too_large(batch: &InvalidationBatch) -> EdgeError {
    let paths = batch.paths.len();
    refusal(batch, "BatchTooLarge", EdgeErrorKind::TooLarge { paths })
}

pub(super) fn invalid(batch: &InvalidationBatch) -> EdgeError {
    let paths = batch.paths.len();
    refusal(
        batch,
        "InvalidArgument",
        EdgeErrorKind::InvalidPath { paths },
    )
}

pub(super) fn denied(batch: &InvalidationBatch) -> EdgeError {
    let action = "cloudfront:CreateInvalidation";
    refusal(batch, "AccessDenied", EdgeErrorKind::Denied { action })
}

pub(super) fn not_there(batch: &InvalidationBatch) -> EdgeError {
    let kind = EdgeErrorKind::NoSuchDistribution;
    refusal(batch, "NoSuchDistribution", kind)
}

pub(super) fn no_tenant(batch: &InvalidationBatch) -> EdgeError {
    let tenant = batch.scope.tenant.clone().unwrap();
    let kind = EdgeErrorKind::NoSuchTenant { tenant };
    refusal(batch, "EntityNotFound", kind)
}

pub(super) fn taken(batch: &InvalidationBatch) -> EdgeError {
    let caller_reference = batch.caller_reference.clone();
    let kind = EdgeErrorKind::ReferenceTaken { caller_reference };
    refusal(batch, "InvalidationBatchAlreadyExists", kind)
}
