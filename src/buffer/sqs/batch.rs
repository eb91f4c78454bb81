//! Calls for up to ten messages each: sent, extended, given back and deleted.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry,
};
use futures_util::StreamExt;
use futures_util::stream;

use super::error;
use super::queue::Sqs;
use super::request::{ENTRIES_MAX, SendEntry, split, whole};
use crate::buffer::{BufferError, Message, ReceiptError, SendError};

/// Batch requests of one call that are under way at the same time.
const CONCURRENT_REQUESTS: usize = 4;

/// A failed entry of a batch, by its position in the request.
struct FailedEntry {
    index: usize,
    sender_fault: bool,
    cause: BufferError,
}

impl Sqs {
    pub(super) async fn send_all(&self, messages: Vec<Message>) -> Result<(), SendError> {
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

    pub(super) async fn extend_all(
        &self,
        receipts: &[Arc<str>],
    ) -> Result<(), ReceiptError<Arc<str>>> {
        let seconds = self.visibility_seconds();
        self.each_request(receipts, async |request| {
            self.change_visibility(&request, seconds).await
        })
        .await
    }

    pub(super) async fn give_all_back(
        &self,
        receipts: &[Arc<str>],
    ) -> Result<(), ReceiptError<Arc<str>>> {
        self.each_request(receipts, async |request| {
            let mut failed = self.change_visibility(&request, 0).await?;
            // An outdated receipt: there is nothing to give back.
            failed.retain(|entry| !error::is_outdated_receipt(&entry.cause));
            Ok(failed)
        })
        .await
    }

    pub(super) async fn delete_all(
        &self,
        receipts: &[Arc<str>],
    ) -> Result<(), ReceiptError<Arc<str>>> {
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

    /// Hides messages for so many seconds from now on. Returns those for which
    /// that failed.
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

    /// Runs one batch operation over all receipts, and gathers the failures.
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
}
