//! `evictd status`: how the daemon does, for people at night and for programs.
//!
//! - `answer`: the daemon's answer, or what it left on disk.
//! - `document`: the status as one document.
//! - `daemon`: what is known of a daemon besides its tasks' reports.
//! - `text`: the status for people.
//! - `span`: durations for people.

mod answer;
pub mod daemon;
pub mod document;
pub mod span;
pub mod text;

pub use self::answer::run;
