//! The sources that the status is made from.

use std::net::SocketAddr;

use crate::command::status::daemon::Daemon;
use crate::progress::board::Reports;

/// The daemon, and the reports of its tasks.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) daemon: Daemon,
    pub(super) reports: Reports,
    /// The address that this daemon listens at.
    pub(super) listens: Option<SocketAddr>,
}
