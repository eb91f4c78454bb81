//! The task that appends to one file, and its queue.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::files::{self, FILE_BYTES_MAX};
use crate::durable::line_file::Rotation;
use crate::telemetry::metric;

/// Bounds of what waits for the disk, besides what is being written (Bounded).
const WAITING_MAX: usize = 1_000;
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Bytes that are logged of records that find the queue full.
const LOGGED_BYTES_MAX: usize = 4 << 10;

/// Records in one write: each write costs an `fsync`.
const TOGETHER_MAX: usize = 200;

const RETRY_AFTER_MIN: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// An outage of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteFailure {
    /// Time of the first failure.
    pub since: Timestamp,
    /// The last failure.
    pub error: String,
}

/// The queue of one file.
#[derive(Debug)]
pub(super) struct Journal {
    ledger: &'static str,
    waiting: mpsc::Sender<JournalRecord>,
    waiting_bytes: Arc<AtomicUsize>,
    failure: Arc<Mutex<Option<WriteFailure>>>,
}

#[derive(Debug)]
struct JournalRecord {
    lines: Vec<u8>,
    /// Notified once the lines are on disk.
    synced: Option<oneshot::Sender<()>>,
}

impl Journal {
    /// Starts the task.
    pub(super) fn start(ledger: &'static str, path: PathBuf) -> Self {
        let (waiting, records) = mpsc::channel(WAITING_MAX);
        let failure = Arc::default();
        let waiting_bytes = Arc::default();
        let writer = Writer {
            ledger,
            path,
            failure: Arc::clone(&failure),
            waiting_bytes: Arc::clone(&waiting_bytes),
        };
        tokio::spawn(writer.run(records));
        Self {
            ledger,
            waiting,
            waiting_bytes,
            failure,
        }
    }

    pub(super) fn failure(&self) -> Option<WriteFailure> {
        lock(&self.failure).clone()
    }

    /// Puts records on the queue. When it is full, they are logged instead.
    pub(super) fn append(&self, records: &[impl Serialize]) {
        let Some(lines) = self.lines(records) else {
            return;
        };
        let bytes = lines.len();
        let record = JournalRecord {
            lines,
            synced: None,
        };
        // Added before the send, since the writer subtracts on receipt.
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = if waiting < WAITING_BYTES_MAX {
            self.waiting
                .try_send(record)
                .map_err(|error| error.into_inner())
        } else {
            Err(record)
        };
        let Err(record) = sent else { return };
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let lost = u64::try_from(records.len()).unwrap_or(u64::MAX);
        metrics::counter!(metric::LEDGER_LOST, "ledger" => self.ledger).increment(lost);
        let shown = record
            .lines
            .get(..LOGGED_BYTES_MAX)
            .unwrap_or(&record.lines);
        let shown = String::from_utf8_lossy(shown);
        tracing::error!(ledger = self.ledger, lost, records = %shown.trim_end(), "too much waits for the disk: these records are in the log only");
    }

    /// Waits until everything on the queue is on disk, however long that takes.
    pub(super) async fn flush(&self) {
        loop {
            let (told, synced) = oneshot::channel();
            let record = JournalRecord {
                lines: Vec::new(),
                synced: Some(told),
            };
            if self.waiting.send(record).await.is_err() || synced.await.is_ok() {
                return;
            }
        }
    }

    fn lines(&self, records: &[impl Serialize]) -> Option<Vec<u8>> {
        let mut lines = Vec::new();
        for record in records {
            if let Err(error) = serde_json::to_writer(&mut lines, record) {
                metrics::counter!(metric::LEDGER_LOST, "ledger" => self.ledger).increment(1);
                tracing::error!(ledger = self.ledger, %error, "a record cannot be written as JSON");
                return None;
            }
            lines.push(b'\n');
        }
        Some(lines)
    }
}

/// The state of the task.
struct Writer {
    ledger: &'static str,
    path: PathBuf,
    failure: Arc<Mutex<Option<WriteFailure>>>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Writer {
    /// Writes records until the queue is closed.
    async fn run(self, mut records: mpsc::Receiver<JournalRecord>) {
        let mut together = Vec::new();
        while records.recv_many(&mut together, TOGETHER_MAX).await > 0 {
            let lines: Arc<[u8]> = together
                .iter()
                .flat_map(|record| record.lines.iter().copied())
                .collect();
            self.waiting_bytes.fetch_sub(lines.len(), Ordering::Relaxed);
            if !lines.is_empty() {
                self.write(&lines, &mut together).await;
            }
            for record in together.drain(..) {
                if let Some(synced) = record.synced {
                    // The waiting call may have been cancelled.
                    synced.send(()).ok();
                }
            }
        }
    }

    async fn write(&self, lines: &Arc<[u8]>, together: &mut [JournalRecord]) {
        let ledger = self.ledger;
        let mut retry_after = RETRY_AFTER_MIN;
        loop {
            let (path, lines) = (self.path.clone(), Arc::clone(lines));
            let append = move || files::append(&path, &lines);
            match files::blocking(append).await {
                Ok(rotation) => {
                    if rotation == Rotation::Rotated {
                        tracing::warn!(
                            ledger,
                            bytes = FILE_BYTES_MAX,
                            "the ledger's file was full: it is kept as .1, and what was kept there is gone"
                        );
                    }
                    break;
                }
                Err(error) => {
                    metrics::counter!(metric::LEDGER_FAILURES, "ledger" => ledger).increment(1);
                    note(&self.failure, &error.to_string());
                    // A flush must not wait for the end of an outage in one call.
                    together.iter_mut().for_each(|record| record.synced = None);
                    tokio::time::sleep(retry_after).await;
                    retry_after = (retry_after * 2).min(RETRY_AFTER_MAX);
                }
            }
        }
        if let Some(over) = lock(&self.failure).take() {
            tracing::info!(ledger, since = %over.since, "the ledger can be written again");
        }
    }
}

fn note(failure: &Mutex<Option<WriteFailure>>, error: &str) {
    let mut failure = lock(failure);
    match &mut *failure {
        Some(failure) => failure.error = error.to_owned(),
        None => {
            tracing::error!(
                error,
                "the ledger cannot be written; records wait in memory, and invalidation goes on"
            );
            *failure = Some(WriteFailure {
                since: Timestamp::now(),
                error: error.to_owned(),
            });
        }
    }
}

/// Locks for a moment, never across an await.
fn lock(failure: &Mutex<Option<WriteFailure>>) -> std::sync::MutexGuard<'_, Option<WriteFailure>> {
    failure.lock().unwrap_or_else(PoisonError::into_inner)
}
