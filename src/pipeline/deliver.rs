//! One round of one distribution: its batches through the edge, and the
//! deletion of the messages they complete.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, histogram};
use tracing::{error, info, warn};

use super::board::{Part, Reports};
use super::held::Held;
use super::retry::Backoff;
use crate::buffer::Buffer;
use crate::edge::batch::{Batch, Gathering, Plan};
use crate::edge::{Edge, EdgeError};
use crate::ledger::DeadLetter;
use crate::telemetry::metric;

const EDGE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
const DELETE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// After that a message is let go; it comes back, and its request is repeated
/// under the same name.
const DELETE_ATTEMPTS_MAX: u32 = 5;

/// How many invalid paths of a round are searched for by halving. Beyond that
/// a rule is wrong, not a row, and the search would only burn calls.
const ISOLATED_PATHS_MAX: u32 = 8;

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It passes by itself: the same batch, later.
    Retry,
    /// The batch is too large: its halves, at once.
    Halve,
    /// One of its paths is bad: halves, until it stands alone.
    Isolate,
    /// Its name is taken: the next name, later.
    Rename,
    /// It does not pass: the messages go back to the buffer, whose redrive
    /// policy moves them to the dead-letter queue in the end.
    GiveUp,
}

fn verdict(error: &EdgeError) -> Verdict {
    match error {
        EdgeError::TooManyInProgress { .. }
        | EdgeError::Throttled { .. }
        | EdgeError::Unavailable { .. } => Verdict::Retry,
        EdgeError::TooLarge { .. } => Verdict::Halve,
        EdgeError::InvalidPath { .. } => Verdict::Isolate,
        EdgeError::ReferenceTaken { .. } => Verdict::Rename,
        EdgeError::Denied { .. }
        | EdgeError::NoSuchDistribution { .. }
        | EdgeError::Refused { .. } => Verdict::GiveUp,
    }
}

