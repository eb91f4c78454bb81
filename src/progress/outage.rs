//! An outage of one part.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::board::{Board, Component};
use crate::telemetry::repeats;

/// An outage that is over sooner is no change of a state: where such ones come
/// again and again, they are counted and not each of them logged.
const BRIEF: Duration = Duration::from_secs(1);

const BEGINS: &str = "it does not answer as it should; retrying until it does";

/// An outage of one part: its reason is logged when it begins and when it
/// changes, it stands on the board while it lasts, and every retry is counted.
pub(crate) struct Outage {
    what: &'static str,
    metric: &'static str,
    board: Arc<Board>,
    part: Component,
    backoff: Backoff,
    kind: &'static str,
    since: Option<Instant>,
    /// Its beginning is in the log.
    said: bool,
    /// What is tried may take any time: a scan of a large keyspace.
    lasting: bool,
}

impl Outage {
    /// Of `part`, which logs call `what`. `metric` counts the retries.
    pub(crate) fn new(
        what: &'static str,
        metric: &'static str,
        board: &Arc<Board>,
        part: Component,
    ) -> Self {
        Self {
            what,
            metric,
            board: Arc::clone(board),
            part,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
            kind: "",
            since: None,
            said: false,
            lasting: false,
        }
    }

    /// The part begins something that it may fail at. `lasting` for what has
    /// no time within which it must be over.
    pub(crate) fn started(&mut self, lasting: bool) {
        self.lasting = lasting;
        self.mark();
    }

    fn mark(&self) {
        match self.lasting {
            true => self.board.idle(&self.part),
            false => self.board.started(&self.part),
        }
    }

    /// The part waits for work.
    pub(crate) fn idle(&self) {
        self.board.idle(&self.part);
    }

    /// Takes note of a failed attempt, and returns when the next one is due.
    /// `kind` is one of few.
    pub(crate) async fn wait(
        &mut self,
        kind: &'static str,
        error: &(dyn std::error::Error + Send + Sync),
    ) {
        metrics::counter!(self.metric, "error" => kind).increment(1);
        self.board.failed(&self.part, error.to_string());
        let since = *self.since.get_or_insert_with(Instant::now);
        let subject = || format!("{}: {kind}", self.what);
        let news = std::mem::replace(&mut self.kind, kind) != kind
            && repeats::is_new(tracing::Level::ERROR, BEGINS, &subject());
        if news || !self.said && since.elapsed() >= BRIEF {
            self.said = true;
            tracing::error!(%error, "{} does not answer as it should; retrying until it does", self.what);
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        self.mark();
    }

    pub(crate) fn recovered(&mut self) {
        if let Some(since) = self.since.take() {
            self.board.recovered(&self.part);
            if std::mem::take(&mut self.said) {
                tracing::info!(
                    seconds = since.elapsed().as_secs_f64(),
                    "{} answers again",
                    self.what
                );
            }
            self.kind = "";
            self.backoff.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_comes_again_and_again_is_logged_once_unless_it_lasts() {
        let board = Arc::new(Board::default());
        let mut outage = Outage::new("a part that flaps", "retries", &board, Component::Cache);
        let error = std::io::Error::other("refused");
        outage.wait("connection", &error).await;
        assert!(outage.said, "the first at once");
        outage.recovered();
        for _ in 0..100 {
            outage.wait("connection", &error).await;
            assert!(!outage.said);
            outage.recovered();
        }
        outage.wait("timeout", &error).await;
        assert!(outage.said, "another reason");
        outage.recovered();
        let began = Instant::now();
        while began.elapsed() < 2 * BRIEF {
            outage.wait("connection", &error).await;
        }
        outage.wait("connection", &error).await;
        assert!(outage.said, "it lasts");
        outage.recovered();
        let state = board.snapshot().parts[&Component::Cache].clone();
        assert_eq!(state.trouble_since, None);
    }
}
