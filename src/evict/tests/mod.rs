//! The stages behind the planner, with fakes for what they write to.
//!
//! - `fakes`: what the stages write to, and the stages joined.
//! - `order`: keys, then paths, then the position.
//! - `remainders`: what fails in part, and scans.
//! - `settling`: second deletions.
//! - `open`: what is deleted before it is known to be visible.
//! - `structures`: guards, fields, tag sets, globs, messages.
//! - `dead_letters`: refused keys, and gaps on record.

mod dead_letters;
mod fakes;
mod open;
mod order;
mod remainders;
mod settling;
mod structures;

pub(super) use fakes::mark;
