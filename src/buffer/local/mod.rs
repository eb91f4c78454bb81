//! The buffer in a file, for a daemon that stands alone.
//!
//! Messages are on disk, in one `redb` database that one process may open at a
//! time. Who has received which message is in memory: after a crash every message
//! that was not deleted is visible again. Dead letters have a table of their own
//! in the file.
//!
//! - `queue`: a queue, and the contract of a buffer kept with it.
//! - `store`: what is in the file, and in memory who has received which message.
//! - `file`: the file: opened and checked, and told from one that is damaged or another's.
//! - `kept_file`: the file kept open, compared with how far it had come, and replaced when it is damaged.
//! - `location`: where it is, and whether its path still leads to the open file.
//! - `openings`: who wrote which of its messages, and whether it goes on from where it was.
//! - `checksum`: a body with its checksum.
//! - `error`: the file's errors in the words that an operator needs.
//! - `tests`: crashes, full disks, and files that are something else.

mod checksum;
mod error;
mod file;
mod kept_file;
mod location;
mod openings;
mod queue;
mod store;

pub use self::queue::{Local, LocalCondition};
pub use self::store::LocalReceipt;

#[cfg(test)]
mod tests;
