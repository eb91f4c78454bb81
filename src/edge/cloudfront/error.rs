//! CloudFront's errors as what they mean.

use std::error::Error;
use std::sync::Arc;

use aws_sdk_cloudfront::error::{ProvideErrorMetadata, SdkError};

use crate::edge::{EdgeError, EdgeErrorKind, InvalidationBatch};
use crate::telemetry::aws_credentials::CredentialsFault;
use crate::telemetry::cause::chain;
use crate::telemetry::clock;

/// Says what an error of the SDK means. `batch` is the request, where the call
/// was to invalidate.
pub(in crate::edge) fn explain<E>(
    distribution: &Arc<str>,
    action: &'static str,
    batch: Option<&InvalidationBatch>,
    error: &SdkError<E>,
) -> EdgeError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let failed = |kind, code: &str, reason: String| EdgeError {
        distribution: Arc::clone(distribution),
        code: code.to_owned(),
        reason,
        kind,
    };
    let unavailable = |code| {
        let words = chain(error);
        let fault = CredentialsFault::of_unsent(&words);
        let kind = fault.map_or(EdgeErrorKind::Unavailable, EdgeErrorKind::Credentials);
        failed(kind, code, words)
    };
    match error {
        SdkError::TimeoutError(_) => unavailable("Timeout"),
        SdkError::DispatchFailure(_) => unavailable("DispatchFailure"),
        SdkError::ResponseError(_) => unavailable("ResponseError"),
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let code = meta.code().unwrap_or("unknown");
            let reason = meta.message().unwrap_or("no message");
            let date = service.raw().headers().get("date");
            let status = service.raw().status().as_u16();
            let kind = match clock::explain(code, reason, date) {
                // No error comes with such a status. It is not CloudFront's answer.
                _ if status < 400 => EdgeErrorKind::Incomplete,
                Some(words) => EdgeErrorKind::ClockOff { words },
                None => classify(code, status, action, batch),
            };
            failed(kind, code, reason.to_owned())
        }
        // Construction failures, and whatever a later SDK adds.
        _ => unsent(distribution, error),
    }
}

