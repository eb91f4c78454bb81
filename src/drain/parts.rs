//! The parts that all of a drain's tasks share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::dead_letters::BuriedMessages;
use super::in_flight::InFlight;
use super::options::DrainOptions;
use crate::buffer::Buffer;
use crate::edge::budget::Budget;
use crate::edge::invalidation_log::History;
use crate::edge::rate_limit::RateLimit;
use crate::progress::board::Reports;

/// The parts that all of a drain's tasks share.
#[derive(Debug)]
pub(super) struct DrainParts<B: Buffer, E> {
    pub(super) options: DrainOptions,
    pub(super) buffer: Arc<B>,
    pub(super) edge: Arc<E>,
    pub(super) rate_limit: Arc<RateLimit>,
    pub(super) budget: Arc<Budget>,
    pub(super) invalidation_log: History,
    pub(super) reports: Reports,
    pub(super) in_flight: InFlight<B::Receipt>,
    pub(super) buried: BuriedMessages,
    /// Cancelled once the drain is to stop. No request is made from then on, but for one
    /// that the edge may have accepted.
    pub(super) stopping: CancellationToken,
}
