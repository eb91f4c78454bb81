//! Keys are deleted once their rows can be read (Visible before evicted).
//!
//! Problem: MySQL sends a transaction to binlog readers before other sessions
//! see its rows. A key that is deleted in between is filled again from the old
//! row, and nothing deletes it any more.
//!
//! Idea: a second connection asks the server to wait until the batch's own GTIDs
//! are in its executed set ([`Barrier`]). `VisibilityGate` holds the first
//! deletion back until the answer comes.
//!
//! What could go wrong: the server says "not yet" for as long as semi-synchronous
//! replication waits for a replica. Then nothing is stale, since everybody still
//! reads the old row, and the gate waits however long it takes. Or the server
//! cannot say, because the connection is lost or refused, or another server
//! answers. Then waiting would keep stale entries for ever: after `PATIENCE` the
//! gate lets deletions go ahead, and asks again every `RETRY_INTERVAL`. What goes
//! ahead is *open* until its rows are known to be visible (see `open`).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::binlog::reader::TransactionsRead;
use crate::binlog::server::barrier::{Barrier, NotVisible};
use crate::binlog::server::stream_id::StreamId;
use crate::model::GtidSet;
use crate::progress::backoff::Backoff;
use crate::progress::board::{Board, Component};
use crate::telemetry::metric;

/// Knows when transactions are visible.
///
/// A question may be repeated, and leaves nothing behind when it is cancelled.
pub trait Visibility: Send + 'static {
    /// Returns once every transaction of `gtids`, which came over `stream`, is
    /// visible to every session, with a moment by which they were; or with an
    /// error after about `at_most`.
    fn wait(
        &mut self,
        gtids: &GtidSet,
        stream: &StreamId,
        at_most: Duration,
    ) -> impl Future<Output = Result<Instant, NotVisible>> + Send;

    /// Another one of the same server.
    #[must_use]
    fn another(&self) -> Self;
}

impl Visibility for Barrier {
    async fn wait(
        &mut self,
        gtids: &GtidSet,
        stream: &StreamId,
        at_most: Duration,
    ) -> Result<Instant, NotVisible> {
        Barrier::wait(self, gtids, stream, at_most).await
    }

    fn another(&self) -> Self {
        Barrier::another(self)
    }
}

/// Transactions that are not known to be visible.
#[derive(Clone, Debug, Default)]
pub(super) struct Unseen {
    pub(super) gtids: GtidSet,
    pub(super) stream: StreamId,
}

/// Since when a batch's rows are visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visible {
    /// By this moment.
    By(Instant),
    /// Nobody can be asked about some of them, and the others are visible.
    Unnamed,
    /// It is not known whether they are.
    Open,
}

/// Time that deletions wait for a server that does not answer before they go
/// ahead.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two questions to a server that did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Longest time that one question waits for its answer.
pub(super) const QUESTION: Duration = Duration::from_secs(5);

/// Longest time that one question waits while the server has not answered before.
const BRIEF_QUESTION: Duration = Duration::from_secs(1);

const NOT_YET: &str = "rows are in the binlog and not visible yet: their keys wait; look at semi-synchronous replication, whose replicas have to acknowledge";

/// Holds deletions back until their rows are visible.
#[derive(Debug)]
pub(super) struct VisibilityGate<V> {
    visibility: V,
    board: Arc<Board>,
    /// When the server is asked again; `None` while it answers.
    lost: Option<Instant>,
}

impl<V: Visibility> VisibilityGate<V> {
    pub(super) fn new(visibility: V, board: &Arc<Board>) -> Self {
        Self {
            visibility,
            board: Arc::clone(board),
            lost: None,
        }
    }

    /// Waits until what was read is visible, as far as it can be asked for.
    pub(super) async fn wait(&mut self, read: &TransactionsRead, stream: &StreamId) -> Visible {
        if read.gtids.is_empty() {
            return Visible::Unnamed;
        }
        match self.answer(&read.gtids, stream).await {
            Some(_) if read.unnamed => Visible::Unnamed,
            Some(visible_by) => Visible::By(visible_by),
            None => Visible::Open,
        }
    }

