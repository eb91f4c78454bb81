//! The durable buffer between the cache and the edge: its contract, and two
//! implementations of it.
//!
//! - `contract`: messages, receipts, and what a buffer promises.
//! - `message`: what a message looks like on the wire and on disk.
//! - `sqs`: Amazon SQS, for several copies that share the work.
//! - `local`: a file, for a daemon that stands alone.

mod contract;
pub mod local;
pub mod message;
pub mod sqs;

pub use self::contract::*;
pub use self::local::{Local, LocalCondition};
pub use self::message::{Message, MessageError, Recipient, Sender, pack};
pub use self::sqs::{QueueSettings, Sqs};
