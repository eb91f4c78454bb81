//! The end of a drain: requests without an answer are finished, and the rest is given
//! back at once. Whoever waits to make a request ends with the drain (`ask`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use metrics::counter;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};

use super::deliver::Rest;
use super::in_flight::LetGo;
use super::main_loop::MainLoop;
use super::slot::in_slot;
use crate::buffer::Buffer;
use crate::edge::Edge;
use crate::progress::board::Component;
use crate::telemetry::metric;

/// Time that giving messages back may take after the grace period.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);

/// The long poll that is open when a drain stops takes what it gives back. It
/// then answers at once, unless others were faster.
const LAST_POLL_WITHIN: Duration = Duration::from_secs(2);

/// The end of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Messages that others can receive at once.
    pub given_back: usize,
    /// Messages that come back after their visibility timeout: the edge may
    /// have accepted them, or the buffer did not take them back.
    pub left: usize,
}

/// Finishes deliveries under way within the grace period, and gives back
/// everything that the edge cannot have accepted.
pub(super) async fn stop<B: Buffer, E: Edge>(mut main_loop: MainLoop<'_, B, E>) -> Stopped {
    let parts = main_loop.parts;
    let (buffer, in_flight, grace) = (&*parts.buffer, &parts.in_flight, parts.options.grace);
    let deadline = Instant::now() + grace;
    let end = deadline + GIVE_BACK_WITHIN;
    info!(
        rounds = main_loop.deliveries.len(),
        messages = in_flight.load().messages,
        ?grace,
        "the drain is stopping"
    );
    // What only gathers is for others to send, now.
    let mut waiting = in_flight.let_go(Some(&main_loop.receiver.rounds.gathered()));
    let mut giving: Option<BoxFuture<'_, Returned>> = None;
    let mut returned = Returned::default();
    while main_loop.is_under_way() || !waiting.is_empty() || giving.is_some() {
        // An extension under way would hide again what is given back.
        if giving.is_none() && !main_loop.extension.is_under_way() && !waiting.is_empty() {
            let messages = std::mem::take(&mut waiting);
            let by = Instant::now() + GIVE_BACK_WITHIN;
            giving = Some(Box::pin(give_back(buffer, messages, by)));
        }
        tokio::select! {
            biased;
            Some((_, rest)) = main_loop.deliveries.next() => {
                waiting.extend(in_flight.let_go(Some(&rest.messages())));
            }
            Some((_, parked)) = main_loop.questions.next() => {
                let left = Rest::of(parked).messages();
                waiting.extend(in_flight.let_go(Some(&left)));
            }
            Some((_, released)) = main_loop.isolations.next() => {
                let left = released.iter().flat_map(|(_, paths)| paths.messages());
                waiting.extend(in_flight.let_go(Some(&left.collect::<Vec<_>>())));
            }
            now_returned = in_slot(&mut giving) => {
                giving = None;
                returned.add(now_returned);
            }
            () = main_loop.extension.turn() => {}
            // The long poll that is still open takes what is given back.
            result = in_slot(&mut main_loop.receiving) => {
                main_loop.receiving = None;
                main_loop.receiver.accept(result);
                waiting.extend(in_flight.let_go(Some(&main_loop.receiver.rounds.gathered())));
            }
            () = sleep_until(deadline) => break,
        }
    }
    parts.reports.board.idle(&Component::Drain);
    // No call begins from here on.
    main_loop.deliveries.clear();
    main_loop.isolations.clear();
    main_loop.questions.clear();
    main_loop.extension.finish(end).await;
    if giving.is_some() {
        returned.add(in_slot(&mut giving).await);
    }
    waiting.extend(in_flight.let_go(None));
    returned.add(give_back(buffer, waiting, end).await);
    let polled = Instant::now() + LAST_POLL_WITHIN;
    if !returned.given_back.is_empty()
        && main_loop.receiving.is_some()
        && let Ok(result) = timeout_at(polled.min(end), in_slot(&mut main_loop.receiving)).await
    {
        main_loop.receiver.accept(result);
        let again = in_flight.let_go(Some(&main_loop.receiver.rounds.gathered()));
        returned.add(give_back(buffer, again, end).await);
    }
    Stopped {
        given_back: returned.given_back.len(),
        left: returned.failed.len() + in_flight.load().messages,
    }
}

/// Which messages were given back, and which the buffer did not take.
#[derive(Debug, Default)]
struct Returned {
    given_back: HashSet<Arc<str>>,
    failed: HashSet<Arc<str>>,
}

impl Returned {
    /// The open long poll may have taken some again.
    fn add(&mut self, later: Self) {
        self.failed.retain(|id| !later.given_back.contains(id));
        self.given_back.retain(|id| !later.failed.contains(id));
        self.given_back.extend(later.given_back);
        self.failed.extend(later.failed);
    }
}

/// Makes messages visible again. One try: whoever stops a drain waits for it.
async fn give_back<B: Buffer>(
    buffer: &B,
    messages: Vec<LetGo<B::Receipt>>,
    by: Instant,
) -> Returned {
    if messages.is_empty() {
        return Returned::default();
    }
    let receipts: Vec<B::Receipt> = messages
        .iter()
        .map(|message| message.receipt.clone())
        .collect();
    let failed: HashSet<B::Receipt> = match timeout_at(by, buffer.give_back(&receipts)).await {
        Ok(Ok(())) => HashSet::new(),
        Ok(Err(error)) => {
            counter!(metric::BUFFER_ERRORS, "operation" => "give-back").increment(1);
            warn!(messages = error.failed.len(), error = %error.cause, "could not give messages back; they come back after their visibility timeout");
            error.failed.into_iter().collect()
        }
        Err(_) => {
            counter!(metric::BUFFER_ERRORS, "operation" => "give-back").increment(1);
            warn!(
                messages = receipts.len(),
                "the buffer did not take messages back in time; they come back after their visibility timeout at the latest"
            );
            receipts.into_iter().collect()
        }
    };
    let mut returned = Returned::default();
    for LetGo { id, receipt } in messages {
        if failed.contains(&receipt) {
            returned.failed.insert(id);
        } else {
            returned.given_back.insert(id);
        }
    }
    returned
}
