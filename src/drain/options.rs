//! The options of a drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::Sent;
use crate::rules::budget_exempt::AlwaysPaths;

/// The options of a drain.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// Time for which a distribution's messages gather, from the first one on.
    pub window: Duration,
    /// Time for which deliveries under way may go on after the shutdown.
    pub grace: Duration,
    /// The name of the configuration, which its own messages have as their source.
    pub source: Arc<str>,
    /// The newest message that this process has made, if it makes them, and nobody else
    /// does. Then none of them has a newer configuration than this drain, and a request
    /// reaches back to it, whatever of that was received.
    pub last_sent: Option<watch::Receiver<Option<Sent>>>,
    /// The distributions' ids by their names in the configuration.
    pub distributions: BTreeMap<Arc<str>, Arc<str>>,
    /// Calls to the edge, of all distributions together.
    pub calls_per_second: f64,
    /// How often a message that cannot be used is received before it becomes a
    /// dead letter.
    pub max_receives: u32,
    /// Paths that are sent as they are, whatever the budget says.
    pub budget_exempt: AlwaysPaths,
    /// Time for which an invalidation may be in progress before it is reported.
    pub overdue_after: Duration,
}
