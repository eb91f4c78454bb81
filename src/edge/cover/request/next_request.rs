//! One request to the edge, and what it stands for.

use std::sync::Arc;

use crate::edge::InvalidationBatch;
use crate::edge::cover::caller_reference::caller_reference;
use crate::model::edge_item::EVERYTHING;
use crate::model::{CommitTime, Sent};

/// One request and the messages with paths in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRequest {
    pub invalidation: InvalidationBatch,
    /// The ids of the messages, sorted.
    pub messages: Vec<Arc<str>>,
    /// When the oldest change in it was committed, as far as its messages say.
    pub committed_at: Option<CommitTime>,
    pub(super) horizon: Option<Sent>,
    pub(super) parts: Vec<RequestPath>,
    /// Number of times the request was renamed.
    pub(super) salt: u32,
}

/// A path of a request, and the gathered paths that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestPath {
    pub(super) path: String,
    /// Those paths, each with the messages that hold it.
    pub(super) of: Vec<(String, Vec<usize>)>,
}

impl NextRequest {
    /// The newest message that had been made before the request is, as far as it says:
    /// it covers all of the same sender up to there.
    pub fn horizon(&self) -> Option<Sent> {
        self.horizon
    }

    /// Lets it reach so far back. The name says so: an edge that has made a request of this
    /// name already made it when no later message was known.
    pub fn reach(&mut self, horizon: Option<Sent>) {
        self.horizon = horizon;
        let InvalidationBatch { scope, paths, .. } = &self.invalidation;
        let paths = paths.iter().map(String::as_str);
        let name = caller_reference(scope, horizon, paths, &self.messages, self.salt);
        self.invalidation.caller_reference = name;
    }

    /// The path that a refusal of this request is about: its only one, as it was
    /// gathered. A wildcard that stands for other paths says nothing about them.
    pub fn alone(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [RequestPath { path, of }] => match of.as_slice() {
                [(gathered, _)] if gathered == path => Some(path),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it invalidates everything.
    pub fn is_of_everything(&self) -> bool {
        self.parts.iter().any(|part| part.path == EVERYTHING)
    }

    /// Number of gathered paths that go under a wildcard that is none of them.
    pub fn coalesced(&self) -> usize {
        self.parts
            .iter()
            .filter(|part| part.of.iter().all(|(path, _)| *path != part.path))
            .map(|part| part.of.len())
            .sum()
    }
}
