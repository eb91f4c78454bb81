//! Messages that become dead letters when they come back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::edge::EdgeError;

/// Beyond that the oldest is forgotten, and condemned again if it is refused
/// again.
const CONDEMNED_MAX: usize = 10_000;

/// Why the edge refused a message for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// A short name, for metrics.
    pub(super) code: &'static str,
    /// The edge's words.
    pub(super) reason: String,
    /// The paths that it refused, where they could be told from the others.
    pub(super) paths: Option<Vec<String>>,
}

/// They are held until they come back because the text of a message is not kept
/// while it is held.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    state: Mutex<Sentences>,
}

#[derive(Debug, Default)]
struct Sentences {
    sentences: HashMap<Arc<str>, Sentence>,
    order: VecDeque<Arc<str>>,
}

impl DeadLetters {
    /// `path` is the one that was refused, if it stood alone.
    pub(super) fn add(&self, id: &Arc<str>, error: &EdgeError, path: Option<&String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Sentences { sentences, order } = &mut *state;
        let sentence = sentences.entry(Arc::clone(id)).or_insert_with(|| {
            order.push_back(Arc::clone(id));
            Sentence {
                code: error.name(),
                reason: error.to_string(),
                paths: Some(Vec::new()),
            }
        });
        match (&mut sentence.paths, path) {
            (Some(paths), Some(path)) => paths.push(path.clone()),
            (paths, _) => *paths = None,
        }
        if state.order.len() > CONDEMNED_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.sentences.remove(&oldest);
        }
    }

    /// Why the message is one of them, if it is. It is none any more then.
    pub(super) fn take(&self, id: &Arc<str>) -> Option<Sentence> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sentence = state.sentences.remove(id)?;
        state.order.retain(|other| other != id);
        Some(sentence)
    }
}
