//! A queue in a file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::error::{BUG, blocking, refusal};
use super::store::{Dead, LocalStore, Taken};
use crate::buffer::{
    Buffer, BufferError, Buried, Message, ReceiptError, Received, Redriven, RejectedMessage,
    SendError, message,
};
use crate::model::{BufferMark, BufferState};

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

/// Proves one delivery of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalReceipt {
    sequence: u64,
    delivery: u64,
}

impl Local {
    /// Opens the queue, and makes the file when there is none.
    ///
    /// # Errors
    ///
    /// The directory is missing, the file is not a queue, or another process
    /// has it open.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, BufferError> {
        let path = path.into();
        let name: Arc<str> = path.display().to_string().into();
        let store = blocking(&name, "open", move || LocalStore::open(&path)).await?;
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

    pub(super) async fn run<T, F>(&self, operation: &'static str, work: F) -> Result<T, BufferError>
    where
        T: Send + 'static,
        F: FnOnce(&mut LocalStore) -> Result<T, redb::Error> + Send + 'static,
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
        match self.run("send", move |store| store.append(&bodies)).await {
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
            let taken = self
                .run("receive", move |store| {
                    store.take(RECEIVE_MAX, Instant::now(), visibility)
                })
                .await?;
            let next = match taken {
                Taken::Messages(messages) => {
                    return Ok(messages
                        .into_iter()
                        .map(|message| Received {
                            id: message.id,
                            receipt: LocalReceipt {
                                sequence: message.sequence,
                                delivery: message.delivery,
                            },
                            deliveries: message.times,
                            content: message::decode(&message.body),
                            body: String::from_utf8_lossy(&message.body).into_owned(),
                        })
                        .collect());
                }
                Taken::NothingUntil(next) => next,
            };
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
        let asked: Vec<(u64, u64)> = receipts
            .iter()
            .map(|receipt| (receipt.sequence, receipt.delivery))
            .collect();
        let until = Instant::now() + self.visibility;
        let outcome = self
            .run("extend", move |store| Ok(store.extend(&asked, until)))
            .await;
        match outcome {
            Ok(lost) if lost.is_empty() => Ok(()),
            Ok(lost) => Err(ReceiptError {
                failed: lost
                    .into_iter()
                    .map(|(sequence, delivery)| LocalReceipt { sequence, delivery })
                    .collect(),
                cause: refusal(
                    &self.shared.path,
                    "extend",
                    "the message was deleted or received again since",
                    "nothing is lost; its paths may be invalidated twice",
                ),
            }),
            Err(cause) => Err(ReceiptError {
                failed: receipts.to_vec(),
                cause,
            }),
        }
    }

    async fn give_back(&self, receipts: &[LocalReceipt]) -> Result<(), ReceiptError<LocalReceipt>> {
        let asked: Vec<(u64, u64)> = receipts
            .iter()
            .map(|receipt| (receipt.sequence, receipt.delivery))
            .collect();
        let now = Instant::now();
        // Who holds what is in memory. A newer delivery keeps its time.
        self.run("give back", move |store| Ok(store.extend(&asked, now)))
            .await
            .map_err(|cause| ReceiptError {
                failed: receipts.to_vec(),
                cause,
            })?;
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
        let (moved, left) = self
            .run("redrive", move |store| store.redrive(message::readdressed))
            .await?;
        self.shared.arrived.notify_waiters();
        Ok(Redriven { moved, left })
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
