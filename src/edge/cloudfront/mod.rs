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

use super::{AcceptedInvalidation, Edge, EdgeError, InvalidationBatch, Listed, Made, Page, Scope};
use crate::telemetry::cause::chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A full batch of long paths is 12 MB.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// All attempts of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

const INVALIDATE: &str = "cloudfront:CreateInvalidation";
const LIST: &str = "cloudfront:ListInvalidations";
const READ: &str = "cloudfront:GetInvalidation";

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
            .map_err(|error| explain(distribution, LIST, "", 0, &error))
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
            .map_err(|error| EdgeError::Refused {
                distribution: Arc::clone(distribution),
                code: "InvalidRequest".to_owned(),
                reason: chain(&error),
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
            .map_err(|error| {
                explain(
                    distribution,
                    INVALIDATE,
                    &batch.caller_reference,
                    batch.paths.len(),
                    &error,
                )
            })?;
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
            .map_err(|error| explain(distribution, LIST, "", 0, &error))?;
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
            .map_err(|error| explain(distribution, READ, "", 0, &error))?;
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

pub(super) fn explain<E>(
    distribution: &Arc<str>,
    action: &'static str,
    caller_reference: &str,
    paths: usize,
    error: &SdkError<E>,
) -> EdgeError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let unavailable = |code: &str| EdgeError::Unavailable {
        distribution: Arc::clone(distribution),
        code: code.to_owned(),
        reason: chain(error),
    };
    match error {
        SdkError::TimeoutError(_) => unavailable("Timeout"),
        SdkError::DispatchFailure(_) => unavailable("DispatchFailure"),
        SdkError::ResponseError(_) => unavailable("ResponseError"),
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let answer = ServiceError {
                code: meta.code().unwrap_or("unknown"),
                reason: meta.message().unwrap_or("no message"),
                status: service.raw().status().as_u16(),
            };
            classify(distribution, action, caller_reference, paths, &answer)
        }
        // Construction failures, and whatever a later SDK adds.
        _ => EdgeError::Refused {
            distribution: Arc::clone(distribution),
            code: "InvalidRequest".to_owned(),
            reason: chain(error),
        },
    }
}

/// An error as the service sends it.
struct ServiceError<'a> {
    code: &'a str,
    reason: &'a str,
    status: u16,
}

fn classify(
    distribution: &Arc<str>,
    action: &'static str,
    caller_reference: &str,
    paths: usize,
    answer: &ServiceError<'_>,
) -> EdgeError {
    let distribution = Arc::clone(distribution);
    let code = answer.code.to_owned();
    let reason = answer.reason.to_owned();
    match (answer.code, answer.status) {
        ("TooManyInvalidationsInProgress", _) => EdgeError::TooManyInProgress {
            distribution,
            reason,
        },
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
        | (_, 429) => EdgeError::Throttled {
            distribution,
            code,
            reason,
        },
        ("BatchTooLarge", _) | (_, 413) => EdgeError::TooLarge {
            distribution,
            paths,
            reason,
        },
        // The SDK does not model this one.
        ("InvalidationBatchAlreadyExists", _) => EdgeError::ReferenceTaken {
            distribution,
            caller_reference: caller_reference.to_owned(),
        },
        // Temporary credentials that the SDK is about to renew.
        ("ExpiredToken" | "ExpiredTokenException" | "RequestExpired", _) | (_, 500..) => {
            EdgeError::Unavailable {
                distribution,
                code,
                reason,
            }
        }
        ("NoSuchDistribution", _) => EdgeError::NoSuchDistribution { distribution },
        ("InvalidArgument", _) => EdgeError::InvalidPath {
            distribution,
            code,
            paths,
            reason,
        },
        (
            "AccessDenied"
            | "AccessDeniedException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationToken",
            _,
        )
        | (_, 401 | 403) => EdgeError::Denied {
            distribution,
            code,
            action,
            reason,
        },
        (_, 0..=499) => EdgeError::Refused {
            distribution,
            code,
            reason,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let answer = ServiceError {
                code,
                status,
                reason: "why",
            };
            let error = classify(&"E1".into(), INVALIDATE, "ref", 7, &answer);
            assert_eq!(error.name(), name, "{code}");
            assert!(error.to_string().contains("E1"), "{error}");
        }
    }

    #[test]
    fn a_denial_names_the_right_to_grant() {
        let answer = ServiceError {
            code: "AccessDenied",
            status: 403,
            reason: "not authorized",
        };
        let error = classify(&"E1".into(), INVALIDATE, "ref", 7, &answer);
        assert!(
            error
                .to_string()
                .contains("allow cloudfront:CreateInvalidation"),
            "{error}"
        );
    }
}