/// A request that could not be built, and was not sent.
pub(super) fn unsent(distribution: &Arc<str>, error: &(dyn Error + 'static)) -> EdgeError {
    EdgeError {
        distribution: Arc::clone(distribution),
        code: "InvalidRequest".to_owned(),
        reason: chain(error),
        kind: EdgeErrorKind::Refused,
    }
}

/// Says what the service means by a code and a status.
///
/// What ends for good is listed: the errors that the API reference has for
/// `CreateInvalidation`, and those that all actions have in common. Whatever else
/// there is may pass.
fn classify(
    code: &str,
    status: u16,
    action: &'static str,
    batch: Option<&InvalidationBatch>,
) -> EdgeErrorKind {
    if let Some(fault) = CredentialsFault::of_code(code) {
        return EdgeErrorKind::Credentials(fault);
    }
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
        ("BatchTooLarge", _) | (_, 413) if batch.is_some() => EdgeErrorKind::TooLarge { paths },
        // The SDK does not model this one.
        ("InvalidationBatchAlreadyExists", _) => EdgeErrorKind::ReferenceTaken {
            caller_reference: batch
                .map_or_else(String::new, |batch| batch.caller_reference.clone()),
        },
        // The request did not arrive as a whole, or not in time.
        ("RequestExpired" | "RequestAborted" | "RequestAbortedException", _)
        | ("RequestTimeout" | "RequestTimeoutException", _)
        | (_, 408 | 500..) => EdgeErrorKind::Failing { status },
        ("NoSuchInvalidation", _) => EdgeErrorKind::NoSuchInvalidation,
        ("NoSuchDistribution", _) => EdgeErrorKind::NoSuchDistribution,
        ("InvalidArgument", _) if batch.is_some() => EdgeErrorKind::InvalidPath { paths },
        (
            "AccessDenied" | "AccessDeniedException", _)
        | (_, 401 | 403) => EdgeErrorKind::Denied { action },
        // The tenant's is told from these by whoever asked about one.
        (
            "EntityNotFound"
            // Of a call that names no path.
            | "InvalidArgument"
            | "InconsistentQuantities"
            | "InvalidAction"
            | "InvalidRequest"
            | "MalformedInput"
            | "MalformedXML"
            | "MissingBody"
            | "UnknownOperationException"
            | "ValidationError"
            | "ValidationException",
            _,
        ) => EdgeErrorKind::Refused,
        (_, 0..=499) => EdgeErrorKind::Unknown { status },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVALIDATE: &str = "cloudfront:CreateInvalidation";

    fn error(code: &str, status: u16) -> EdgeError {
        let batch = InvalidationBatch {
            scope: crate::edge::Scope::of(&"E1".into()),
            caller_reference: "evictd-1".to_owned(),
            paths: vec!["/a".to_owned()],
        };
        EdgeError {
            distribution: "E1".into(),
            code: code.to_owned(),
            reason: "why".to_owned(),
            kind: classify(code, status, INVALIDATE, Some(&batch)),
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
            ("ExpiredToken", 403, "credentials"),
            ("InvalidClientTokenId", 403, "credentials"),
            ("SignatureDoesNotMatch", 403, "credentials"),
            ("UnrecognizedClientException", 400, "credentials"),
            ("NoSuchDistribution", 404, "no-such-distribution"),
            ("InvalidArgument", 400, "invalid-path"),
            ("AccessDenied", 403, "denied"),
            ("Unheard", 403, "denied"),
            ("MalformedXML", 400, "refused"),
            ("InconsistentQuantities", 400, "refused"),
            ("MissingBody", 400, "refused"),
            ("RequestTimeout", 408, "unavailable"),
            ("unknown", 408, "unavailable"),
            ("RequestAborted", 400, "unavailable"),
            ("NoSuchInvalidation", 404, "no-such-invalidation"),
            ("SomethingNew", 400, "unknown"),
            ("SomethingNew", 404, "unknown"),
            ("unknown", 301, "unknown"),
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
    fn a_call_that_names_no_path_blames_no_rule_and_a_denial_names_its_permission() {
        for action in [
            "cloudfront:ListInvalidations",
            "cloudfront:GetInvalidation",
            "cloudfront:GetDistributionConfig",
        ] {
            for (code, status) in [
                ("AccessDenied", 403),
                ("AccessDenied", 400),
                ("unknown", 403),
                ("InvalidArgument", 400),
                ("unknown", 413),
                ("BatchTooLarge", 413),
                ("SomethingNew", 400),
            ] {
                let text = classify(code, status, action, None).to_string();
                for word in ["rule", "template", "batch"] {
                    assert!(!text.contains(word), "{code}: {text}");
                }
                let denied = code == "AccessDenied" || status == 403;
                assert_eq!(text.contains(action), denied, "{text}");
            }
        }
    }

    #[test]
    fn credentials_and_an_answer_are_neither_a_missing_permission_nor_silence() {
        for (code, status, says) in [
            ("ExpiredToken", 403, "have expired"),
            ("InvalidClientTokenId", 403, "does not know the credentials"),
            (
                "SignatureDoesNotMatch",
                403,
                "does not know the credentials",
            ),
            ("ServiceUnavailable", 503, "answered with status 503"),
            ("InternalError", 500, "answered with status 500"),
            ("RequestTimeout", 408, "answered with status 408"),
        ] {
            let error = error(code, status);
            let text = error.to_string();
            assert!(text.contains(says), "{text}");
            for words in ["allow cloudfront", "could not be reached"] {
                assert!(!text.contains(words), "{text}");
            }
            let passes = says != "does not know the credentials";
            assert_eq!(error.is_transient(), passes, "{text}");
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
