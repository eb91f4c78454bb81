//! The buffer on Amazon SQS.
//!
//! A standard queue with a dead-letter queue is the right kind: invalidations
//! are idempotent and commute. A FIFO queue works too; every message then gets
//! a deduplication id of its own, because SQS would otherwise drop a second
//! change to the same path within five minutes.

mod dead_letters;
mod error;
mod request;
mod settings;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Region;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use futures_util::StreamExt;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tracing::warn;

use self::request::{ENTRIES_MAX, SendEntry, split, whole};
pub use self::settings::QueueSettings;
use super::message;
use super::{
    Buffer, BufferError, Buried, Message, ReceiptError, Received, Redriven, RejectedMessage,
    SendError,
};
use crate::model::QueuePosition;

/// Messages in one answer.
const RECEIVE_MAX: i32 = 10;
/// The longest long poll.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Batch requests of one call that are under way at the same time.
const CONCURRENT_REQUESTS: usize = 4;
/// SQS stamps a message on one of many machines, in milliseconds. Their clocks
/// differ by far less.
const CLOCKS_DIFFER_MS: u64 = 1_000;
/// SQS's own default, until [`Sqs::check`] has read the queue's setting.
const VISIBILITY_DEFAULT: Duration = Duration::from_secs(30);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// One attempt, a long poll included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// All attempts of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(100);

/// A queue.
///
/// Cloning is cheap and gives another handle to the same queue.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: Client,
    url: Arc<str>,
    fifo: bool,
    visibility: Arc<OnceLock<Duration>>,
    /// The dead-letter queue's URL, once [`Sqs::check`] has looked for it.
    dead_letters: Arc<OnceLock<Option<Arc<str>>>>,
    /// Tells the queue's messages from others', see [`QueuePosition::buffer`].
    identity: u64,
}

/// A failed entry of a batch, by its position in the request.
struct FailedEntry {
    index: usize,
    sender_fault: bool,
    cause: BufferError,
}

