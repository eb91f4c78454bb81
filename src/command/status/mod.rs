//! `evictd status`: how the daemon is doing, for people and for programs.
//!
//! - `answer`: the daemon's answer, or what it left on disk.
//! - `document`: the status, as `/status` answers it.
//! - `daemon`: a daemon's name, role and configuration.
//! - `text`: the status as text for people.
//! - `span`: durations as people read them.

mod answer;
pub mod daemon;
pub mod document;
pub mod span;
pub mod text;

pub use self::answer::run;
