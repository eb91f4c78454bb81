//! Takes paths once their keys are deleted.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use super::bulk_paths::{BulkGuard, Paths};
use crate::buffer::{Buffer, BufferError, Message, Recipient, SendError, Sender, pack};
use crate::model::cast::to_u64;
use crate::model::edge_item::split_tenant;
use crate::model::{BufferMark, BufferState, Sent};
use crate::telemetry::metric;

/// Takes the paths of settled batches.
///
/// After an error `send` is called again with what it left in `pending`, until
/// it succeeds. A message that was accepted is not sent again.
pub trait PathSink: Send + 'static {
    /// Messages that are not accepted yet.
    type Pending: Send;

    /// Makes messages of a batch's paths.
    fn prepare(&mut self, paths: &Paths) -> Self::Pending;

    /// Sends the messages. `Ok` means that all of them are accepted durably.
    fn send(
        &mut self,
        pending: &mut Self::Pending,
    ) -> impl Future<Output = Result<(), BufferError>> + Send;

    /// What becomes of paths that are accepted, and of those that were before a
    /// position was stored with `stored`: see [`Buffer::continue_from`].
    fn continue_from(
        &self,
        stored: Option<BufferMark>,
    ) -> impl Future<Output = watch::Receiver<BufferState>> + Send {
        async move {
            drop(stored);
            watch::channel(BufferState::default()).1
        }
    }
}

/// Sends every path to the distributions of its rule through a buffer.
#[derive(Debug)]
pub struct ToBuffer<B> {
    buffer: Arc<B>,
    source: Arc<str>,
    /// The distributions' names, and their ids in the same order.
    distributions: (Vec<Arc<str>>, Vec<Arc<str>>),
    guard: BulkGuard,
    sender: Sender,
}

impl<B: Buffer> ToBuffer<B> {
    /// `source` is the name of the configuration, `distributions` are the names and
    /// ids of the distributions, and `sender` numbers the messages.
    pub fn new(
        buffer: Arc<B>,
        source: Arc<str>,
        distributions: impl Iterator<Item = (Arc<str>, Arc<str>)>,
        guard: BulkGuard,
        sender: Sender,
    ) -> Self {
        Self {
            buffer,
            source,
            distributions: distributions.unzip(),
            guard,
            sender,
        }
    }

    /// The newest message that was made: see [`Sender::last`].
    pub fn last(&self) -> watch::Receiver<Option<Sent>> {
        self.sender.last()
    }
}

impl<B: Buffer> PathSink for ToBuffer<B> {
    type Pending = Vec<Message>;

    fn prepare(&mut self, paths: &Paths) -> Vec<Message> {
        if paths.is_empty() {
            return Vec::new();
        }
        let committed_at = paths.oldest();
        let (names, ids) = &self.distributions;
        let items = self.guard.send(paths, names);
        let mut messages = Vec::new();
        for ((name, id), items) in names.iter().zip(ids).zip(items) {
            // Paths of no tenant come first.
            let mut by_tenant: BTreeMap<Option<Arc<str>>, Vec<String>> = BTreeMap::new();
            for item in items {
                let (tenant, path) = match split_tenant(&item) {
                    (None, _) => (None, item),
                    (Some(tenant), path) => (Some(tenant.into()), path.to_owned()),
                };
                by_tenant.entry(tenant).or_default().push(path);
            }
            for (tenant, paths) in by_tenant {
                let to = Recipient {
                    source: Arc::clone(&self.source),
                    distribution: Arc::clone(name),
                    distribution_id: Some(Arc::clone(id)),
                    tenant,
                };
                messages.extend(pack(&to, paths, committed_at));
            }
        }
        self.sender.number(&mut messages);
        messages
    }

    async fn send(&mut self, pending: &mut Vec<Message>) -> Result<(), BufferError> {
        if pending.is_empty() {
            return Ok(());
        }
        let paths: usize = pending.iter().map(|message| message.paths.len()).sum();
        match self.buffer.send(std::mem::take(pending)).await {
            Ok(()) => {
                metrics::counter!(metric::BUFFER_PATHS).increment(to_u64(paths));
                Ok(())
            }
            Err(SendError {
                mut unaccepted,
                refused,
                cause,
            }) => {
                // Nothing lost: refused messages are kept as well.
                unaccepted.extend(refused);
                *pending = unaccepted;
                Err(cause)
            }
        }
    }

    async fn continue_from(&self, stored: Option<BufferMark>) -> watch::Receiver<BufferState> {
        self.buffer.continue_from(stored).await
    }
}

/// Logs paths, where no edge is configured.
#[derive(Debug)]
pub struct ToLog;

impl PathSink for ToLog {
    type Pending = Vec<String>;

    fn prepare(&mut self, paths: &Paths) -> Vec<String> {
        paths.iter().collect()
    }

    async fn send(&mut self, pending: &mut Vec<String>) -> Result<(), BufferError> {
        for path in pending.drain(..) {
            tracing::info!(path, "would be invalidated; no [cloudfront] is configured");
        }
        Ok(())
    }
}
