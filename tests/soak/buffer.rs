//! The buffer between cache and edge, and what becomes of the file of a local one.

use std::path::PathBuf;
use std::time::Duration;

use super::probes;
use super::world::World;
use crate::support::zero_pages;

/// Enough for a process to be stopped by a signal.
const FROZEN: Duration = Duration::from_millis(50);

/// The file of a local buffer, beside the checkpoint.
pub const BUFFER_FILE: &str = "soak.queue.redb";

/// Where paths wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    Sqs,
    Local,
}

impl World {
    fn buffer_file(&self) -> PathBuf {
        self.disk.path().join(BUFFER_FILE)
    }

    fn buffer_copy(&self) -> PathBuf {
        self.dir.path().join("soak.queue.copy")
    }

    /// Copies the file while evictd is stopped, as a backup does.
    pub async fn back_up_buffer(&mut self) {
        self.stop_evictd().await;
        std::fs::copy(self.buffer_file(), self.buffer_copy()).unwrap();
        self.start_evictd().await;
    }

    /// Copies the file as it is at one moment while evictd runs, as a snapshot of its disk does.
    pub async fn snapshot_buffer(&mut self) {
        self.evictd().signal("STOP");
        tokio::time::sleep(FROZEN).await;
        std::fs::copy(self.buffer_file(), self.buffer_copy()).unwrap();
        self.evictd().signal("CONT");
    }

    /// Puts the copy in the place of the file.
    pub fn set_buffer_back(&self) {
        std::fs::copy(self.buffer_copy(), self.buffer_file()).unwrap();
    }

    pub fn lose_buffer(&self) {
        std::fs::remove_file(self.buffer_file()).unwrap();
    }

    /// Zeroes the pages that hold probes' paths.
    pub fn damage_buffer(&self) {
        zero_pages(&self.buffer_file(), probes::PREFIX);
    }

    /// How often it was on record that paths that waited are lost.
    pub fn buffer_gaps(&self) -> usize {
        let file = self.disk.path().join("soak.gaps.jsonl");
        let gaps = std::fs::read_to_string(file).unwrap_or_default();
        let begun = |line: &&str| line.contains("\"begun\"") && line.contains("buffer");
        gaps.lines().filter(begun).count()
    }
}
