//! The invalidations that the drains of this machine have made lately, on disk.
//!
//! A drain that is killed leaves messages behind whose invalidations are made.
//! Its successor, and other drains of the same machine, read here which paths
//! they cover. That takes no calls to CloudFront, which allows few. Invalidations
//! that other machines made, or that were made in the moment before a record was
//! written, are in CloudFront's own list.
//!
//! A record belongs to the distribution's id. One that stood for the distribution's
//! name would be read as another's, once the name stands for another.
//!
//! - `past`: an invalidation that was made, as a line of the file.
//! - `history`: the file, appended to and cleaned up.
//! - `reader`: the file, read from where it was last read.
//! - `error`: why the file cannot be used.
//! - `tests`: several processes, torn lines, and what is dropped.

mod error;
mod history;
mod past;
mod reader;
#[cfg(test)]
mod tests;

pub use self::error::HistoryError;
pub use self::history::History;
pub use self::past::Past;
pub use self::reader::Reader;