/// Where a round goes.
pub(super) struct Delivery<'a, B: Buffer, E> {
    pub(super) buffer: &'a B,
    pub(super) edge: &'a E,
    pub(super) held: &'a Held<B::Receipt>,
    /// The distribution's name in the configuration.
    pub(super) name: Arc<str>,
    /// Its id.
    pub(super) distribution: Arc<str>,
    pub(super) reports: &'a Reports,
}

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Works until every batch was accepted or given up. Afterwards no message
    /// of the round is held. Cancelling is safe: messages that were not
    /// deleted come back.
    pub(super) async fn run(self, round: Gathering) -> Arc<str> {
        let messages = round.messages().to_vec();
        let Plan {
            batches,
            mut progress,
            empty,
        } = round.plan(&self.distribution);
        self.delete(&empty).await;

        let mut queue = VecDeque::from(batches);
        let mut backoff = Backoff::new(EDGE_BACKOFF.0, EDGE_BACKOFF.1);
        let mut trouble: Option<&'static str> = None;
        let mut refusal: Option<&'static str> = None;
        let mut isolated = 0;
        while let Some(batch) = queue.pop_front() {
            let error = match self.edge.invalidate(&batch.invalidation).await {
                Ok(accepted) => {
                    self.report_accepted(&batch, &accepted.id);
                    self.reports.board.works(&self.part());
                    if trouble.take().is_some() {
                        info!(distribution = %self.name, attempts = backoff.attempts(), "the edge accepts invalidations again");
                    }
                    backoff.reset();
                    self.delete(&progress.accept(&batch)).await;
                    continue;
                }
                Err(error) => error,
            };
            let verdict = match verdict(&error) {
                Verdict::Isolate if isolated >= ISOLATED_PATHS_MAX => Verdict::GiveUp,
                verdict => verdict,
            };
            match verdict {
                Verdict::Retry | Verdict::Rename => {
                    self.count_retry(&error);
                    self.reports.board.fails(&self.part(), error.to_string());
                    let delay = backoff.next_delay();
                    if trouble != Some(error.name()) {
                        trouble = Some(error.name());
                        warn!(distribution = %self.name, error = %error, retry_in = ?delay, paths = batch.invalidation.paths.len(), "the edge did not accept an invalidation; trying again until it does");
                    }
                    queue.push_front(match verdict {
                        Verdict::Rename => batch.renamed(),
                        _ => batch,
                    });
                    tokio::time::sleep(delay).await;
                }
                Verdict::Halve | Verdict::Isolate => match batch.halve() {
                    Ok((first, second)) => {
                        self.count_retry(&error);
                        progress.halved(&first, &second);
                        queue.push_front(second);
                        queue.push_front(first);
                    }
                    Err(single) => {
                        isolated += 1;
                        self.give_up(&single, &error);
                        if self.bury(&single, &error).await {
                            self.delete(&progress.accept(&single)).await;
                        } else {
                            refusal = Some(error.name());
                        }
                    }
                },
                Verdict::GiveUp => {
                    refusal = Some(error.name());
                    self.reports.board.fails(&self.part(), error.to_string());
                    self.give_up(&batch, &error);
                }
            }
        }

        let left = self.held.release(&messages);
        if let Some(reason) = refusal {
            counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => reason)
                .increment(u64::try_from(left).unwrap_or(u64::MAX));
            warn!(distribution = %self.name, messages = left, "left messages in the buffer");
        }
        self.name
    }

    fn report_accepted(&self, batch: &Batch, invalidation: &str) {
        let paths = batch.invalidation.paths.len();
        let name = || self.name.to_string();
        counter!(metric::EDGE_INVALIDATIONS, "distribution" => name()).increment(1);
        counter!(metric::EDGE_PATHS, "distribution" => name())
            .increment(u64::try_from(paths).unwrap_or(u64::MAX));
        info!(distribution = %self.name, invalidation, paths, messages = batch.messages.len(), "the edge accepted an invalidation");
    }

    fn part(&self) -> Part {
        Part::Edge(Arc::clone(&self.name))
    }

    /// Puts a path on record that the edge will never take, where the buffer
    /// would hand it out for ever. `false`: it stays there.
    async fn bury(&self, single: &Batch, error: &EdgeError) -> bool {
        if self.buffer.redrives() {
            return false;
        }
        let mut letter = DeadLetter::new(
            error.name(),
            error.to_string(),
            "correct the template that renders such a path, and invalidate what it stands for by hand",
        );
        letter.distribution = Some(self.name.to_string());
        letter.paths.clone_from(&single.invalidation.paths);
        self.reports.ledger.dead_letter_kept(letter).await
    }

    fn count_retry(&self, error: &EdgeError) {
        counter!(metric::EDGE_RETRIES, "error" => error.name()).increment(1);
    }

    /// Nothing lost: the batch's messages stay in the buffer, because progress
    /// never hears of it.
    fn give_up(&self, batch: &Batch, error: &EdgeError) {
        let paths = batch.invalidation.paths.len();
        counter!(metric::EDGE_PATHS_REFUSED, "error" => error.name())
            .increment(u64::try_from(paths).unwrap_or(u64::MAX));
        error!(
            distribution = %self.name,
            error = %error,
            paths,
            first_path = batch.invalidation.paths.first().map_or("", String::as_str),
            messages = batch.messages.len(),
            "the edge refused an invalidation for good"
        );
    }

    async fn delete(&self, complete: &[Arc<str>]) {
        if complete.is_empty() {
            return;
        }
        let now = SystemTime::now();
        let mut receipts = Vec::with_capacity(complete.len());
        for leaving in self.held.leaving(complete) {
            let committed_at = UNIX_EPOCH + Duration::from_micros(leaving.committed_at_us);
            // A commit in the future is a clock that is off, not a latency.
            let elapsed = now.duration_since(committed_at).unwrap_or_default();
            histogram!(metric::COMMIT_TO_EDGE_ACCEPTED, "distribution" => self.name.to_string())
                .record(elapsed);
            receipts.push(leaving.receipt);
        }
        let mut deleted = receipts.len();
        let mut backoff = Backoff::new(DELETE_BACKOFF.0, DELETE_BACKOFF.1);
        while let Err(error) = self.buffer.delete(&receipts).await {
            counter!(metric::BUFFER_ERRORS, "operation" => "delete").increment(1);
            receipts = error.failed;
            if backoff.attempts() + 1 >= DELETE_ATTEMPTS_MAX {
                deleted -= receipts.len().min(deleted);
                warn!(distribution = %self.name, messages = receipts.len(), error = %error.cause, "could not delete messages the edge accepted; they come back and are sent again");
                break;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
        counter!(metric::BUFFER_MESSAGES_DELETED)
            .increment(u64::try_from(deleted).unwrap_or(u64::MAX));
        self.held.release(complete);
    }
}
