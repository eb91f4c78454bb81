//! The batches that wait to settle: until they are due, and for what remains.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::Deleted;
use super::due::Due;
use super::held::Held;
use super::lane::{Job, Lanes};
use super::marks::{Mark, Marks};
use super::open::OpenBatches;
use super::remainder::{Attempted, Remainder};
use super::settled::Settled;
use super::visibility::Visibility;
use crate::model::KeySet;
use crate::progress::board::{Board, Reports};
use crate::telemetry::metric;

/// Longer than anybody waits until a batch that is open is deleted again.
const OPEN_MAX: Duration = Duration::from_secs(365 * 86_400);

/// The batches between their first deletion and their paths.
pub(super) struct SettlingQueue<V> {
    /// Those that are not deleted again yet, in the order in which they came.
    pub(super) waiting: VecDeque<Held>,
    /// Those of which something remains in a lane, by their numbers.
    remaining: BTreeMap<u64, Held>,
    /// Those that were deleted before it was known whether their rows are visible.
    pub(super) unseen: OpenBatches<V>,
    marks: Marks,
    pub(super) lanes: Lanes,
    /// The number of jobs in the lanes.
    pub(super) jobs: usize,
    /// The memory that all of it takes, but for open batches.
    bytes: usize,
    board: Arc<Board>,
}

impl<V: Visibility> SettlingQueue<V> {
    pub(super) fn new(lanes: Lanes, visibility: V, reports: &Reports) -> Self {
        Self {
            waiting: VecDeque::new(),
            remaining: BTreeMap::new(),
            unseen: OpenBatches::new(visibility, reports),
            marks: Marks::default(),
            lanes,
            jobs: 0,
            bytes: 0,
            board: Arc::clone(&reports.board),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.remaining.is_empty() && self.unseen.len() == 0
    }

    /// The memory that all of it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        self.bytes + self.unseen.size()
    }

    /// The batch that is deleted again next.
    pub(super) fn next(&self) -> Option<&Deleted> {
        self.waiting.front().map(|held| &held.batch)
    }

    /// Takes a batch after its first deletion.
    pub(super) fn push(&mut self, mut batch: Deleted) {
        let remains = std::mem::take(&mut batch.remains);
        batch.number = self.marks.begin();
        let mut held = Held::new(batch);
        self.bytes += held.bytes;
        if !remains.is_done() {
            self.remains(&mut held, remains, true);
        }
        let first_jobs = held.first_jobs;
        self.waiting.push_back(held);
        self.report();
        if first_jobs > 0 {
            self.report_remains();
        }
    }

    /// Gives the lanes what remains of a deletion.
    pub(super) fn remains(&mut self, held: &mut Held, attempted: Attempted, first: bool) {
        let Attempted { retries, scans, .. } = attempted;
        for (rest, scans) in [(retries, false), (scans, true)] {
            if let Some(rest) = rest {
                self.send(held, *rest, first, scans);
            }
        }
    }

    fn send(&mut self, held: &mut Held, rest: Remainder, first: bool, scans: bool) {
        let bytes = rest.size();
        held.bytes += bytes;
        self.bytes += bytes;
        if first {
            held.first_jobs += 1;
        } else {
            held.second_jobs += 1;
        }
        let job = Job {
            number: held.batch.number,
            rest,
            first,
            again_at: if held.batch.unseen.is_some() {
                Some(Instant::now() + OPEN_MAX)
            } else {
                held.batch.due.map(|due| due.at)
            },
            carried: KeySet::default(),
            refused: Vec::new(),
            deleted: 0,
        };
        let lane = if scans {
            &self.lanes.scans
        } else {
            &self.lanes.retries
        };
        // A lane ends after this does, or with the process.
        self.jobs += usize::from(lane.send(job).is_ok());
    }

    /// The deletion that was due is made, or was not needed.
    pub(super) fn deleted_again(&mut self, mut held: Held, ready: &mut Option<Settled>) {
        if held.batch.unseen.is_some() {
            self.bytes -= held.bytes;
            self.unseen.push(held, &mut self.marks);
        } else if let Some(due) = held.batch.due_again.take() {
            held.batch.due = Some(due);
            self.waiting.push_back(held);
        } else {
            self.ended(held, ready);
        }
        self.report();
    }

    /// It is known that the rows of an open batch were visible by `visible_by`: it is
    /// deleted at once, and once more at `due`.
    pub(super) fn closed(&mut self, mut held: Held, visible_by: Instant, due: Option<Due>) {
        held.batch.closed(visible_by, due);
        self.bytes += held.bytes;
        self.waiting.push_front(held);
    }

    /// A gap takes the place of what is open, and settles at `due`.
    pub(super) fn supersede(&mut self, due: Option<Due>) {
        for held in self.unseen.superseded() {
            self.bytes += held.bytes;
            self.waiting.push_back(held);
        }
        for held in &mut self.waiting {
            held.batch.superseded(due);
        }
    }

    /// The times at which batches are deleted again.
    pub(super) fn dues(&mut self) -> impl Iterator<Item = &mut Due> {
        self.waiting.iter_mut().flat_map(|held| held.batch.dues())
    }

    /// Its last deletion is made. It waits for what remains of any.
    fn ended(&mut self, held: Held, ready: &mut Option<Settled>) {
        if held.has_jobs() {
            self.remaining.insert(held.batch.number, held);
        } else {
            self.settled(held, ready);
        }
    }

    /// The position of a batch that something remains of.
    pub(super) fn mark_of(&self, number: u64) -> Option<&Mark> {
        let waiting = || self.waiting().find(|held| held.batch.number == number);
        let held = self.remaining.get(&number).or_else(waiting)?;
        held.batch.mark.as_ref()
    }

    /// Nothing remains of a job.
    pub(super) fn done(&mut self, job: Job, ready: &mut Option<Settled>) {
        self.jobs -= 1;
        metrics::counter!(metric::CACHE_KEYS).increment(job.deleted);
        self.board.deleted_late(job.deleted);
        if let Some(mut held) = self.remaining.remove(&job.number) {
            held.ended(&job);
            if !job.carried.is_empty() {
                // The second deletion came before, so that it is time for them.
                let mut rest = Remainder::default();
                rest.structures.carried = job.carried;
                rest.structures.publications = held.batch.publications();
                self.send(&mut held, rest, false, false);
            }
            self.ended(held, ready);
            self.report();
        } else {
            let mut waiting = self.waiting.iter_mut().chain(self.unseen.iter_mut());
            // Another batch may stand in the place of one that was open.
            if let Some(held) = waiting.find(|held| held.batch.number == job.number) {
                held.ended(&job);
                held.batch.carry(&job.carried);
            }
        }
        self.report_remains();
    }

    fn settled(&mut self, held: Held, ready: &mut Option<Settled>) {
        self.bytes -= held.bytes;
        let batch = held.batch.settled(&mut self.marks);
        match ready {
            Some(earlier) => earlier.add(batch),
            None => *ready = Some(batch),
        }
    }

    /// Those that are not deleted for the last time yet.
    fn waiting(&self) -> impl Iterator<Item = &Held> {
        self.waiting.iter().chain(self.unseen.iter())
    }

    fn report(&self) {
        let batches = self.waiting.len() + self.remaining.len() + self.unseen.len();
        self.board.settles(batches, self.size());
    }

    fn report_remains(&self) {
        let held = self.waiting().chain(self.remaining.values());
        let first = held.filter(|held| held.first_jobs > 0);
        self.board
            .remains(first.filter_map(|held| held.batch.oldest).min());
    }
}
