//! `evictd run`: the daemon.
//!
//! - `lifecycle`: from the command line to the end of the process.
//! - `turns`: one turn after another, as long as this process leads.
//! - `candidate`: the wait for the leader's lock.
//! - `turn`: the parts of a turn: checked, opened, run.
//! - `source`: the source of a turn, from the stored position on.
//! - `reload`: SIGHUP: another configuration, checked while the turn goes on.
//! - `dry_run`: plans are printed, and nothing is touched.
//! - `display`: the status, the log level and the listener.
//! - `shown`: what the status is made from.
//! - `http`: the answers at `metrics.listen`.
//! - `systemd`: notifications to the service manager.

mod candidate;
mod display;
mod dry_run;
mod http;
mod lifecycle;
mod reload;
mod shown;
mod source;
mod systemd;
mod turn;
mod turns;

pub(super) use self::dry_run::print_plans;
pub use self::lifecycle::run;
