//! Binlog files on disk, without a server.
//!
//! - `files`: files one after the other, as items in commit order.
//! - `open_file`: one file, cut into events.
//! - `notice`: gaps and cuts, which a plan cannot show.
//! - `error`: files that are not binlogs or cannot be read.

pub mod error;
pub mod files;
pub mod notice;
mod open_file;

pub use error::FileError;
pub use files::{BinlogFiles, FileItem};
pub use notice::Notice;
