//! `evictd run`: the daemon.
//!
//! - `lifecycle`: from the command line to the end of the process.
//! - `turns`: whose turn it is to lead, and one turn after another.
//! - `candidate`: a process that waits for the lock.
//! - `turn`: a turn's parts: checked, opened, run.
//! - `source`: a turn's source, from the stored position on.
//! - `reload`: SIGHUP: another configuration, checked while a turn works.
//! - `dry_run`: plans printed, nothing touched.
//! - `display`: what others are shown of the daemon, and where.
//! - `shown`: that, at one moment.
//! - `http`: answers at `metrics.listen`.
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
