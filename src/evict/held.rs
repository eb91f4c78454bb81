//! A batch that waits to settle.

use super::batch::Deleted;
use super::lane::Job;
use crate::telemetry::metric;

/// A batch that waits, and the jobs that remain of its deletions.
pub(super) struct Held {
    pub(super) batch: Deleted,
    /// The memory that it takes, its jobs included.
    pub(super) bytes: usize,
    /// The number of jobs that remain of the first deletion, and of later ones.
    pub(super) first_jobs: usize,
    pub(super) second_jobs: usize,
}

impl Held {
    pub(super) fn new(batch: Deleted) -> Self {
        Self {
            bytes: batch.size(),
            batch,
            first_jobs: 0,
            second_jobs: 0,
        }
    }

    /// Whether something remains of one of its deletions.
    pub(super) fn has_jobs(&self) -> bool {
        self.first_jobs + self.second_jobs > 0
    }

    /// Nothing remains of a job.
    pub(super) fn ended(&mut self, job: &Job) {
        if !job.first {
            self.second_jobs -= 1;
            return;
        }
        self.first_jobs -= 1;
        if let Some(oldest) = self.batch.oldest.filter(|_| self.first_jobs == 0) {
            metrics::histogram!(metric::COMMIT_TO_DELETED).record(oldest.age());
        }
    }
}
