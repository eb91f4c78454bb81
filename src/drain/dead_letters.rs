//! Messages that become dead letters when they come back.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::edge::EdgeError;

/// Refusals that are remembered (Bounded). A message whose refusal is forgotten
/// is refused again when it comes back.
const REFUSALS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Why the edge refused a message for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdgeRefusal {
    /// A short name, for metrics.
    pub(super) code: &'static str,
    /// The edge's words.
    pub(super) reason: String,
    /// The paths that it refused, where they could be told from the others.
    pub(super) paths: Option<Vec<String>>,
}

/// What the edge refused for good, by message.
///
/// A dead letter needs the message's text, which a drain does not keep. So the
/// refusal waits here until the message comes back with its text.
#[derive(Debug)]
pub(super) struct DeadLetters {
    refusals: Mutex<LruCache<Arc<str>, EdgeRefusal>>,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            refusals: Mutex::new(LruCache::new(REFUSALS_MAX)),
        }
    }
}

impl DeadLetters {
    /// `path` is the one that was refused, if it stood alone.
    pub(super) fn add(&self, id: &Arc<str>, error: &EdgeError, path: Option<&String>) {
        let mut refusals = self.lock();
        let refusal = refusals.get_or_insert_mut(Arc::clone(id), || EdgeRefusal {
            code: error.name(),
            reason: error.to_string(),
            paths: Some(Vec::new()),
        });
        match (&mut refusal.paths, path) {
            (Some(paths), Some(path)) => paths.push(path.clone()),
            (paths, _) => *paths = None,
        }
    }

    /// Takes out why the edge refused the message, if it did.
    pub(super) fn take(&self, id: &Arc<str>) -> Option<EdgeRefusal> {
        self.lock().pop(id)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Arc<str>, EdgeRefusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
