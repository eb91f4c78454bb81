//! One file for each subcommand; the only place that wires parts together.
//!
//! - `dispatch`: runs the command that the command line names.
//! - `error`: why a command failed, and its exit code.
//! - `daemon`: `evictd run`.
//! - `drain`: `evictd drain`, which also puts dead letters back.
//! - `replay`: `evictd replay`.
//! - `plan`: `evictd plan`.
//! - `explain`: `evictd explain`.
//! - `check`: `evictd check`.
//! - `checkpoint`: `evictd checkpoint`.
//! - `status`: `evictd status`.
//! - `health`: `evictd health`.
//! - `completions`: `evictd completions` and `evictd man`.
//! - `preflight`: checks before anything is touched.
//! - `misfits`: the fate of what does not fit or answer when a daemon starts.
//! - `lasting`: whether the buffer lasts as long as the position in the checkpoint.
//! - `finding`: the result of such a check.
//! - `parts`: parts that several commands build in the same way.
//! - `store`: the configured checkpoint.
//! - `shutdown`: the shutdown that a signal asks for.
//! - `output`: standard output.

mod check;
mod checkpoint;
mod completions;
mod daemon;
mod dispatch;
mod drain;
mod error;
mod explain;
mod finding;
mod health;
mod lasting;
mod misfits;
mod output;
mod parts;
mod plan;
mod preflight;
mod replay;
mod shutdown;
mod status;
mod store;

pub use self::dispatch::run;
pub(crate) use self::error::Exit;
pub use self::error::{CommandError, report};
pub(crate) use self::output::print;
pub(crate) use self::parts::aws_config;
