//! The edge cache: what takes invalidations in the end.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

/// The most paths in one invalidation (CloudFront quotas).
pub const BATCH_PATHS_MAX: usize = 3_000;

/// What an invalidation is made at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The distribution's id.
    pub distribution: Arc<str>,
    /// One of its tenants, by the tenant's id; `None`: all copies.
    pub tenant: Option<Arc<str>>,
}

impl Scope {
    /// A whole distribution.
    pub fn of(distribution: &Arc<str>) -> Self {
        Self {
            distribution: Arc::clone(distribution),
            tenant: None,
        }
    }
}

/// One request to the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidationBatch {
    /// The distribution, or one of its tenants.
    pub scope: Scope,
    /// Names the request. The edge answers a name it has seen, with the same
    /// paths, with the invalidation of then: it must be new for new changes,
    /// and the same when one request is repeated.
    pub caller_reference: String,
    /// At least one and at most [`BATCH_PATHS_MAX`]: paths in the form of
    /// [`crate::model::path::encode`], and tags after a `#`.
    pub paths: Vec<String>,
}

/// The edge has taken the invalidation on. It cannot be lost or cancelled any
/// more, and is effective within seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedInvalidation {
    /// The invalidation's id, for the vendor's console.
    pub id: String,
}

/// An invalidation as the edge lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// When it was accepted, by the vendor's clock.
    pub made_at: SystemTime,
    /// Whether it is no longer in progress.
    pub completed: bool,
}

/// Some of a distribution's invalidations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub invalidations: Vec<Listed>,
    /// Where older ones begin, if there are any.
    pub next: Option<String>,
}

/// An invalidation in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// What names it.
    pub caller_reference: String,
    /// Its paths.
    pub paths: Vec<String>,
    /// Whether it is no longer in progress.
    pub completed: bool,
}

/// Takes invalidations.
///
/// - **A batch may be repeated** any number of times: the caller reference makes
///   that harmless and free.
/// - **No order** between batches.
/// - **The caller retries** and keeps to the pace: one call is one request.
/// - **Cancelling** leaves open whether the batch was accepted; repeat it.
pub trait Edge: Send + Sync + 'static {
    /// Hands one batch over.
    fn invalidate(
        &self,
        batch: &InvalidationBatch,
    ) -> impl Future<Output = Result<AcceptedInvalidation, EdgeError>> + Send;

    /// Lists a distribution's invalidations, or a tenant's, whoever made them:
    /// the newest, or those from a page's `next` on.
    fn list(
        &self,
        scope: &Scope,
        from: Option<String>,
    ) -> impl Future<Output = Result<Page, EdgeError>> + Send;

    /// Reads one of them in full.
    fn read(&self, scope: &Scope, id: &str)
    -> impl Future<Output = Result<Made, EdgeError>> + Send;
}

/// A batch that was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The quota of paths in progress is used up; it frees up by itself.
    #[error("distribution {distribution} has too many invalidations in progress: {reason}")]
    TooManyInProgress {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The vendor's words.
        reason: String,
    },
    /// Too many calls.
    #[error("calls for distribution {distribution} are throttled ({code}): {reason}")]
    Throttled {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The vendor's error code.
        code: String,
        /// The vendor's words.
        reason: String,
    },
    /// A timeout, a lost connection, or the vendor's own fault.
    #[error("distribution {distribution} could not be reached ({code}): {reason}")]
    Unavailable {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The vendor's error code.
        code: String,
        /// The vendor's words.
        reason: String,
    },
    /// The batch holds more than one request may.
    #[error("distribution {distribution} refused a batch of {paths} paths as too large: {reason}")]
    TooLarge {
        /// The distribution's id.
        distribution: Arc<str>,
        /// How many it held.
        paths: usize,
        /// The vendor's words.
        reason: String,
    },
    /// The caller reference was used before with other paths.
    #[error(
        "distribution {distribution} knows caller reference {caller_reference} with other paths"
    )]
    ReferenceTaken {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The reference.
        caller_reference: String,
    },
    /// Something in the batch is no valid path.
    #[error(
        "distribution {distribution} refused a batch of {paths} paths ({code}): {reason}; \
         find the rule that renders such a path and correct its template"
    )]
    InvalidPath {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The vendor's error code.
        code: String,
        /// How many paths the batch held.
        paths: usize,
        /// The vendor's words.
        reason: String,
    },
    /// evictd lacks a right.
    #[error(
        "distribution {distribution}: access denied ({code}): {reason}; \
         allow {action} on the distribution to evictd's role"
    )]
    Denied {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The vendor's error code.
        code: String,
        /// The right to grant.
        action: &'static str,
        /// The vendor's words.
        reason: String,
    },
    /// There is no such distribution.
    #[error(
        "there is no distribution {distribution} in this AWS account; \
         correct its id under [[cloudfront.distribution]]"
    )]
    NoSuchDistribution {
        /// The distribution's id.
        distribution: Arc<str>,
    },
    /// There is no such tenant.
    #[error(
        "distribution {distribution} has no tenant {tenant}; \
         correct what the rule's `tenant` renders: CloudFront's id of the tenant"
    )]
    NoSuchTenant {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The tenant.
        tenant: Arc<str>,
    },
    /// Refused for another reason that does not pass by itself.
    #[error(
        "distribution {distribution} refused the request ({code}): {reason}; \
         see the code in the CloudFront API reference"
    )]
    Refused {
        /// The distribution's id.
        distribution: Arc<str>,
        /// The vendor's error code.
        code: String,
        /// The vendor's words.
        reason: String,
    },
}

impl EdgeError {
    /// Whether it can pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            EdgeError::TooManyInProgress { .. }
            | EdgeError::Throttled { .. }
            | EdgeError::Unavailable { .. } => true,
            EdgeError::TooLarge { .. }
            | EdgeError::ReferenceTaken { .. }
            | EdgeError::InvalidPath { .. }
            | EdgeError::Denied { .. }
            | EdgeError::NoSuchDistribution { .. }
            | EdgeError::NoSuchTenant { .. }
            | EdgeError::Refused { .. } => false,
        }
    }

    /// A short name, for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            EdgeError::TooManyInProgress { .. } => "too-many-in-progress",
            EdgeError::Throttled { .. } => "throttled",
            EdgeError::Unavailable { .. } => "unavailable",
            EdgeError::TooLarge { .. } => "too-large",
            EdgeError::ReferenceTaken { .. } => "reference-taken",
            EdgeError::InvalidPath { .. } => "invalid-path",
            EdgeError::Denied { .. } => "denied",
            EdgeError::NoSuchDistribution { .. } => "no-such-distribution",
            EdgeError::NoSuchTenant { .. } => "no-such-tenant",
            EdgeError::Refused { .. } => "refused",
        }
    }
}
