//! One file for each subcommand; the only place that wires parts together.
//!
//! - `dispatch`: from the command line to the command that it names.
//! - `error`: why a command failed, and its exit code.
//! - `daemon`: `evictd run`.
//! - `drain`: `evictd drain`, and the way back for dead letters.
//! - `replay`: `evictd replay`.
//! - `plan`: `evictd plan`.
//! - `explain`: `evictd explain`.
//! - `check`: `evictd check`.
//! - `checkpoint`: `evictd checkpoint`.
//! - `status`: `evictd status`.
//! - `health`: `evictd health`.
//! - `completions`: `evictd completions` and `evictd man`.
//! - `preflight`: what must hold before anything is touched.
//! - `finding`: what such a look at servers and configuration found.
//! - `parts`: parts that several commands build in the same way.
//! - `store`: the configured checkpoint.
//! - `shutdown`: the end that a signal asks for.
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
