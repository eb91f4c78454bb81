//! The loops that move changes along. They know the traits, never a vendor.
//!
//! - [`item`]: what one item of the binlog asks for.
//! - [`tail`]: the source with its reconnects, gaps and undecodable parts.
//! - [`invalidate`]: binlog → cache → buffer → checkpoint.
//! - [`dry_run`]: plans as lines, touching nothing.
//! - [`record`]: plans with the changes they belong to; [`tally`]: their numbers.
//! - [`files`]: plans from binlog files; [`difference`]: of two sets of rules.
//! - [`batch`]: what gathers, and the stages it goes through.
//! - [`visible`], [`settle`]: when keys are deleted, and when again.
//! - [`paths`]: where paths go once their keys are deleted.
//! - [`only`]: one half of the work without the other.
//! - [`drain`]: buffer → edge.
//! - [`board`]: what the tasks say about themselves.
//! - [`behind`]: how much of the binlog is not read yet.
//! - [`bulk`]: when a rule's paths go as its wildcards.
//! - [`retry`]: how long to wait before trying again.

mod announce;
pub mod batch;
pub mod behind;
pub mod board;
pub mod bulk;
mod condemned;
mod deliver;
pub mod difference;
pub mod drain;
pub mod dry_run;
mod elsewhere;
pub mod files;
mod held;
mod intake;
pub mod invalidate;
pub mod item;
pub mod only;
pub mod paths;
pub mod record;
mod refusal;
pub mod retry;
pub mod settle;
mod shapes;
mod standing;
mod tagged;
pub mod tail;
pub mod tally;
mod trouble;
pub mod visible;
mod watch;
