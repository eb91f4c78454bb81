//! `evictd replay`: invalidates a range of the binlog once more, through the
//! daemon's own pipeline. It may read the daemon's checkpoint, and never writes
//! it.
//!
//! - `lifecycle`: from the command line to the end of the range.
//! - `range`: the positions between which changes are replayed.
//! - `source`: the source that reads the range.
//! - `work`: what is done with the changes: printed, or invalidated.
//! - `progress`: how far the replay is.

mod lifecycle;
mod progress;
mod range;
mod source;
mod work;

pub use self::lifecycle::run;
