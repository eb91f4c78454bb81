//! How far a replay is. This takes the place that a checkpoint has in a daemon,
//! and stores nothing.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::checkpoint::{Checkpoint, CheckpointError, Stored};

/// Interval between log lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The progress of a replay: a bar on a terminal, and log lines elsewhere.
pub struct Progress {
    /// The server's binlog files with their sizes, oldest first.
    files: Vec<(String, u64)>,
    /// Bytes before the range, once its beginning is known.
    begin: Option<u64>,
    /// Bytes before the range's end.
    end: u64,
    bar: ProgressBar,
    is_terminal: bool,
    logged_at: Instant,
    reached: watch::Sender<Option<Stored>>,
}

impl Progress {
    /// A replay from `from` to `to`, each a file and an offset. Without `from`
    /// the beginning is known once the first position is reached.
    pub fn new(
        files: Vec<(String, u64)>,
        from: Option<(&str, u64)>,
        to: (&str, u64),
        reached: watch::Sender<Option<Stored>>,
    ) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(
            "{bar:30} {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        let mut progress = Self {
            end: 0,
            begin: None,
            files,
            bar,
            is_terminal,
            logged_at: Instant::now(),
            reached,
        };
        progress.end = progress.bytes_before(to);
        progress.begin = from.map(|from| progress.bytes_before(from));
        progress
    }

    fn bytes_before(&self, (file, offset): (&str, u64)) -> u64 {
        self.files
            .iter()
            .take_while(|(name, _)| name != file)
            .map(|(_, size)| size)
            .sum::<u64>()
            .saturating_add(offset)
    }

    fn show(&mut self, stored: &Stored) {
        let now = self.bytes_before((&stored.file, stored.offset));
        let begin = *self.begin.get_or_insert(now);
        let total = self.end.saturating_sub(begin);
        let done = now.saturating_sub(begin).min(total);
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar
            .set_message(format!("{}:{}", stored.file, stored.offset));
        if !self.is_terminal && self.logged_at.elapsed() >= LINE_INTERVAL {
            self.logged_at = Instant::now();
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
            tracing::info!(
                position = format!("{}:{}", stored.file, stored.offset),
                percent,
                bytes = done,
                of_bytes = total,
                seconds_left = self.bar.eta().as_secs(),
                "replaying"
            );
        }
    }
}

impl Checkpoint for Progress {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        Ok(self.reached.borrow().clone())
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        self.show(stored);
        self.reached.send_replace(Some(stored.clone()));
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
