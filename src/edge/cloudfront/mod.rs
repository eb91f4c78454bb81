//! The edge on Amazon CloudFront.

mod tenant;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::retry::RetryConfig;
use aws_sdk_cloudfront::config::timeout::TimeoutConfig;
use aws_sdk_cloudfront::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudfront::types;

use super::{
    AcceptedInvalidation, Edge, EdgeError, EdgeErrorKind, InvalidationBatch, Listed, Made, Page,
    Scope,
};
use crate::telemetry::cause::chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A full batch of long paths is 12 MB.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// All attempts of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

const INVALIDATE: &str = "cloudfront:CreateInvalidation";
const LIST: &str = "cloudfront:ListInvalidations";
const READ: &str = "cloudfront:GetInvalidation";

/// The code of a request that could not be built, and was not sent.
const INVALID_REQUEST: &str = "InvalidRequest";

/// What `Status` says of one that is in progress. The other is `Completed`.
const IN_PROGRESS: &str = "InProgress";

/// The most that one page lists.
const PAGE_ITEMS: i32 = 100;

/// CloudFront in one AWS account.
#[derive(Clone, Debug)]
pub struct CloudFront {
    pub(super) client: Client,
    /// Repeats nothing by itself: its caller keeps to a pace.
    once: Client,
}

impl CloudFront {
    /// A client. Nothing is sent yet.
    pub fn new(config: &SdkConfig) -> Self {
        let config = aws_sdk_cloudfront::config::Builder::from(config)
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .build();
        let once = config.to_builder().retry_config(RetryConfig::disabled());
        Self {
            once: Client::from_conf(once.build()),
            client: Client::from_conf(config),
        }
    }

    /// Asks for the distribution's newest invalidation, so that a start-up with
    /// wrong credentials or a wrong id fails early. It takes the right
    /// `cloudfront:ListInvalidations`; whether invalidations may be created
    /// shows only when one is.
    ///
    /// # Errors
    ///
    /// The distribution cannot be reached or read.
    pub async fn check(&self, distribution: &Arc<str>) -> Result<(), EdgeError> {
        self.client
            .list_invalidations()
            .distribution_id(&**distribution)
            .max_items(1)
            .send()
            .await
            .map(drop)
            .map_err(|error| explain(distribution, LIST, None, &error))
    }
}

impl Edge for CloudFront {
    async fn invalidate(
        &self,
        batch: &InvalidationBatch,
    ) -> Result<AcceptedInvalidation, EdgeError> {
        let Scope {
            distribution,
            tenant,
        } = &batch.scope;
        let request = types::Paths::builder()
            .quantity(i32::try_from(batch.paths.len()).unwrap_or(i32::MAX))
            .set_items(Some(batch.paths.clone()))
            .build()
            .and_then(|paths| {
                types::InvalidationBatch::builder()
                    .caller_reference(&batch.caller_reference)
                    .paths(paths)
                    .build()
            })
            .map_err(|error| EdgeError {
                distribution: Arc::clone(distribution),
                code: INVALID_REQUEST.to_owned(),
                reason: chain(&error),
                kind: EdgeErrorKind::Refused,
            })?;
        if let Some(tenant) = tenant {
            return self.invalidate_tenant(tenant, batch, request).await;
        }
        let output = self
            .once
            .create_invalidation()
            .distribution_id(&**distribution)
            .invalidation_batch(request)
            .send()
            .await
            .map_err(|error| explain(distribution, INVALIDATE, Some(batch), &error))?;
        Ok(AcceptedInvalidation {
            id: output.invalidation.map(|made| made.id).unwrap_or_default(),
        })
    }

    async fn list(&self, scope: &Scope, from: Option<String>) -> Result<Page, EdgeError> {
        let Scope {
            distribution,
            tenant,
        } = scope;
        if let Some(tenant) = tenant {
            return self.list_tenant(distribution, tenant, from).await;
        }
        let output = self
            .once
            .list_invalidations()
            .distribution_id(&**distribution)
            .max_items(PAGE_ITEMS)
            .set_marker(from)
            .send()
            .await
            .map_err(|error| explain(distribution, LIST, None, &error))?;
        Ok(page(output.invalidation_list))
    }

    async fn read(&self, scope: &Scope, id: &str) -> Result<Made, EdgeError> {
        let Scope {
            distribution,
            tenant,
        } = scope;
        if let Some(tenant) = tenant {
            return self.read_tenant(distribution, tenant, id).await;
        }
        let output = self
            .once
            .get_invalidation()
            .distribution_id(&**distribution)
            .id(id)
            .send()
            .await
            .map_err(|error| explain(distribution, READ, None, &error))?;
        Ok(made(output.invalidation))
    }
}

fn page(list: Option<types::InvalidationList>) -> Page {
    let Some(list) = list else {
        return Page::default();
    };
    let items = list.items.unwrap_or_default().into_iter();
    Page {
        next: list.next_marker.filter(|_| list.is_truncated),
        invalidations: items
            .map(|item| Listed {
                completed: item.status != IN_PROGRESS,
                // Before the epoch there was no CloudFront.
                made_at: SystemTime::try_from(item.create_time).unwrap_or(SystemTime::UNIX_EPOCH),
                id: item.id,
            })
            .collect(),
    }
}

