//! The requests that the drains of this machine have made lately, on disk.
//!
//! A drain that is killed leaves messages behind whose invalidations are made.
//! Its successor, and other drains of the same machine, read here which paths of
//! which messages are done. That takes no calls to CloudFront, which allows few. A
//! request is put on record before it is made, with its messages, and once more when
//! it is made: one that a crash left open is looked up by its name in CloudFront's
//! own list, which also has what other machines made.
//!
//! A record belongs to the distribution's id. One that stood for the distribution's
//! name would be read as another's, once the name stands for another.
//!
//! - `past`: a request, as lines of the file.
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
