//! The contract of a buffer, kept with a queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::queue::Sqs;
use crate::buffer::{
    Buffer, BufferError, Buried, Message, ReceiptError, Received, Redriven, RejectedMessage,
    SendError,
};
use crate::model::{BufferMark, BufferState};

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

    async fn continue_from(&self, stored: Option<BufferMark>) -> watch::Receiver<BufferState> {
        let own = BufferMark::Queue(self.url.to_string());
        let another = stored.is_some_and(|stored| stored != own);
        let reason = || {
            let url = &self.url;
            format!("paths were sent to another buffer before, and not to the queue {url}").into()
        };
        let state = BufferState {
            mark: Some(own),
            losses: u64::from(another),
            reason: another.then(reason),
        };
        watch::channel(state).1
    }

    fn visibility(&self) -> Duration {
        self.visibility_timeout()
    }
}