fn made(made: Option<types::Invalidation>) -> Made {
    let completed = made.as_ref().is_none_or(|made| made.status != IN_PROGRESS);
    let batch = made.and_then(|made| made.invalidation_batch);
    let (caller_reference, paths) = match batch {
        None => (String::new(), None),
        Some(batch) => (batch.caller_reference, batch.paths),
    };
    let items = paths.and_then(|paths| paths.items);
    Made {
        caller_reference,
        paths: items.unwrap_or_default(),
        completed,
    }
}

/// What an SDK's error of a call means. `batch` is what was asked for, where
/// invalidating was.
pub(super) fn explain<E>(
    distribution: &Arc<str>,
    action: &'static str,
    batch: Option<&InvalidationBatch>,
    error: &SdkError<E>,
) -> EdgeError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failed = |kind, code: &str, reason: String| EdgeError {
        distribution: Arc::clone(distribution),
        code: code.to_owned(),
        reason,
        kind,
    };
    let unavailable = |code| failed(EdgeErrorKind::Unavailable, code, chain(error));
    match error {
        SdkError::TimeoutError(_) => unavailable("Timeout"),
        SdkError::DispatchFailure(_) => unavailable("DispatchFailure"),
        SdkError::ResponseError(_) => unavailable("ResponseError"),
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let code = meta.code().unwrap_or("unknown");
            let reason = meta.message().unwrap_or("no message");
            let kind = classify(code, service.raw().status().as_u16(), action, batch);
            failed(kind, code, reason.to_owned())
        }
        // Construction failures, and whatever a later SDK adds.
        _ => failed(EdgeErrorKind::Refused, INVALID_REQUEST, chain(error)),
    }
}

/// What the service means by a code and a status.
fn classify(
    code: &str,
    status: u16,
    action: &'static str,
    batch: Option<&InvalidationBatch>,
) -> EdgeErrorKind {
    let paths = batch.map_or(0, |batch| batch.paths.len());
    match (code, status) {
        ("TooManyInvalidationsInProgress", _) => EdgeErrorKind::TooManyInProgress,
        (
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequests"
            | "TooManyRequestsException"
            | "SlowDown"
            | "PriorRequestNotComplete"
            | "BandwidthLimitExceeded",
            _,
        )
        | (_, 429) => EdgeErrorKind::Throttled,
        ("BatchTooLarge", _) | (_, 413) => EdgeErrorKind::TooLarge { paths },
        // The SDK does not model this one.
        ("InvalidationBatchAlreadyExists", _) => EdgeErrorKind::ReferenceTaken {
            caller_reference: batch
                .map_or_else(String::new, |batch| batch.caller_reference.clone()),
        },
        // Temporary credentials that the SDK is about to renew.
        ("ExpiredToken" | "ExpiredTokenException" | "RequestExpired", _) | (_, 500..) => {
            EdgeErrorKind::Unavailable
        }
        ("NoSuchDistribution", _) => EdgeErrorKind::NoSuchDistribution,
        ("InvalidArgument", _) => EdgeErrorKind::InvalidPath { paths },
        (
            "AccessDenied"
            | "AccessDeniedException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationToken",
            _,
        )
        | (_, 401 | 403) => EdgeErrorKind::Denied { action },
        (_, 0..=499) => EdgeErrorKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, status: u16) -> EdgeError {
        EdgeError {
            distribution: "E1".into(),
            code: code.to_owned(),
            reason: "why".to_owned(),
            kind: classify(code, status, INVALIDATE, None),
        }
    }

    #[test]
    fn every_code_has_its_meaning() {
        for (code, status, name) in [
            (
                "TooManyInvalidationsInProgress",
                400,
                "too-many-in-progress",
            ),
            ("Throttling", 400, "throttled"),
            ("Whatever", 429, "throttled"),
            ("BatchTooLarge", 413, "too-large"),
            ("unknown", 413, "too-large"),
            ("InvalidationBatchAlreadyExists", 400, "reference-taken"),
            ("ServiceUnavailable", 503, "unavailable"),
            ("InternalError", 500, "unavailable"),
            ("ExpiredToken", 403, "unavailable"),
            ("NoSuchDistribution", 404, "no-such-distribution"),
            ("InvalidArgument", 400, "invalid-path"),
            ("AccessDenied", 403, "denied"),
            ("Unheard", 403, "denied"),
            ("MalformedXML", 400, "refused"),
            ("InconsistentQuantities", 400, "refused"),
        ] {
            let error = error(code, status);
            assert_eq!(error.name(), name, "{code}");
            let text = error.to_string();
            for part in ["distribution E1 ", code, "why"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn a_denial_names_the_permission_to_grant() {
        let text = error("AccessDenied", 403).to_string();
        assert!(
            text.contains("allow cloudfront:CreateInvalidation"),
            "{text}"
        );
    }
}
