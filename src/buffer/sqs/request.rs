//! Messages grouped into requests that SQS takes.

use std::sync::Arc;

use super::error;
use crate::buffer::{BufferError, Message, SendError, message};

/// Entries in one batch request (SQS quotas, "Batched message").
pub(super) const ENTRIES_MAX: usize = 10;
/// The bytes of all bodies in one batch request (SQS quotas). Messages carry
/// no attributes, which would count too.
const REQUEST_BYTES_MAX: usize = 1_048_576;

/// A message and its body.
pub(super) struct SendEntry {
    pub(super) message: Message,
    pub(super) body: String,
}

/// A request that failed as a whole.
pub(super) fn whole(request: Vec<SendEntry>, cause: BufferError) -> SendError {
    // The whole request is refused because of the caller's permissions or the
    // queue's name, never because of these messages.
    SendError {
        unaccepted: request
            .into_iter()
            .map(|outgoing| outgoing.message)
            .collect(),
        refused: Vec::new(),
        cause,
    }
}

/// Groups messages into requests within both limits, in their order. The second
/// part is an error with the messages that cannot be written as a body.
pub(super) fn split(
    url: &Arc<str>,
    messages: Vec<Message>,
) -> (Vec<Vec<SendEntry>>, Option<SendError>) {
    let mut requests = Vec::new();
    let mut request: Vec<SendEntry> = Vec::new();
    let mut bytes = 0;
    let mut unwritable: Option<SendError> = None;
    for message in messages {
        let body = match message::encode(&message) {
            Ok(body) => body,
            Err(failure) => {
                unwritable
                    .get_or_insert_with(|| SendError {
                        unaccepted: Vec::new(),
                        refused: Vec::new(),
                        cause: error::of_build(url, "SendMessageBatch", &failure),
                    })
                    .refused
                    .push(message);
                continue;
            }
        };
        if !request.is_empty()
            && (request.len() == ENTRIES_MAX || bytes + body.len() > REQUEST_BYTES_MAX)
        {
            requests.push(std::mem::take(&mut request));
            bytes = 0;
        }
        bytes += body.len();
        request.push(SendEntry { message, body });
    }
    if !request.is_empty() {
        requests.push(request);
    }
    (requests, unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::message::BODY_BYTES_MAX;
    use crate::model::CommitTime;

    fn message(path_bytes: usize) -> Message {
        Message {
            source: "shop".into(),
            distribution: "main".into(),
            distribution_id: None,
            tenant: None,
            paths: vec!["/".repeat(path_bytes)],
            committed_at: CommitTime::from_micros(1),
            sent: None,
            redriven_at: None,
        }
    }

    #[test]
    fn requests_keep_to_ten_entries_and_one_mebibyte() {
        for (count, bytes, expected) in [
            (0, 10, vec![]),
            (25, 10, vec![10, 10, 5]),
            (10, BODY_BYTES_MAX - 200, vec![10]),
            (5, 400_000, vec![2, 2, 1]),
        ] {
            let (requests, unwritable) =
                split(&"url".into(), (0..count).map(|_| message(bytes)).collect());
            assert!(unwritable.is_none());
            let sizes: Vec<_> = requests.iter().map(Vec::len).collect();
            assert_eq!(sizes, expected, "{count} messages of {bytes} bytes");
            for request in requests {
                assert!(request.iter().map(|o| o.body.len()).sum::<usize>() <= REQUEST_BYTES_MAX);
            }
        }
    }
}
