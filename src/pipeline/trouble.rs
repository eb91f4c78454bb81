//! An outage of one part.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::board::{Board, Part};
use super::retry::Backoff;

/// An outage of one part: its reason is logged when it begins and when it
/// changes, it stands on the board while it lasts, and every retry is counted.
pub(super) struct Trouble {
    what: &'static str,
    metric: &'static str,
    board: Arc<Board>,
    part: Part,
    backoff: Backoff,
    code: String,
    since: Option<Instant>,
    /// What is tried may take any time: a scan of a large keyspace.
    lasting: bool,
}

impl Trouble {
    /// Of `part`, which logs call `what`. `metric` counts the retries.
    pub(super) fn new(
        what: &'static str,
        metric: &'static str,
        board: &Arc<Board>,
        part: Part,
    ) -> Self {
        Self {
            what,
            metric,
            board: Arc::clone(board),
            part,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
            code: String::new(),
            since: None,
            lasting: false,
        }
    }

    /// The part begins something that it may fail at. `lasting` for what has
    /// no time within which it must be over.
    pub(super) fn begins(&mut self, lasting: bool) {
        self.lasting = lasting;
        self.mark();
    }

    fn mark(&self) {
        match self.lasting {
            true => self.board.rests(&self.part),
            false => self.board.begins(&self.part),
        }
    }

    /// The part waits for work.
    pub(super) fn rests(&self) {
        self.board.rests(&self.part);
    }

    pub(super) async fn wait(&mut self, code: &str, error: &(dyn std::error::Error + Send + Sync)) {
        metrics::counter!(self.metric, "error" => code.to_owned()).increment(1);
        self.board.fails(&self.part, error.to_string());
        if self.since.is_none() || self.code != code {
            self.code = code.to_owned();
            tracing::error!(%error, "{} does not answer as it should; retrying until it does", self.what);
        }
        self.since.get_or_insert_with(Instant::now);
        tokio::time::sleep(self.backoff.next_delay()).await;
        self.mark();
    }

    pub(super) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            self.board.works(&self.part);
            tracing::info!(
                seconds = since.elapsed().as_secs_f64(),
                "{} answers again",
                self.what
            );
            self.backoff.reset();
        }
    }
}
