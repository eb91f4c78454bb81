//! What writers, readers and probes share: the rows that are hot, when to pause, what is counted and remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard};
use tokio_util::sync::CancellationToken;

use super::shapes::{Row, Shape, now_us};

/// Rows of each shape.
pub const ROWS: u64 = 4_096;

/// How many of them change and are read at a time. The others have had their last change under contention, and
/// keep what came of it until the next comparison.
const HOT_ROWS: u64 = 48;

/// After so many commits the next row becomes hot. Counted, so that a row whose commit takes long stays hot.
const COMMITS_A_ROW: u64 = 30;

/// How many things about a row are remembered.
const REMEMBERED: usize = 24;

/// Shared by all tasks of a run.
pub struct Traffic {
    pub seed: u64,
    /// How long a writer waits between two transactions.
    pub pace: Duration,
    /// Writers and probes hold it while they commit.
    pub writing: RwLock<()>,
    /// Readers hold it from a miss until their fill is done.
    pub reading: RwLock<()>,
    pub over: CancellationToken,
    pub counts: Counts,
    losses: AtomicU64,
    history: Mutex<HashMap<(Shape, u64), History>>,
}

#[derive(Debug, Default)]
struct History {
    /// When the last commit was begun.
    committed_us: Option<u64>,
    last: VecDeque<Happened>,
}

/// What is printed in the end.
#[derive(Debug, Default)]
pub struct Counts {
    pub commits: AtomicU64,
    pub rows: AtomicU64,
    pub hits: AtomicU64,
    pub fills: AtomicU64,
    /// Fills that the deadline or the guard refused.
    pub refused: AtomicU64,
    pub reader_errors: AtomicU64,
    pub events_looked_at: AtomicU64,
    pub early_events: AtomicU64,
    pub compared: AtomicU64,
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Something that happened to a row.
#[derive(Clone, Debug)]
pub struct Happened {
    pub at_us: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A commit that was begun at `at_us` returned.
    Committed { row: Option<Row>, returned_us: u64 },
    /// A reader that read the row at `at_us` filled an entry, or was refused.
    Filled {
        reader: usize,
        row: Option<Row>,
        filled_us: u64,
        stored: bool,
    },
}

impl Traffic {
    pub fn new(seed: u64, pace: Duration) -> Arc<Self> {
        Arc::new(Self {
            seed,
            pace,
            writing: RwLock::default(),
            reading: RwLock::default(),
            over: CancellationToken::new(),
            counts: Counts::default(),
            losses: AtomicU64::new(0),
            history: Mutex::default(),
        })
    }

    /// A hot row, chosen by any number.
    pub fn hot(&self, any: u64) -> u64 {
        let first = self.counts.commits.load(Ordering::Relaxed) / COMMITS_A_ROW;
        (first + any % HOT_ROWS) % ROWS
    }

    /// How often the server has lost what it had committed.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// The server is about to lose what it has committed: nobody knows any more which rows there are.
    pub fn lost(&self) {
        count(&self.losses);
    }

    /// Leave to commit, or `None` at the end of the run.
    pub async fn may_write(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let leave = self.writing.read().await;
        (!self.over.is_cancelled()).then_some(leave)
    }

    /// Leave to read and fill, or `None` at the end of the run.
    pub async fn may_read(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let leave = self.reading.read().await;
        (!self.over.is_cancelled()).then_some(leave)
    }

    pub fn committed(&self, shape: Shape, id: u64, begun_us: u64, row: Option<Row>) {
        count(&self.counts.rows);
        let what = What::Committed {
            row,
            returned_us: now_us(),
        };
        self.remember(shape, id, begun_us, what);
    }

    pub fn remember(&self, shape: Shape, id: u64, at_us: u64, what: What) {
        let mut history = self.history.lock().unwrap();
        let row = history.entry((shape, id)).or_default();
        if matches!(what, What::Committed { .. }) {
            row.committed_us = Some(at_us);
        }
        if row.last.len() == REMEMBERED {
            row.last.pop_front();
        }
        row.last.push_back(Happened { at_us, what });
    }

    /// The last things that happened to a row.
    pub fn history(&self, shape: Shape, id: u64) -> Vec<Happened> {
        let history = self.history.lock().unwrap();
        let row = history.get(&(shape, id));
        row.map(|row| row.last.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// When the last commit of each row of a shape was begun.
    pub fn last_commits(&self, shape: Shape) -> Vec<(u64, u64)> {
        let history = self.history.lock().unwrap();
        let of_shape = history.iter().filter(|((of, _), _)| *of == shape);
        of_shape
            .filter_map(|((_, id), row)| Some((*id, row.committed_us?)))
            .collect()
    }
}
