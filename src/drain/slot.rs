//! A future that outlives the waits for it.

use std::future::pending;

use futures_util::future::BoxFuture;

/// Waits for the future in the slot, for ever when there is none.
///
/// The future stays in the slot, so that cancelling this wait does not cancel
/// it. Whoever gets its result empties the slot.
pub(super) async fn in_slot<T>(slot: &mut Option<BoxFuture<'_, T>>) -> T {
    match slot {
        Some(future) => future.await,
        None => pending().await,
    }
}
