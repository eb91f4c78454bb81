//! Receives messages.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use tracing::warn;

use super::queue::Sqs;
use crate::buffer::{BufferError, Message, Received, message};

/// The most messages in one answer.
pub(super) const RECEIVE_MAX: i32 = 10;
/// The longest long poll.
const WAIT_MAX: Duration = Duration::from_secs(20);

impl Sqs {
    pub(super) async fn receive_up_to(
        &self,
        wait: Duration,
    ) -> Result<Vec<Received<Arc<str>>>, BufferError> {
        // Named in the request, so that it holds whatever becomes of the queue's
        // setting while the daemon runs.
        self.receive_for(wait, self.visibility_seconds()).await
    }

    /// Some of the messages that are visible now, and stay so. Each counts as
    /// received once more.
    ///
    /// # Errors
    ///
    /// The queue cannot be reached, or the role may not receive.
    pub async fn peek(&self) -> Result<Vec<Message>, BufferError> {
        let received = self.receive_for(Duration::ZERO, 0).await?;
        let readable = |received: Received<_>| received.content.ok();
        Ok(received.into_iter().filter_map(readable).collect())
    }

    async fn receive_for(
        &self,
        wait: Duration,
        visibility_s: i32,
    ) -> Result<Vec<Received<Arc<str>>>, BufferError> {
        let wait = i32::try_from(wait.min(WAIT_MAX).as_secs()).unwrap_or(0);
        let output = self
            .polls
            .receive_message()
            .queue_url(&*self.url)
            .max_number_of_messages(RECEIVE_MAX)
            .wait_time_seconds(wait)
            .visibility_timeout(visibility_s)
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
                let count = message
                    .attributes
                    .as_ref()
                    .and_then(|known| known.get(&MessageSystemAttributeName::ApproximateReceiveCount));
                let deliveries = count.and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
                let body = message.body.unwrap_or_default();
                Some(Received {
                    id: id.into(),
                    receipt: receipt.into(),
                    deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
                    content: message::decode(body.as_bytes()),
                    body,
                })
            })
            .collect())
    }
}