impl Sqs {
    /// The queue at `url`. Nothing is sent yet.
    ///
    /// A region named in the URL's host wins over the configuration's: SQS
    /// answers in the queue's own region only.
    pub fn new(config: &SdkConfig, url: impl Into<Arc<str>>) -> Self {
        let url = url.into();
        let mut builder = aws_sdk_sqs::config::Builder::from(config).timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(CALL_TIMEOUT)
                .build(),
        );
        if let Some(region) = region_of(&url) {
            builder = builder.region(Region::new(region.to_owned()));
        }
        Self {
            client: Client::from_conf(builder.build()),
            fifo: url.ends_with(".fifo"),
            identity: identity_of(&url),
            url,
            visibility: Arc::default(),
            dead_letters: Arc::default(),
        }
    }

    /// The queue's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn failure<E>(
        &self,
        operation: &'static str,
        error: &aws_sdk_sqs::error::SdkError<E>,
    ) -> BufferError
    where
        E: aws_sdk_sqs::error::ProvideErrorMetadata + std::error::Error + 'static,
    {
        error::of_call(&self.url, operation, error)
    }

    fn failed_entries(
        &self,
        operation: &'static str,
        failed: &[BatchResultErrorEntry],
    ) -> Vec<FailedEntry> {
        failed
            .iter()
            .filter_map(|entry| {
                Some(FailedEntry {
                    index: entry.id().parse().ok()?,
                    sender_fault: entry.sender_fault(),
                    cause: error::of_entry(&self.url, operation, entry),
                })
            })
            .collect()
    }

    fn visibility_seconds(&self) -> i32 {
        i32::try_from(self.visibility().as_secs()).unwrap_or(i32::MAX)
    }

    async fn send_request(&self, request: Vec<SendEntry>) -> Result<(), SendError> {
        const OPERATION: &str = "SendMessageBatch";
        let mut entries = Vec::with_capacity(request.len());
        for (index, outgoing) in request.iter().enumerate() {
            let mut entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(&outgoing.body);
            if self.fifo {
                // A group of its own too: SQS hands out nothing more of a
                // group while one of its messages is in flight.
                let unique = format!("{:032x}", rand::random::<u128>());
                entry = entry
                    .message_group_id(unique.clone())
                    .message_deduplication_id(unique);
            }
            match entry.build() {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    let cause = error::of_build(&self.url, OPERATION, &error);
                    return Err(whole(request, cause));
                }
            }
        }
        let output = self
            .client
            .send_message_batch()
            .queue_url(&*self.url)
            .set_entries(Some(entries))
            .send()
            .await;
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                let cause = self.failure(OPERATION, &error);
                return Err(whole(request, cause));
            }
        };
        // Nothing lost: accepted is what the answer names as accepted, not
        // what it does not name as failed.
        let accepted: HashSet<usize> = output
            .successful()
            .iter()
            .filter_map(|entry| entry.id().parse().ok())
            .collect();
        let failed = self.failed_entries(OPERATION, output.failed());
        let refused_indices: HashSet<usize> = failed
            .iter()
            .filter(|entry| entry.sender_fault)
            .map(|entry| entry.index)
            .collect();
        let (mut unaccepted, mut refused) = (Vec::new(), Vec::new());
        for (index, outgoing) in request.into_iter().enumerate() {
            if refused_indices.contains(&index) {
                refused.push(outgoing.message);
            } else if !accepted.contains(&index) {
                unaccepted.push(outgoing.message);
            }
        }
        if unaccepted.is_empty() && refused.is_empty() {
            return Ok(());
        }
        let first = failed.into_iter().next().map(|entry| entry.cause);
        Err(SendError {
            unaccepted,
            refused,
            cause: first.unwrap_or_else(|| BufferError::Unavailable {
                buffer: Arc::clone(&self.url),
                operation: OPERATION,
                code: "IncompleteAnswer".to_owned(),
                reason: "the answer does not mention every message".to_owned(),
            }),
        })
    }

    /// Hides messages for as long, from now on. Returns those it failed for.
    async fn change_visibility(
        &self,
        request: &[Arc<str>],
        seconds: i32,
    ) -> Result<Vec<FailedEntry>, BufferError> {
        const OPERATION: &str = "ChangeMessageVisibilityBatch";
        let mut entries = Vec::with_capacity(request.len());
        for (index, receipt) in request.iter().enumerate() {
            entries.push(
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(&**receipt)
                    .visibility_timeout(seconds)
                    .build()
                    .map_err(|error| error::of_build(&self.url, OPERATION, &error))?,
            );
        }
        let output = self
            .client
            .change_message_visibility_batch()
            .queue_url(&*self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| self.failure(OPERATION, &error))?;
        Ok(self.failed_entries(OPERATION, output.failed()))
    }

    /// Runs one batch operation over all receipts, and gathers what failed.
    async fn each_request<F, O>(
        &self,
        receipts: &[Arc<str>],
        call: F,
    ) -> Result<(), ReceiptError<Arc<str>>>
    where
        F: Fn(Vec<Arc<str>>) -> O,
        O: Future<Output = Result<Vec<FailedEntry>, BufferError>>,
    {
        let call = &call;
        let requests: Vec<Vec<Arc<str>>> =
            receipts.chunks(ENTRIES_MAX).map(<[_]>::to_vec).collect();
        let outcomes: Vec<_> = stream::iter(requests)
            .map(|request| async move {
                let outcome = call(request.clone()).await;
                (request, outcome)
            })
            .buffer_unordered(CONCURRENT_REQUESTS)
            .collect()
            .await;
        let mut failed = Vec::new();
        let mut first = None;
        for (request, outcome) in outcomes {
            match outcome {
                Ok(entries) => {
                    for entry in entries {
                        failed.extend(request.get(entry.index).cloned());
                        first.get_or_insert(entry.cause);
                    }
                }
                Err(cause) => {
                    failed.extend(request);
                    first.get_or_insert(cause);
                }
            }
        }
        match first {
            None => Ok(()),
            Some(cause) => Err(ReceiptError { failed, cause }),
        }
    }
}

impl Buffer for Sqs {
    type Receipt = Arc<str>;

