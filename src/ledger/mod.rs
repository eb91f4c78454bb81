//! Records of gaps and dead letters (Retried or reported).
//!
//! Two files of JSON lines beside the checkpoint, each appended to and synced:
//!
//! - `<name>.gaps.jsonl`: where changes were lost, from where to where, and
//!   whether everything that they may have touched is invalidated by now.
//! - `<name>.dead-letters.jsonl`: what cannot be done however often it is
//!   tried.
//!
//! Invalidations never wait for a record. One that cannot be written is kept
//! in memory, logged, counted and tried again.
//!
//! - `record`: a gap and a dead letter, as they stand in the files.
//! - `older_letters`: dead letters that are not among the newest, in a few bytes each.
//! - `summary`: how much is on record, and the newest of it.
//! - `files`: the two files, read and appended to.
//! - `journal`: the task that appends to one file, and its queue.
//! - `handle`: the ledger as the tasks of a daemon use it.
//! - `tests`: restarts, torn lines and full disks.

mod files;
mod handle;
mod journal;
mod older_letters;
mod record;
mod summary;
#[cfg(test)]
mod tests;

pub use self::files::{LedgerError, LedgerFiles, check_directory};
pub use self::handle::Ledger;
pub use self::journal::WriteFailure;
pub use self::record::{BinlogPlace, DeadLetter, Gap, GapId};
pub use self::summary::LedgerSummary;
