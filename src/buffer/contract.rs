//! The durable buffer between the cache and the edge.
//!
//! A path enters it once the Redis keys of the same change are deleted and
//! settled (Cache before edge), and leaves it once the edge accepted it
//! (Nothing lost). Two implementations keep one contract: [`sqs`] for several
//! copies that share the work, [`local`] for a daemon that stands alone.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::message::{Message, MessageError};
use crate::model::{BufferMark, BufferState};

/// A message taken from the buffer, invisible to others for
/// [`Buffer::visibility`] from now on.
#[derive(Debug)]
pub struct Received<R> {
    /// Names the message. The same for every delivery of it, and never used
    /// for another message: invalidations are named after it, and CloudFront
    /// ignores an invalidation whose name it has seen.
    pub id: Arc<str>,
    /// Proves this delivery.
    pub receipt: R,
    /// How often it was received, this time included, as far as the buffer
    /// remembers.
    pub deliveries: u32,
    /// Its text, to keep when nothing can be done with it.
    pub body: String,
    /// The message, or why it cannot be read. One that cannot be read is
    /// handed over all the same, so that it is reported and never dropped.
    pub content: Result<Message, MessageError>,
}

/// A message that nothing can be done with.
#[derive(Clone, Debug)]
pub struct RejectedMessage<R> {
    /// Proves its last delivery.
    pub receipt: R,
    /// Its text.
    pub body: String,
    /// Why nothing can be done with it.
    pub reason: String,
    /// Number of times it was received.
    pub deliveries: u32,
}

/// Whether a message was put among the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buried {
    /// It is among the buffer's dead letters, with its reason.
    Moved,
    /// The buffer has no place for dead letters: it stays a message.
    NoPlace,
}

/// The dead letters that were made messages again, and those that were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Dead letters that are messages again.
    pub moved: usize,
    /// Those of them that were buried once more meanwhile.
    pub buried_again: usize,
    /// Dead letters that no evictd wrote, and that stay where they are.
    pub left: usize,
}

/// Holds messages until they are deleted.
///
/// - **Delivery is at least once.** A message may be received twice, by two
///   receivers at the same time, and again after it was deleted.
/// - **No order.** Invalidations commute.
/// - **The caller retries.** An implementation may repeat a request a few times
///   when that is safe; it never waits out an outage.
/// - **Cancelling** any future leaves the buffer consistent. Of a cancelled
///   `send` any part may have been accepted; messages of a cancelled `receive`
///   come back after [`visibility`](Self::visibility).
pub trait Buffer: Send + Sync + 'static {
    /// Proves that a message was received, and lets it be extended and deleted.
    type Receipt: Debug + Send + Sync + Clone + Eq + Hash + 'static;

    /// Stores messages durably. `Ok` means that all of them survive a crash of
    /// this process, and for a shared buffer the loss of this machine.
    ///
    /// On an error resend only what the error returns.
    fn send(&self, messages: Vec<Message>) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Takes messages, waiting up to `wait` for the first one. Empty when none
    /// came. An implementation may cap `wait` and how many it returns.
    fn receive(
        &self,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Received<Self::Receipt>>, BufferError>> + Send;

    /// Restarts the visibility timeout of received messages, counted from the
    /// call. A receipt whose message was deleted or received again since is
    /// reported as failed, because its holder is not the only one any more.
    fn extend(
        &self,
        receipts: &[Self::Receipt],
    ) -> impl Future<Output = Result<(), ReceiptError<Self::Receipt>>> + Send;

    /// Makes received messages visible again at once, for whoever receives
    /// next. One that is gone, or was received by another since, is left alone.
    fn give_back(
        &self,
        receipts: &[Self::Receipt],
    ) -> impl Future<Output = Result<(), ReceiptError<Self::Receipt>>> + Send;

    /// Deletes received messages. Deleting one that is gone already succeeds.
    fn delete(
        &self,
        receipts: &[Self::Receipt],
    ) -> impl Future<Output = Result<(), ReceiptError<Self::Receipt>>> + Send;

    /// Puts a message among the dead letters, with its reason, and deletes it.
    /// Stopped in between, it can be in both places.
    fn bury(
        &self,
        letter: RejectedMessage<Self::Receipt>,
    ) -> impl Future<Output = Result<Buried, BufferError>> + Send;

    /// Makes dead letters messages again, each of them once: what becomes a dead letter
    /// meanwhile, because a drain refuses it still, stays one.
    fn redrive(&self) -> impl Future<Output = Result<Redriven, BufferError>> + Send;

    /// Compares what it holds with `stored`, its mark when a position was stored,
    /// and says from then on what becomes of messages that it has accepted. Any
    /// that are neither delivered nor there are a loss, whoever is to blame.
    fn continue_from(
        &self,
        stored: Option<BufferMark>,
    ) -> impl Future<Output = watch::Receiver<BufferState>> + Send;

    /// How long a received message stays invisible when it is neither extended
    /// nor deleted. Never zero.
    fn visibility(&self) -> Duration;
}

/// Messages that were not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{} messages were not accepted: {cause}", .unaccepted.len() + .refused.len())]
pub struct SendError {
    /// Not accepted this time: send them again.
    pub unaccepted: Vec<Message>,
    /// Refused as they are: sending them again unchanged cannot succeed.
    pub refused: Vec<Message>,
    /// The first failure.
    pub cause: BufferError,
}

/// Receipts for which an extension, a return or a deletion failed.
#[derive(Debug, thiserror::Error)]
#[error("{} of the messages were not reached: {cause}", .failed.len())]
pub struct ReceiptError<R> {
    pub failed: Vec<R>,
    /// The first failure.
    pub cause: BufferError,
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// It can pass by itself: a timeout, a lost connection, throttling.
    #[error("{operation} on {buffer} did not get through ({code}): {reason}")]
    Unavailable {
        /// The queue's URL or file.
        buffer: Arc<str>,
        /// The request that it did not answer.
        operation: &'static str,
        /// The vendor's error code.
        code: String,
        /// The vendor's words.
        reason: String,
    },
    /// Somebody has to change something first.
    #[error("{operation} on {buffer} was refused ({code}): {reason}; {remedy}")]
    Refused {
        /// The queue's URL or file.
        buffer: Arc<str>,
        /// The request that it did not answer.
        operation: &'static str,
        /// The vendor's error code.
        code: String,
        /// The vendor's words.
        reason: String,
        /// The remedy.
        remedy: String,
    },
}

impl BufferError {
    /// Whether it can pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            BufferError::Unavailable { .. } => true,
            BufferError::Refused { .. } => false,
        }
    }

    /// A short name for metrics: the vendor's codes are too many.
    pub fn kind(&self) -> &'static str {
        match self {
            BufferError::Unavailable { .. } => "unavailable",
            BufferError::Refused { .. } => "refused",
        }
    }

    /// The vendor's error code, for logs.
    pub fn code(&self) -> &str {
        match self {
            BufferError::Unavailable { code, .. } | BufferError::Refused { code, .. } => code,
        }
    }
}
