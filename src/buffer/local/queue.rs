//! A queue in a file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::Error;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::error::{BUG, blocking, refusal};
use super::file;
use super::location::was_in_use;
use super::store::{Dead, LocalReceipt, LocalStore};
use crate::buffer::{
    Buffer, BufferError, Buried, Message, ReceiptError, Received, Redriven, RejectedMessage,
    SendError, message,
};
use crate::model::{BufferMark, BufferState, CommitTime};

/// As SQS by default.
const VISIBILITY_DEFAULT: Duration = Duration::from_secs(30);
/// Messages handed out by one `receive`, as SQS does.
pub(super) const RECEIVE_MAX: usize = 10;

/// A durable queue in one file.
///
/// Cloning is cheap and gives another handle to the same queue.
#[derive(Clone, Debug)]
pub struct Local {
    shared: Arc<LocalShared>,
    visibility: Duration,
}

#[derive(Debug)]
struct LocalShared {
    /// Locked only inside blocking tasks: `redb` reads and writes a file.
    store: Mutex<LocalStore>,
    path: Arc<str>,
    arrived: Notify,
    state: watch::Sender<BufferState>,
}

/// The file of a queue, as a start would find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalCondition {
    /// There is none yet.
    Absent,
    /// Another process has it open.
    InUse,
    Sound {
        /// Messages that wait.
        messages: u64,
    },
    /// It is sound, and does not go on from where the position was stored.
    Another {
        messages: u64,
        /// The reason.
        lack: String,
    },
    /// It would be set aside, for this reason.
    Damaged(String),
}

impl Local {
    /// Opens the queue, and makes the file when there is none.
    ///
    /// # Errors
    ///
    /// The directory is missing, the file is not a queue, or another process
    /// has it open.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, BufferError> {
        Self::open_expecting(path.into(), None).await
    }

    /// Opens the queue. If one was in use here when a position was `stored`, whatever
    /// has taken its place is a damaged one, and is set aside.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn open_expecting(
        path: PathBuf,
        stored: Option<BufferMark>,
    ) -> Result<Self, BufferError> {
        let name: Arc<str> = path.display().to_string().into();
        let opened = move || LocalStore::open(&path, was_in_use(&path, stored.as_ref()));
        let store = blocking(&name, "open", opened).await?;
        Ok(Self {
            shared: Arc::new(LocalShared {
                state: store.file.state(),
                store: Mutex::new(store),
                path: name,
                arrived: Notify::new(),
            }),
            visibility: VISIBILITY_DEFAULT,
        })
    }

    /// Finds out what opening it would find, where a position was `stored` with this
    /// mark, and leaves the file as it is.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or would be refused.
    pub async fn examine(
        path: PathBuf,
        stored: Option<BufferMark>,
    ) -> Result<LocalCondition, BufferError> {
        let name: Arc<str> = path.display().to_string().into();
        let examined = move || match file::examine(&path) {
            Ok(None) => Ok(LocalCondition::Absent),
            Ok(Some(sound)) => {
                let messages = sound.held;
                let stored = stored.as_ref();
                let lack = stored.and_then(|mark| sound.openings.lacks(sound.next, mark));
                Ok(match lack {
                    Some(lack) => LocalCondition::Another { messages, lack },
                    None => LocalCondition::Sound { messages },
                })
            }
            Err(Error::DatabaseAlreadyOpen) => Ok(LocalCondition::InUse),
            Err(error) => file::damage(&error, was_in_use(&path, stored.as_ref()))
                .map(LocalCondition::Damaged)
                .ok_or(error),
        };
        blocking(&name, "examine", examined).await
    }

    /// Sets how long a received message stays invisible; 30 s by default.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Duration) -> Self {
        self.visibility = visibility.max(Duration::from_millis(1));
        self
    }

    /// Number of messages that it holds, those that somebody has received
    /// included.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn depth(&self) -> Result<u64, BufferError> {
        self.run("count", |store| store.depth()).await
    }

    /// Why the open file is not where the next start looks for it, what that costs, and
    /// what to do; `None` if it is there.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub async fn displaced(&self) -> Result<Option<String>, BufferError> {
        self.run("look for", |store| Ok(store.file.displaced()))
            .await
    }

    /// Lets messages be held for as long from now on. Returns the receipts that are
    /// not the latest.
    async fn hold(
        &self,
        operation: &'static str,
        receipts: &[LocalReceipt],
        time: Duration,
    ) -> Result<Vec<LocalReceipt>, ReceiptError<LocalReceipt>> {
        let (held, until) = (receipts.to_vec(), Instant::now() + time);
        let lost = self.run(operation, move |store| Ok(store.hold(&held, until)));
        lost.await.map_err(|cause| ReceiptError {
            failed: receipts.to_vec(),
            cause,
        })
    }

    pub(super) async fn run<T, F>(&self, operation: &'static str, work: F) -> Result<T, BufferError>
    where
        T: Send + 'static,
        F: FnOnce(&mut LocalStore) -> Result<T, Error> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        blocking(&self.shared.path, operation, move || {
            let mut store = shared.store.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut store)
        })
        .await
    }
}

