//! The buffer on Amazon SQS.
//!
//! A standard queue with a dead-letter queue is the right kind: invalidations
//! are idempotent and commute. A FIFO queue works too; every message then gets
//! a deduplication id of its own, because SQS would otherwise drop a second
//! change to the same path within five minutes.
//!
//! - `queue`: a handle to a queue.
//! - `buffer`: the contract of a buffer, kept with it.
//! - `batch`: calls for up to ten messages each.
//! - `request`: messages grouped into requests that SQS takes.
//! - `receive`: receives messages.
//! - `dead_letters`: the dead-letter queue that a queue's redrive policy names.
//! - `settings`: a queue's settings, and which of them cannot work.
//! - `error`: SQS's errors in the words that an operator needs.

mod batch;
mod buffer;
mod dead_letters;
mod error;
mod queue;
mod receive;
mod request;
mod settings;

pub use self::queue::Sqs;
pub use self::settings::QueueSettings;
