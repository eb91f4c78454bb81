//! A queue's settings: which of them cannot work, and which are taken over.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;

use super::dead_letters;
use super::queue::{Sqs, VISIBILITY_DEFAULT};
use crate::buffer::BufferError;
use crate::buffer::message::BODY_BYTES_MAX;

/// A queue's settings, as [`Sqs::check`] found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Time for which a received message stays invisible.
    pub visibility: Duration,
    /// Whether messages that keep failing move to a dead-letter queue.
    pub has_dead_letter_queue: bool,
    /// The number of receives after which SQS moves a message there by itself.
    pub max_receive_count: Option<u32>,
    /// Time for which a message is kept.
    pub retention: Option<Duration>,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
}

impl Sqs {
    /// Reads the queue's settings, so that a start-up fails early, and takes
    /// over its visibility timeout. Only a drain needs it. It takes the permission
    /// `sqs:GetQueueAttributes`.
    ///
    /// # Errors
    ///
    /// The queue cannot be reached or read, or its settings cannot work.
    pub async fn check(&self) -> Result<QueueSettings, BufferError> {
        const OPERATION: &str = "GetQueueAttributes";
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(&*self.url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| self.failure(OPERATION, &error))?;
        let attributes = output.attributes.unwrap_or_default();
        let number = |name: &QueueAttributeName| {
            attributes
                .get(name)
                .and_then(|value| value.parse::<u64>().ok())
        };
        let refuse = |code: &str, reason: String, remedy: &str| BufferError::Refused {
            buffer: Arc::clone(&self.url),
            operation: OPERATION,
            code: code.to_owned(),
            reason,
            remedy: remedy.to_owned(),
        };
        let visibility = match number(&QueueAttributeName::VisibilityTimeout) {
            Some(0) => {
                return Err(refuse(
                    "VisibilityTimeout",
                    "the queue's visibility timeout is 0, so every message is received \
                     again at once"
                        .to_owned(),
                    "set the queue's visibility timeout to 30 s or more",
                ));
            }
            Some(seconds) => Duration::from_secs(seconds),
            None => VISIBILITY_DEFAULT,
        };
        if let Some(bytes) = number(&QueueAttributeName::MaximumMessageSize)
            && usize::try_from(bytes).is_ok_and(|bytes| bytes < BODY_BYTES_MAX)
        {
            return Err(refuse(
                "MaximumMessageSize",
                format!("the queue takes messages of at most {bytes} bytes"),
                "set the queue's maximum message size to 262144 bytes or more",
            ));
        }
        Ok(QueueSettings {
            visibility: *self.visibility.get_or_init(|| visibility),
            has_dead_letter_queue: self
                .dead_letters
                .get_or_init(|| dead_letters::queue_url(&self.url, &attributes))
                .is_some(),
            max_receive_count: attributes
                .get(&QueueAttributeName::RedrivePolicy)
                .and_then(|policy| max_receive_count(policy)),
            retention: number(&QueueAttributeName::MessageRetentionPeriod).map(Duration::from_secs),
            fifo: self.fifo,
        })
    }
}

/// Reads the number out of a redrive policy. AWS' own tools write it as a number
/// or as text.
fn max_receive_count(policy: &str) -> Option<u32> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    match policy.get("maxReceiveCount")? {
        serde_json::Value::String(text) => text.parse().ok(),
        number => number.as_u64()?.try_into().ok(),
    }
}