impl Buffer for Local {
    type Receipt = LocalReceipt;

    async fn send(&self, messages: Vec<Message>) -> Result<(), SendError> {
        let mut bodies = Vec::with_capacity(messages.len());
        for message in &messages {
            match message::encode(message) {
                Ok(body) => bodies.push(body),
                Err(error) => {
                    let cause = refusal(&self.shared.path, "send", &error.to_string(), BUG);
                    return Err(SendError {
                        unaccepted: Vec::new(),
                        refused: messages,
                        cause,
                    });
                }
            }
        }
        match self.run("send", move |store| store.append(bodies)).await {
            Ok(()) => {
                self.shared.arrived.notify_waiters();
                Ok(())
            }
            // One transaction: all of them or none.
            Err(cause) => Err(SendError {
                unaccepted: messages,
                refused: Vec::new(),
                cause,
            }),
        }
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Received<LocalReceipt>>, BufferError> {
        let deadline = Instant::now() + wait;
        let visibility = self.visibility;
        loop {
            // Listening starts before the look, so that a message that is sent
            // in between ends the wait.
            let arrived = self.shared.arrived.notified();
            let taken = self.run("receive", move |store| {
                let received = store.take(RECEIVE_MAX, Instant::now(), visibility)?;
                Ok((received, store.next_return()))
            });
            let (received, next) = taken.await?;
            if !received.is_empty() {
                return Ok(received);
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            let until = next.map_or(deadline, |next| next.min(deadline));
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn extend(&self, receipts: &[LocalReceipt]) -> Result<(), ReceiptError<LocalReceipt>> {
        let failed = self.hold("extend", receipts, self.visibility).await?;
        if failed.is_empty() {
            return Ok(());
        }
        let cause = refusal(
            &self.shared.path,
            "extend",
            "the message was deleted or received again since",
            "nothing is lost; its paths may be invalidated twice",
        );
        Err(ReceiptError { failed, cause })
    }

    async fn give_back(&self, receipts: &[LocalReceipt]) -> Result<(), ReceiptError<LocalReceipt>> {
        // Who holds what is in memory. A newer delivery keeps its time.
        self.hold("give back", receipts, Duration::ZERO).await?;
        self.shared.arrived.notify_waiters();
        Ok(())
    }

    async fn delete(&self, receipts: &[LocalReceipt]) -> Result<(), ReceiptError<LocalReceipt>> {
        let sequences: Vec<u64> = receipts.iter().map(|receipt| receipt.sequence).collect();
        self.run("delete", move |store| store.delete(&sequences))
            .await
            .map_err(|cause| ReceiptError {
                failed: receipts.to_vec(),
                cause,
            })
    }

    async fn bury(&self, letter: RejectedMessage<LocalReceipt>) -> Result<Buried, BufferError> {
        let dead = Dead {
            body: letter.body,
            reason: letter.reason,
            deliveries: letter.deliveries,
        };
        let sequence = letter.receipt.sequence;
        self.run("bury", move |store| store.bury(sequence, &dead))
            .await?;
        Ok(Buried::Moved)
    }

    async fn redrive(&self) -> Result<Redriven, BufferError> {
        // A message that no evictd wrote would only become a dead letter again.
        let now = CommitTime::now();
        let (moved, left) = self
            .run("redrive", move |store| {
                store.redrive(|body| message::redriven(body, now))
            })
            .await?;
        self.shared.arrived.notify_waiters();
        Ok(Redriven {
            moved,
            buried_again: 0,
            left,
        })
    }

    async fn continue_from(&self, stored: Option<BufferMark>) -> watch::Receiver<BufferState> {
        let state = self.shared.state.subscribe();
        if let Some(stored) = stored {
            let compared = self.run("open", move |store| {
                store.file.continue_from(stored);
                Ok(())
            });
            // It is compared whenever it can be opened.
            compared.await.ok();
        }
        state
    }

    fn visibility(&self) -> Duration {
        self.visibility
    }
}
