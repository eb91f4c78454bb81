//! The dead-letter queue that a queue's redrive policy names.
//!
//! SQS moves a message there by itself after a number of receives, and without a
//! reason. evictd moves it before that, with the reason.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use serde::Deserialize;

use super::error;
use super::queue::Sqs;
use super::receive::RECEIVE_MAX;
use crate::buffer::{BufferError, Buried, Redriven, RejectedMessage, message};
use crate::model::CommitTime;

/// Attributes of a dead letter.
const REASON: &str = "evictd-reason";
const DELIVERIES: &str = "evictd-deliveries";

/// SQS takes 256 KiB of attributes; a reason is one line.
const REASON_CHARS_MAX: usize = 1_000;

/// How long one look at the dead letters waits, in seconds: with a long poll
/// SQS asks all of its servers.
const LOOK_WAIT_S: i32 = 2;
/// How long a dead letter that is being moved stays invisible, in seconds.
const MOVING_S: i32 = 60;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
}

/// The URL of the dead-letter queue. It is of the same account and region as
/// its queue (SQS developer guide, "Using dead-letter queues"), so that the
/// name is all that differs.
pub(super) fn queue_url(
    url: &str,
    attributes: &HashMap<QueueAttributeName, String>,
) -> Option<Arc<str>> {
    let policy = attributes.get(&QueueAttributeName::RedrivePolicy)?;
    let policy: RedrivePolicy = serde_json::from_str(policy).ok()?;
    let (_, name) = policy.dead_letter_target_arn.rsplit_once(':')?;
    let (account, _) = url.rsplit_once('/')?;
    Some(format!("{account}/{name}").into())
}

/// A reason without the characters that XML 1.0, and thus SQS, does not take.
fn printable(reason: &str) -> String {
    reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(REASON_CHARS_MAX)
        .collect()
}

impl Sqs {
    pub(super) async fn bury_in_queue(
        &self,
        letter: RejectedMessage<Arc<str>>,
    ) -> Result<Buried, BufferError> {
        const OPERATION: &str = "SendMessage";
        let Some(Some(dead)) = self.dead_letters.get() else {
            return Ok(Buried::NoPlace);
        };
        let text = |value: String| {
            MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .map_err(|error| error::of_build(dead, OPERATION, &error))
        };
        let mut request = self
            .client
            .send_message()
            .queue_url(&**dead)
            .message_body(&letter.body)
            .message_attributes(REASON, text(printable(&letter.reason))?)
            .message_attributes(DELIVERIES, text(letter.deliveries.to_string())?);
        if self.fifo {
            let unique = format!("{:032x}", rand::random::<u128>());
            request = request
                .message_group_id(unique.clone())
                .message_deduplication_id(unique);
        }
        request
            .send()
            .await
            .map_err(|error| error::of_call(dead, OPERATION, &error))?;
        // Nothing lost: only now. A message whose deletion fails is buried twice.
        self.delete_all(std::slice::from_ref(&letter.receipt))
            .await
            .map_err(|error| error.cause)?;
        Ok(Buried::Moved)
    }

    pub(super) async fn redrive_from_queue(&self) -> Result<Redriven, BufferError> {
        let mut redriven = Redriven::default();
        let began = CommitTime::now();
        let Some(Some(dead)) = self.dead_letters.get() else {
            return Ok(redriven);
        };
        loop {
            let output = self
                .client
                .receive_message()
                .queue_url(&**dead)
                .max_number_of_messages(RECEIVE_MAX)
                .wait_time_seconds(LOOK_WAIT_S)
                .visibility_timeout(MOVING_S)
                .send()
                .await
                .map_err(|error| error::of_call(dead, "ReceiveMessage", &error))?;
            let letters = output.messages.unwrap_or_default();
            if letters.is_empty() {
                return Ok(redriven);
            }
            for letter in letters {
                let text = letter.body.as_deref().unwrap_or_default();
                if message::was_redriven_since(text, began) {
                    redriven.buried_again += 1;
                    continue;
                }
                let Some(body) = message::redriven(text, began) else {
                    redriven.left += 1;
                    continue;
                };
                let mut request = self.client.send_message().queue_url(&*self.url);
                if self.fifo {
                    let unique = format!("{:032x}", rand::random::<u128>());
                    request = request
                        .message_group_id(unique.clone())
                        .message_deduplication_id(unique);
                }
                request
                    .message_body(body)
                    .send()
                    .await
                    .map_err(|error| self.failure("SendMessage", &error))?;
                self.client
                    .delete_message()
                    .queue_url(&**dead)
                    .set_receipt_handle(letter.receipt_handle)
                    .send()
                    .await
                    .map_err(|error| error::of_call(dead, "DeleteMessage", &error))?;
                redriven.moved += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_letter_queue_stands_beside_its_queue() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:shop-dead","maxReceiveCount":"3"}"#;
        let attributes =
            |policy: &str| HashMap::from([(QueueAttributeName::RedrivePolicy, policy.to_owned())]);
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/shop";
        assert_eq!(
            queue_url(url, &attributes(policy)).as_deref(),
            Some("https://sqs.eu-west-1.amazonaws.com/123456789012/shop-dead")
        );
        for other in ["", "{}", r#"{"deadLetterTargetArn":"x"}"#] {
            assert_eq!(queue_url(url, &attributes(other)), None, "{other}");
        }
        assert_eq!(queue_url(url, &HashMap::new()), None);
    }

    #[test]
    fn a_reason_is_one_printable_line() {
        assert_eq!(printable("why\n\u{1}not"), "why  not");
        assert_eq!(printable(&"x".repeat(5_000)).len(), REASON_CHARS_MAX);
    }
}
