//! `evictd replay`: a range of the binlog once more, through the daemon's own
//! pipeline. The daemon's checkpoint is read at most.
//!
//! - `lifecycle`: from the command line to the end of the range.
//! - `range`: the positions between which changes are replayed.
//! - `source`: the source, from the beginning of the range to its end.
//! - `work`: what is done with the changes: printed, or invalidated.
//! - `progress`: how far a replay is.

mod lifecycle;
mod progress;
mod range;
mod source;
mod work;

pub use self::lifecycle::run;
