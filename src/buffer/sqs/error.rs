//! SQS's errors in the words that an operator needs.

use std::error::Error;
use std::sync::Arc;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::BatchResultErrorEntry;

use crate::buffer::BufferError;
use crate::telemetry::aws_credentials::CredentialsFault;
use crate::telemetry::cause::chain;
use crate::telemetry::clock;

/// The error of a call that failed as a whole.
pub(super) fn of_call<E>(
    url: &Arc<str>,
    operation: &'static str,
    error: &SdkError<E>,
) -> BufferError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let unavailable = |code: &str| {
        let mut reason = chain(error);
        if let Some(fault) = CredentialsFault::of_unsent(&reason) {
            reason = format!("{fault} ({reason})");
        }
        BufferError::Unavailable {
            buffer: Arc::clone(url),
            operation,
            code: code.to_owned(),
            reason,
        }
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
            if let Some(words) = clock::explain(short(code), reason, date) {
                return BufferError::Unavailable {
                    buffer: Arc::clone(url),
                    operation,
                    code: code.to_owned(),
                    reason: words,
                };
            }
            classify(
                url,
                operation,
                code,
                reason,
                service.raw().status().is_server_error(),
            )
        }
        // Construction failures, and whatever a later SDK adds.
        other => of_build(url, operation, other),
    }
}

/// The error of one entry of a batch.
pub(super) fn of_entry(
    url: &Arc<str>,
    operation: &'static str,
    entry: &BatchResultErrorEntry,
) -> BufferError {
    classify(
        url,
        operation,
        entry.code(),
        entry.message().unwrap_or("no message"),
        !entry.sender_fault(),
    )
}

/// The error of a request that could not be built, and was not sent.
pub(super) fn of_build(
    url: &Arc<str>,
    operation: &'static str,
    error: &(dyn Error + 'static),
) -> BufferError {
    BufferError::Refused {
        buffer: Arc::clone(url),
        operation,
        code: "InvalidRequest".to_owned(),
        reason: chain(error),
        remedy: "check queue_url and the AWS settings in the environment (region, credentials)"
            .to_owned(),
    }
}

/// Whether a receipt failed because a later delivery or a deletion outdated it.
pub(super) fn is_outdated_receipt(error: &BufferError) -> bool {
    let code = short(error.code());
    let (BufferError::Unavailable { reason, .. } | BufferError::Refused { reason, .. }) = error;
    match code {
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => true,
        // A FIFO queue's words for the same.
        "InvalidParameterValue" => reason.contains("receipt handle has expired"),
        _ => false,
    }
}

/// The code without the prefix of SQS's older protocol, which the newer one still
/// sends along.
fn short(code: &str) -> &str {
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

fn classify(
    url: &Arc<str>,
    operation: &'static str,
    code: &str,
    reason: &str,
    server_fault: bool,
) -> BufferError {
    let fault = CredentialsFault::of_code(short(code));
    let expired = fault.filter(|fault| fault.is_transient());
    let remedy = match short(code) {
        "OverLimit"
        | "RequestThrottled"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "KmsThrottled"
        | "KMS.ThrottlingException"
        | "RequestExpired" => None,
        _ if server_fault || expired.is_some() => None,
        "AccessDenied" | "AccessDeniedException" => Some(format!(
            "allow {} on this queue to evictd's role",
            action(operation)
        )),
        "KmsAccessDenied" | "KMS.AccessDeniedException" => Some(
            "allow kms:GenerateDataKey and kms:Decrypt on the queue's key to evictd's role"
                .to_owned(),
        ),
        "QueueDoesNotExist" | "NonExistentQueue" => Some(
            "check queue_url: its account, its region, and whether the queue still exists"
                .to_owned(),
        ),
        "InvalidMessageContents" | "BatchRequestTooLong" | "InvalidParameterValue" => Some(
            "raise the queue's maximum message size to 262144 bytes or more if it is lower"
                .to_owned(),
        ),
        _ => Some(fault.map_or_else(
            || "see the code in the SQS API reference".to_owned(),
            |fault| fault.to_string(),
        )),
    };
    match remedy {
        None => BufferError::Unavailable {
            buffer: Arc::clone(url),
            operation,
            code: code.to_owned(),
            reason: expired.map_or_else(|| reason.to_owned(), |fault| format!("{reason}; {fault}")),
        },
        Some(remedy) => BufferError::Refused {
            buffer: Arc::clone(url),
            operation,
            code: code.to_owned(),
            reason: reason.to_owned(),
            remedy,
        },
    }
}

/// The IAM action an operation needs: batches have none of their own.
fn action(operation: &str) -> String {
    format!(
        "sqs:{}",
        operation.strip_suffix("Batch").unwrap_or(operation)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_waiting_helps_and_what_does() {
        for (code, server_fault, transient, words) in [
            ("OverLimit", false, true, "did not get through"),
            ("RequestThrottled", false, true, "did not get through"),
            ("InternalError", true, true, "did not get through"),
            ("AccessDenied", false, false, "allow sqs:SendMessage on"),
            (
                "AccessDeniedException",
                false,
                false,
                "allow sqs:SendMessage on",
            ),
            ("QueueDoesNotExist", false, false, "check queue_url"),
            (
                "AWS.SimpleQueueService.NonExistentQueue",
                false,
                false,
                "check queue_url",
            ),
            ("SomethingNew", false, false, "SQS API reference"),
            ("ExpiredTokenException", false, true, "have expired"),
            (
                "InvalidSignatureException",
                false,
                false,
                "does not know the credentials",
            ),
        ] {
            let error = classify(&"URL".into(), "SendMessageBatch", code, "why", server_fault);
            assert_eq!(error.is_transient(), transient, "{code}");
            let text = error.to_string();
            for part in [words, "URL", code, "why"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn an_outdated_receipt_is_told_from_other_failures() {
        for (code, reason, outdated) in [
            ("ReceiptHandleIsInvalid", "", true),
            (
                "InvalidParameterValue",
                "Reason: The receipt handle has expired.",
                true,
            ),
            ("InvalidParameterValue", "something else", false),
            ("AccessDenied", "", false),
        ] {
            let error = classify(&"URL".into(), "DeleteMessageBatch", code, reason, false);
            assert_eq!(is_outdated_receipt(&error), outdated, "{code} {reason}");
        }
    }
}
