//! The contract of an edge, which takes invalidations.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use crate::telemetry::aws_credentials::CredentialsFault;

/// The most paths in one invalidation (CloudFront quotas).
pub const BATCH_PATHS_MAX: usize = 3_000;

/// Where an invalidation is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The distribution's id.
    pub distribution: Arc<str>,
    /// One of its tenants, by the tenant's id; `None`: all copies.
    pub tenant: Option<Arc<str>>,
}

impl Scope {
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

/// An invalidation that the edge has accepted. It cannot be lost or cancelled any
/// more, and is effective within seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedInvalidation {
    /// The invalidation's id, for the vendor's console.
    pub id: String,
}

/// An invalidation as the edge lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    /// When it was accepted, by this machine's clock: the vendor's is corrected by
    /// what its answers show.
    pub made_at: SystemTime,
    /// Whether it is no longer in progress.
    pub completed: bool,
}

/// Some of a distribution's invalidations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub invalidations: Vec<Listed>,
    /// Where the page with older ones begins, if there are any.
    pub next: Option<String>,
}

/// An invalidation in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The name of the request.
    pub caller_reference: String,
    pub paths: Vec<String>,
    /// Whether it is no longer in progress.
    pub completed: bool,
}

/// Takes invalidations.
///
/// - **A batch may be repeated** any number of times: the caller reference makes
///   that harmless and free.
/// - **No order** between batches.
/// - **The caller retries** and keeps to the rate limit: one call is one request.
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

/// A call to the edge that failed.
#[derive(Debug, thiserror::Error)]
#[error("distribution {distribution} {kind} ({code}: {reason})")]
pub struct EdgeError {
    /// The distribution's id.
    pub distribution: Arc<str>,
    /// The vendor's error code.
    pub code: String,
    /// The vendor's words.
    pub reason: String,
    /// The meaning of the failure.
    pub kind: EdgeErrorKind,
}

/// The meaning of a failed call to the edge, in words that follow the
/// distribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeErrorKind {
    /// The quota of paths in progress is used up; it frees up by itself.
    #[error(
        "has too many invalidations in progress; find out what else invalidates there, lower the \
         bulk_threshold of rules that send much, or ask AWS for a higher quota"
    )]
    TooManyInProgress,
    /// Too many calls.
    #[error(
        "is called too often; find out who else calls CloudFront in this AWS account, lower \
         cloudfront.calls_per_second, or ask AWS for a higher rate"
    )]
    Throttled,
    /// A timeout, or a lost connection.
    #[error("could not be reached")]
    Unavailable,
    /// It answered, with a fault of its own.
    #[error("answered with status {status}: that is not about the request, and may pass")]
    Failing {
        /// The status of HTTP.
        status: u16,
    },
    /// The answer says that it went well, and not what was made.
    #[error("answered without what was asked for; look for a proxy in between")]
    Incomplete,
    /// The request was not signed, or not as the edge wants it.
    #[error("cannot be used: {0}")]
    Credentials(CredentialsFault),
    /// Nobody has listed the error. It may pass, and the request may have been
    /// accepted.
    #[error(
        "answered with status {status} and an error that evictd does not know; look it up in the \
         CloudFront API reference, or for a proxy that answers in CloudFront's place"
    )]
    Unknown {
        /// The status of HTTP.
        status: u16,
    },
    /// There is no such invalidation, or it is too new to be read.
    #[error("does not know the invalidation that was asked about")]
    NoSuchInvalidation,
    /// The batch holds more than one request may.
    #[error("refused a batch of {paths} paths as too large")]
    TooLarge {
        /// Number of paths that it held.
        paths: usize,
    },
    /// The caller reference was used before with other paths.
    #[error("knows caller reference {caller_reference} with other paths")]
    ReferenceTaken {
        /// The request's name.
        caller_reference: String,
    },
    /// A path of the batch is not valid.
    #[error(
        "refused a batch of {paths} paths; \
         find the rule that renders such a path and correct its template"
    )]
    InvalidPath {
        /// Number of paths that the batch held.
        paths: usize,
    },
    /// evictd lacks the permission for `action`.
    #[error("denied access; allow {action} on the distribution to evictd's role")]
    Denied {
        /// As IAM policies name it.
        action: &'static str,
    },
    /// The request is signed for another time.
    #[error("refused the signature, because {words}")]
    ClockOff {
        /// Both times, and what to do.
        words: String,
    },
    /// There is no such distribution.
    #[error(
        "does not exist in this AWS account; \
         correct its id under [[cloudfront.distribution]]"
    )]
    NoSuchDistribution,
    /// There is no such tenant.
    #[error(
        "has no tenant {tenant}; \
         correct what the rule's `tenant` renders: CloudFront's id of the tenant"
    )]
    NoSuchTenant {
        /// The tenant's id.
        tenant: Arc<str>,
    },
    /// Refused for the request's form, whatever its paths are.
    #[error("refused the request's form; see the code in the CloudFront API reference")]
    Refused,
}

impl EdgeError {
    /// Whether it can pass by itself.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            EdgeErrorKind::TooManyInProgress
            | EdgeErrorKind::Throttled
            | EdgeErrorKind::ClockOff { .. }
            | EdgeErrorKind::Unknown { .. }
            | EdgeErrorKind::NoSuchInvalidation
            | EdgeErrorKind::Unavailable
            | EdgeErrorKind::Incomplete
            | EdgeErrorKind::Failing { .. } => true,
            EdgeErrorKind::Credentials(fault) => fault.is_transient(),
            EdgeErrorKind::TooLarge { .. }
            | EdgeErrorKind::ReferenceTaken { .. }
            | EdgeErrorKind::InvalidPath { .. }
            | EdgeErrorKind::Denied { .. }
            | EdgeErrorKind::NoSuchDistribution
            | EdgeErrorKind::NoSuchTenant { .. }
            | EdgeErrorKind::Refused => false,
        }
    }

    /// A short name, for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self.kind {
            EdgeErrorKind::TooManyInProgress => "too-many-in-progress",
            EdgeErrorKind::Throttled => "throttled",
            EdgeErrorKind::Unavailable | EdgeErrorKind::Failing { .. } => "unavailable",
            EdgeErrorKind::Credentials(_) => "credentials",
            EdgeErrorKind::Incomplete => "incomplete-answer",
            EdgeErrorKind::Unknown { .. } => "unknown",
            EdgeErrorKind::NoSuchInvalidation => "no-such-invalidation",
            EdgeErrorKind::TooLarge { .. } => "too-large",
            EdgeErrorKind::ReferenceTaken { .. } => "reference-taken",
            EdgeErrorKind::InvalidPath { .. } => "invalid-path",
            EdgeErrorKind::Denied { .. } => "denied",
            EdgeErrorKind::ClockOff { .. } => "clock",
            EdgeErrorKind::NoSuchDistribution => "no-such-distribution",
            EdgeErrorKind::NoSuchTenant { .. } => "no-such-tenant",
            EdgeErrorKind::Refused => "refused",
        }
    }
}