    async fn send(&self, messages: Vec<Message>) -> Result<(), SendError> {
        let (requests, unwritable) = split(&self.url, messages);
        let mut outcomes = stream::iter(requests)
            .map(|request| self.send_request(request))
            .buffer_unordered(CONCURRENT_REQUESTS);
        let mut result = unwritable;
        while let Some(outcome) = outcomes.next().await {
            match (outcome, &mut result) {
                (Ok(()), _) => {}
                (Err(error), None) => result = Some(error),
                (Err(error), Some(first)) => {
                    first.unaccepted.extend(error.unaccepted);
                    first.refused.extend(error.refused);
                }
            }
        }
        result.map_or(Ok(()), Err)
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Received<Arc<str>>>, BufferError> {
        let wait = i32::try_from(wait.min(WAIT_MAX).as_secs()).unwrap_or(0);
        let output = self
            .client
            .receive_message()
            .queue_url(&*self.url)
            .max_number_of_messages(RECEIVE_MAX)
            .wait_time_seconds(wait)
            // Named in the request, so that it holds whatever becomes of the
            // queue's setting while the daemon runs.
            .visibility_timeout(self.visibility_seconds())
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|error| self.failure("ReceiveMessage", &error))?;
        Ok(output
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(|message| {
                let (Some(id), Some(receipt)) = (message.message_id, message.receipt_handle)
                else {
                    warn!(queue = %self.url, "SQS sent a message without an id or a receipt; it comes back");
                    return None;
                };
                let attributes = message.attributes.unwrap_or_default();
                let number = |name: &MessageSystemAttributeName| {
                    attributes.get(name).and_then(|text| text.parse::<u64>().ok())
                };
                let deliveries = number(&MessageSystemAttributeName::ApproximateReceiveCount);
                let deliveries = deliveries.unwrap_or(1);
                let sent_at_ms = number(&MessageSystemAttributeName::SentTimestamp);
                let body = message.body.unwrap_or_default();
                Some(Received {
                    id: id.into(),
                    receipt: receipt.into(),
                    order: sent_at_ms.map(|at| QueuePosition {
                        buffer: self.identity,
                        at,
                        // One that was received before is not a newer one
                        // whose stamp is a little late.
                        certain_from: match deliveries {
                            0 | 1 => at + CLOCKS_DIFFER_MS,
                            _ => at,
                        },
                    }),
                    deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
                    content: message::decode(body.as_bytes()),
                    body,
                })
            })
            .collect())
    }

    async fn extend(&self, receipts: &[Arc<str>]) -> Result<(), ReceiptError<Arc<str>>> {
        let seconds = self.visibility_seconds();
        self.each_request(receipts, async |request| {
            self.change_visibility(&request, seconds).await
        })
        .await
    }

    async fn give_back(&self, receipts: &[Arc<str>]) -> Result<(), ReceiptError<Arc<str>>> {
        self.each_request(receipts, async |request| {
            let mut failed = self.change_visibility(&request, 0).await?;
            // An outdated receipt: there is nothing to give back.
            failed.retain(|entry| !error::is_outdated_receipt(&entry.cause));
            Ok(failed)
        })
        .await
    }

    async fn delete(&self, receipts: &[Arc<str>]) -> Result<(), ReceiptError<Arc<str>>> {
        const OPERATION: &str = "DeleteMessageBatch";
        self.each_request(receipts, async |request| {
            let mut entries = Vec::with_capacity(request.len());
            for (index, receipt) in request.iter().enumerate() {
                entries.push(
                    DeleteMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .receipt_handle(&**receipt)
                        .build()
                        .map_err(|error| error::of_build(&self.url, OPERATION, &error))?,
                );
            }
            let output = self
                .client
                .delete_message_batch()
                .queue_url(&*self.url)
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(|error| self.failure(OPERATION, &error))?;
            let mut failed = self.failed_entries(OPERATION, output.failed());
            // An outdated receipt: the message is gone, or another delivery
            // of it is on its way. Repeating this deletion helps neither.
            failed.retain(|entry| !error::is_outdated_receipt(&entry.cause));
            Ok(failed)
        })
        .await
    }

    async fn bury(&self, letter: RejectedMessage<Arc<str>>) -> Result<Buried, BufferError> {
        self.bury_in_queue(letter).await
    }

    async fn redrive(&self) -> Result<Redriven, BufferError> {
        self.redrive_from_queue().await
    }

    fn visibility(&self) -> Duration {
        self.visibility.get().copied().unwrap_or(VISIBILITY_DEFAULT)
    }
}

fn identity_of(url: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(url.as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// `sqs.<region>.amazonaws.com`, in every partition and with its FIPS and
/// dual-stack spellings left to the configuration.
fn region_of(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://")?.split('/').next()?;
    let (region, domain) = host.strip_prefix("sqs.")?.split_once('.')?;
    domain.starts_with("amazonaws.com").then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_comes_from_the_queues_url() {
        for (url, region) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
                Some("eu-west-1"),
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q",
                Some("cn-north-1"),
            ),
            ("http://localhost:4566/000000000000/q", None),
            ("https://queue.amazonaws.com/123456789012/q", None),
            ("https://sqs.example.com/123456789012/q", None),
        ] {
            assert_eq!(region_of(url), region, "{url}");
        }
    }
}
