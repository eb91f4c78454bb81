//! The contract of a buffer, kept with a queue.

use std::sync::Arc;
use std::time::Duration;

use super::queue::Sqs;
use crate::buffer::{
    Buffer, BufferError, Buried, Message, ReceiptError, Received, Redriven, RejectedMessage,
    SendError,
};

impl Buffer for Sqs {
    type Receipt = Arc<str>;

    async fn send(&self, messages: Vec<Message>) -> Result<(), SendError> {
        self.send_all(messages).await
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Received<Arc<str>>>, BufferError> {
        self.receive_up_to(wait).await
    }

    async fn extend(&self, receipts: &[Arc<str>]) -> Result<(), ReceiptError<Arc<str>>> {
        self.extend_all(receipts).await
    }

    async fn give_back(&self, receipts: &[Arc<str>]) -> Result<(), ReceiptError<Arc<str>>> {
        self.give_all_back(receipts).await
    }

    async fn delete(&self, receipts: &[Arc<str>]) -> Result<(), ReceiptError<Arc<str>>> {
        self.delete_all(receipts).await
    }

    async fn bury(&self, letter: RejectedMessage<Arc<str>>) -> Result<Buried, BufferError> {
        self.bury_in_queue(letter).await
    }

    async fn redrive(&self) -> Result<Redriven, BufferError> {
        self.redrive_from_queue().await
    }

    fn visibility(&self) -> Duration {
        self.visibility_timeout()
    }
}
