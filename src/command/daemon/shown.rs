//! What is shown of the daemon, at one moment.

use crate::command::status::daemon::Daemon;
use crate::progress::board::Reports;

/// The daemon, and what its tasks report.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) daemon: Daemon,
    pub(super) reports: Reports,
}