    /// Waits until `gtids` are visible, and returns a moment by which they were;
    /// `None` where the server cannot say.
    async fn answer(&mut self, gtids: &GtidSet, stream: &StreamId) -> Option<Instant> {
        if let Some(again_at) = self.lost {
            return self.answer_briefly(gtids, stream, again_at).await;
        }
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
        let began = Instant::now();
        let mut silent_since = None;
        let mut reported = false;
        loop {
            let error = match self.visibility.wait(gtids, stream, QUESTION).await {
                Ok(visible_by) => {
                    if reported {
                        self.board.recovered(&Component::Visibility);
                    }
                    return Some(visible_by);
                }
                Err(error) => error,
            };
            match error {
                NotVisible::NotYet => {
                    silent_since = None;
                    if !reported && began.elapsed() >= QUESTION {
                        reported = true;
                        self.board
                            .failed(&Component::Visibility, NOT_YET.to_owned());
                        tracing::warn!(
                            seconds = began.elapsed().as_secs_f64(),
                            "rows are in the binlog and not visible yet: their keys wait; semi-synchronous replication without a replica does this"
                        );
                    }
                }
                NotVisible::Unknown(error) => {
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= PATIENCE {
                        self.board.failed(&Component::Visibility, error.clone());
                        tracing::error!(%error, "it is not known whether rows are visible: their keys are deleted without waiting, until the server says again");
                        self.go_ahead();
                        return None;
                    }
                }
            }
            // The server itself waits before it answers; if it does not, this loop must not spin.
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn answer_briefly(
        &mut self,
        gtids: &GtidSet,
        stream: &StreamId,
        again_at: Instant,
    ) -> Option<Instant> {
        if Instant::now() >= again_at {
            match self.visibility.wait(gtids, stream, BRIEF_QUESTION).await {
                Ok(visible_by) => {
                    self.lost = None;
                    self.board.recovered(&Component::Visibility);
                    tracing::info!("it is known again which rows are visible");
                    return Some(visible_by);
                }
                // It answers, though the rows are not visible yet.
                Err(NotVisible::NotYet) => {
                    self.lost = None;
                    self.board.recovered(&Component::Visibility);
                    return Box::pin(self.answer(gtids, stream)).await;
                }
                Err(NotVisible::Unknown(_)) => {}
            }
        }
        self.go_ahead();
        None
    }

    fn go_ahead(&mut self) {
        let now = Instant::now();
        if self.lost.is_none_or(|again_at| now >= again_at) {
            self.lost = Some(now + RETRY_INTERVAL);
        }
        metrics::counter!(metric::BARRIER_FALLBACKS).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Gives these answers in their order, and then the last one for ever.
    struct Scripted(VecDeque<char>);

    impl Visibility for Scripted {
        async fn wait(
            &mut self,
            _: &GtidSet,
            _: &StreamId,
            at_most: Duration,
        ) -> Result<Instant, NotVisible> {
            let answer = match self.0.len() {
                1 => self.0[0],
                _ => self.0.pop_front().unwrap(),
            };
            match answer {
                'v' => Ok(Instant::now()),
                'n' => {
                    tokio::time::sleep(at_most).await;
                    Err(NotVisible::NotYet)
                }
                _ => Err(NotVisible::Unknown("gone".to_owned())),
            }
        }

        fn another(&self) -> Self {
            Self(self.0.clone())
        }
    }

    fn gate(answers: &str) -> VisibilityGate<Scripted> {
        VisibilityGate::new(Scripted(answers.chars().collect()), &Arc::default())
    }

    /// The time that deletions wait, in seconds.
    async fn waited(gate: &mut VisibilityGate<Scripted>) -> f64 {
        let began = Instant::now();
        gate.answer(&GtidSet::default(), &StreamId::default()).await;
        began.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_are_not_visible_are_waited_for_however_long_it_takes() {
        let mut gate = gate(&format!("{}v", "n".repeat(1_000)));
        assert!(waited(&mut gate).await >= 5_000.0);
        assert!(gate.lost.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_cannot_say_is_waited_for_once_and_asked_again_now_and_then() {
        let mut gate = gate("u");
        let first = waited(&mut gate).await;
        assert!((10.0..12.0).contains(&first), "{first}");
        // From then on deletions go straight ahead.
        gate.visibility.0 = "uv".chars().collect();
        for _ in 0..1_000 {
            assert_eq!(waited(&mut gate).await, 0.0);
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
        assert_eq!(waited(&mut gate).await, 0.0);
        assert_eq!(gate.visibility.0, ['v'], "asked once");
        assert!(gate.lost.is_some());
        let in_trouble = |board: &Board| {
            board.snapshot().parts[&Component::Visibility]
                .trouble_since
                .is_some()
        };
        assert!(in_trouble(&gate.board));
        // It answers again.
        gate.visibility.0 = "nnv".chars().collect();
        tokio::time::sleep(RETRY_INTERVAL).await;
        assert!(waited(&mut gate).await >= 6.0);
        assert!(gate.lost.is_none());
        assert!(!in_trouble(&gate.board));
    }
}
