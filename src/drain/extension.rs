//! Keeps messages in flight invisible to other drains.

use std::hash::Hash;
use std::time::Duration;

use futures_util::future::BoxFuture;
use metrics::counter;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout_at};

use super::in_flight::InFlight;
use super::slot::in_slot;
use crate::buffer::{Buffer, ReceiptError};
use crate::telemetry::{metric, repeating};

/// Restarts the visibility timeout of all messages in flight when a third of it
/// is over.
pub(super) struct Extension<'a, B: Buffer> {
    buffer: &'a B,
    in_flight: &'a InFlight<B::Receipt>,
    ticks: Interval,
    under_way: Option<BoxFuture<'a, Result<(), ReceiptError<B::Receipt>>>>,
}

impl<'a, B: Buffer> Extension<'a, B> {
    pub(super) fn new(buffer: &'a B, in_flight: &'a InFlight<B::Receipt>) -> Self {
        let period = (buffer.visibility() / 3).max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            buffer,
            in_flight,
            ticks,
            under_way: None,
        }
    }

    /// Waits until a call is done, or begins one that is due. Cancelling this
    /// wait cancels no call.
    pub(super) async fn turn(&mut self) {
        tokio::select! {
            biased;
            result = in_slot(&mut self.under_way) => {
                self.under_way = None;
                report(result, self.in_flight);
            }
            _ = self.ticks.tick() => self.begin(),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Waits for the call that is under way, if there is one, and begins no
    /// other.
    pub(super) async fn finish(&mut self, by: Instant) {
        if self.under_way.is_some()
            && let Ok(result) = timeout_at(by, in_slot(&mut self.under_way)).await
        {
            report(result, self.in_flight);
        }
    }

    fn begin(&mut self) {
        let (buffer, receipts) = (self.buffer, self.in_flight.receipts());
        if self.under_way.is_none() && !receipts.is_empty() {
            self.under_way = Some(Box::pin(async move { buffer.extend(&receipts).await }));
        }
    }
}

/// Reports the messages that could not be extended, and returns how many it
/// were. They may be received again, by this drain or another, and invalidating
/// twice is harmless.
pub(super) fn report<R: Clone + Eq + Hash>(
    result: Result<(), ReceiptError<R>>,
    in_flight: &InFlight<R>,
) -> usize {
    let Err(error) = result else {
        return 0;
    };
    // Messages that were deleted while it was under way need no extension.
    let failed = in_flight.needed(error.failed);
    if !failed.is_empty() {
        counter!(metric::BUFFER_ERRORS, "operation" => "extend").increment(1);
        repeating!(warn, "", { messages = failed.len(), error = %error.cause },
            "could not extend the visibility timeout of held messages; they may be invalidated twice");
    }
    failed.len()
}
