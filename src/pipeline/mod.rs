//! The loops that move changes along. They know the traits, never a vendor.
//!
//! - [`tail`]: the source with its reconnects, gaps and undecodable parts.
//! - [`invalidate`]: binlog → cache → buffer → checkpoint.
//! - [`dry_run`]: plans as lines, touching nothing.
//! - [`batch`]: what gathers, and the stages it goes through.
//! - [`visible`], [`settle`]: when keys are deleted, and when again.
//! - [`paths`]: where paths go once their keys are deleted.
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
pub mod drain;
pub mod dry_run;
mod held;
mod intake;
pub mod invalidate;
pub mod paths;
mod refusal;
pub mod retry;
pub mod settle;
mod shapes;
mod standing;
mod tagged;
pub mod tail;
mod trouble;
pub mod visible;
