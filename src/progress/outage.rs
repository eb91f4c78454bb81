//! An outage of one component, from its first failure to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::board::{Board, Component};
use crate::telemetry::repeats;

/// Outages that are shorter and come again and again are counted, and not each
/// of them is logged.
const BRIEF: Duration = Duration::from_secs(1);

const BEGINS: &str = "it does not answer as it should; retrying until it does";

/// An outage of one component. Its reason is logged when it begins and when it
/// changes, it is on the board while it lasts, and every retry is counted.
pub(crate) struct Outage {
    what: &'static str,
    metric: &'static str,
    board: Arc<Board>,
    part: Component,
    backoff: Backoff,
    kind: &'static str,
    since: Option<Instant>,
    /// Whether its beginning is in the log.
    logged: bool,
    /// Whether an attempt may take any time, as a scan of a large keyspace.
    lasting: bool,
}

impl Outage {
    /// Outages of `part`, which logs call `what`. `metric` counts the retries.
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
            logged: false,
            lasting: false,
        }
    }

    /// The component begins an attempt. `lasting` says that it may take any time.
    pub(crate) fn started(&mut self, lasting: bool) {
        self.lasting = lasting;
        self.mark();
    }

    fn mark(&self) {
        if self.lasting {
            self.board.idle(&self.part);
        } else {
            self.board.started(&self.part);
        }
    }

    /// The component waits for work.
    pub(crate) fn idle(&self) {
        self.board.idle(&self.part);
    }

    /// Reports a failed attempt, and returns when the next one is due. `kind` is
    /// a label of metrics: one of few.
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
        if news || !self.logged && since.elapsed() >= BRIEF {
            self.logged = true;
            tracing::error!(%error, "{} does not answer as it should; retrying until it does", self.what);
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        self.mark();
    }

    /// Ends the outage, if there is one.
    pub(crate) fn recovered(&mut self) {
        if let Some(since) = self.since.take() {
            self.board.recovered(&self.part);
            if std::mem::take(&mut self.logged) {
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
        assert!(outage.logged, "the first at once");
        outage.recovered();
        for _ in 0..100 {
            outage.wait("connection", &error).await;
            assert!(!outage.logged);
            outage.recovered();
        }
        outage.wait("timeout", &error).await;
        assert!(outage.logged, "another reason");
        outage.recovered();
        let began = Instant::now();
        while began.elapsed() < 2 * BRIEF {
            outage.wait("connection", &error).await;
        }
        outage.wait("connection", &error).await;
        assert!(outage.logged, "it lasts");
        outage.recovered();
        let state = board.snapshot().parts[&Component::Cache].clone();
        assert_eq!(state.trouble_since, None);
    }
}
