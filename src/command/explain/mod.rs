//! `evictd explain`: what one change would invalidate, and why or why not.
//!
//! - `change`: the change that the command line describes, and the answer.
//! - `row`: rows given as JSON, turned into the planner's values.
//! - `reasons`: why each rule fires or does not.
//! - `actions`: what each rule does, as lines.

mod actions;
mod change;
mod reasons;
mod row;

pub use self::change::run;
