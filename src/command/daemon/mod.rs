//! `evictd run`: the daemon.
//!
//! - `lifecycle`: from the command line to the end of the process.
//! - `turns`: one turn after another, as long as this process leads.
//! - `candidate`: the wait for the leader's lock.
//! - `worker`: one turn, from the configuration that it begins with to its end.
//! - `inheritance`: what the leaders before have left.
//! - `turn`: the parts of a turn: checked, opened, run.
//! - `buffer_file`: whether the open file of a local buffer is where the next start looks for it.
//! - `draining`: the half of a turn that sends buffered paths to the edge.
//! - `source`: the source of a turn, from the stored position on.
//! - `reload`: SIGHUP: another configuration, checked while the turn goes on.
//! - `dry_run`: plans are printed, and nothing is touched.
//! - `display`: the status, the log level and the listener.
//! - `shown`: what the status is made from.
//! - `http`: the answers at `metrics.listen`.
//! - `systemd`: notifications to the service manager.

mod buffer_file;
mod candidate;
mod display;
mod draining;
mod dry_run;
mod http;
mod inheritance;
mod lifecycle;
mod reload;
mod shown;
mod source;
mod systemd;
mod turn;
mod turns;
mod worker;

pub(super) use self::dry_run::print_plans;
pub use self::lifecycle::run;
