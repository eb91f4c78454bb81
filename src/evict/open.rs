//! Batches whose keys were deleted before anybody knew whether their rows are
//! visible.
//!
//! Problem: a server that does not answer may show the old rows for as long as
//! it likes, and whoever reads them fills the cache again, after any second
//! deletion.
//!
//! Idea: such a batch stays *open*, with its paths and its position. The server
//! is asked about it until it says that the rows are visible. Then its keys are
//! deleted at once and settle from that moment. Nothing else waits for it.
//!
//! What could go wrong: the server never says so, because it is another one that
//! lacks the transaction. Then the stream has a gap, which invalidates everything
//! and takes the place of what is open. Or it takes so long that the keys need
//! too much memory: beyond `OPEN_BYTES_MAX` everything that any rule covers
//! takes their place (Bounded).

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::batch::{Batch, Deleted};
use super::held::Held;
use super::marks::Marks;
use super::visibility::{QUESTION, Unseen, Visibility};
use crate::model::invalidation::Widening;
use crate::progress::backoff::Backoff;
use crate::progress::board::{Board, Component, Reports};

/// Most that open batches may take, in bytes.
const OPEN_BYTES_MAX: usize = 12 << 20;

const OPEN: &str = "keys were deleted before it was known whether their rows are visible: they are deleted again once the server says that they are, and their paths and the position wait until then";

/// Open batches, oldest first.
pub(super) struct OpenBatches<V> {
    batches: VecDeque<Held>,
    bytes: usize,
    visibility: V,
    /// Asks about the oldest one.
    question: Option<Question<V>>,
    reports: Reports,
}

type Question<V> = Pin<Box<dyn Future<Output = (V, Instant)> + Send>>;

impl<V: Visibility> OpenBatches<V> {
    pub(super) fn new(visibility: V, reports: &Reports) -> Self {
        Self {
            batches: VecDeque::new(),
            bytes: 0,
            visibility,
            question: None,
            reports: reports.clone(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.batches.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.batches.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// The memory that they take, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        self.bytes
    }

    /// Keeps `batch` until its rows are visible.
    pub(super) fn push(&mut self, held: Held, marks: &mut Marks) {
        if self.batches.is_empty() {
            let board = &self.reports.board;
            board.failed(&Component::Unseen, OPEN.to_owned());
        }
        self.bytes += held.bytes;
        self.batches.push_back(held);
        if self.bytes > OPEN_BYTES_MAX {
            self.collapse(marks);
        }
    }

    /// Takes the next batch whose rows are visible, with a moment by which they
    /// were. Cancelling it loses nothing.
    pub(super) async fn closed(&mut self) -> (Held, Instant) {
        loop {
            let Some(oldest) = self.batches.front() else {
                return pending().await;
            };
            let question = self.question.get_or_insert_with(|| {
                let unseen = oldest.batch.unseen.clone().unwrap_or_default();
                let another = self.visibility.another();
                let visibility = std::mem::replace(&mut self.visibility, another);
                Box::pin(ask(visibility, unseen, Arc::clone(&self.reports.board)))
            });
            let (visibility, visible_by) = question.await;
            self.question = None;
            // Its connection is there.
            self.visibility = visibility;
            if let Some(held) = self.batches.pop_front() {
                self.bytes -= held.bytes;
                self.report_end("the rows of keys that were deleted unseen are visible");
                return (held, visible_by);
            }
        }
    }

    /// Takes all of them: a gap takes their place.
    pub(super) fn superseded(&mut self) -> VecDeque<Held> {
        self.question = None;
        self.bytes = 0;
        let batches = std::mem::take(&mut self.batches);
        if !batches.is_empty() {
            self.report_end("a gap takes the place of keys that were deleted unseen");
        }
        batches
    }

    fn report_end(&self, how: &str) {
        if self.batches.is_empty() {
            // First deletions learn that the server says again only with the next
            // change.
            for part in [Component::Unseen, Component::Visibility] {
                self.reports.board.recovered(&part);
            }
            tracing::info!("{how}: they are deleted again");
        }
    }
}

impl<V> OpenBatches<V> {
    /// Puts everything that any rule covers in the place of their keys and paths.
    fn collapse(&mut self, marks: &mut Marks) {
        let Reports { rules, board, .. } = &self.reports;
        let mut whole = Batch::default();
        rules.widen_all(Widening::Unseen, &mut whole);
        whole.report(board, String::new);
        tracing::error!(
            bytes = self.bytes,
            "keys that were deleted unseen take too much memory: everything that any rule covers is deleted in their place once their rows are visible"
        );
        self.question = None;
        // What remains of the others is deleted with everything.
        let jobs = self
            .batches
            .front()
            .map(|held| (held.first_jobs, held.second_jobs));
        let batches = self.batches.drain(..).map(|held| held.batch);
        let joined = Deleted::joined(whole, batches, marks).map(Held::new);
        if let (Some(mut held), Some((first_jobs, second_jobs))) = (joined, jobs) {
            held.first_jobs = first_jobs;
            held.second_jobs = second_jobs;
            self.batches.push_back(held);
        }
        self.bytes = self.batches.iter().map(|held| held.bytes).sum();
    }
}

/// Asks until `unseen` are visible, and returns a moment by which they were.
async fn ask<V: Visibility>(mut visibility: V, unseen: Unseen, board: Arc<Board>) -> (V, Instant) {
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    loop {
        let Unseen { gtids, stream } = &unseen;
        match visibility.wait(gtids, stream, QUESTION).await {
            Ok(visible_by) => return (visibility, visible_by),
            Err(error) => board.failed(&Component::Unseen, format!("{OPEN}: {error}")),
        }
        sleep(backoff.next_delay()).await;
    }
}
