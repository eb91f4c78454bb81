//! What a change asks of the caches.

use std::fmt;
use std::sync::Arc;

/// What the edge does with a path (DESIGN: the consistency model).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathClass {
    /// Never cached, so never invalidated.
    Strong,
    /// Immutable file names under a long TTL, so never invalidated.
    Immutable,
    /// Expires within seconds, sooner than an invalidation would take.
    ShortTtl,
    /// Cached until invalidated.
    Cached,
}

impl PathClass {
    /// The class's name in configuration, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            PathClass::Strong => "strong",
            PathClass::Immutable => "immutable",
            PathClass::ShortTtl => "short-ttl",
            PathClass::Cached => "cached",
        }
    }
}

impl fmt::Display for PathClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Delete this Redis key.
    Delete {
        /// The key, prefix included.
        key: &'a [u8],
        /// Whether a reader could fill it again from the row before: a key
        /// that contains the new version of the row is never written from it.
        settles: bool,
    },
    /// Delete every Redis key that matches this glob
    /// (Redis manual, `KEYS`: `*`, `?`, `[…]`, `\`).
    DeleteMatching {
        /// The glob, prefix included.
        glob: &'a [u8],
    },
    /// Add one to this Redis counter: applications that put it into their keys
    /// find none of the old entries any more.
    Increment {
        /// The counter's key, prefix included.
        key: &'a [u8],
    },
    /// Invalidate this path on the edge; a trailing `*` is a wildcard.
    Invalidate {
        /// The path as CloudFront wants it: percent-encoded, with its leading `/`.
        path: &'a str,
    },
    /// The path's class says that nothing is to be sent.
    Skip {
        /// The path.
        path: &'a str,
        /// Its class.
        class: PathClass,
    },
    /// A mapped column changed and the version did not: readers of the current
    /// version would keep the old row. The key is deleted like any other.
    MissedBump {
        /// The version that should have changed, as text.
        version: &'a [u8],
    },
}

/// Receives what a plan consists of.
pub trait Plan {
    /// Takes one action of the rule called `rule`.
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>);

    /// Takes the reason why an action covers more than the change
    /// (Over, never under).
    fn widen(&mut self, rule: &Arc<str>, reason: Widening);
}

/// Both take everything.
impl<A: Plan, B: Plan> Plan for (A, B) {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        self.0.act(rule, action);
        self.1.act(rule, action);
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        self.0.widen(rule, reason);
        self.1.widen(rule, reason);
    }
}

/// Why an invalidation covers more than one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Widening {
    /// A statement changed rows without row events.
    Statement,
    /// A row, or a whole event, could not be decoded.
    Undecodable,
    /// A foreign key changed rows that are in no event.
    Cascade,
    /// Neither row image carries a column that a template needs.
    MissingColumn,
    /// A rendered path is longer than the edge accepts.
    PathTooLong,
    /// The server logged that changes are missing (INCIDENT event).
    Incident,
    /// Changes between two positions cannot be read any more.
    Gap,
}

impl Widening {
    /// The reason's name in logs, plans and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Widening::Statement => "statement",
            Widening::Undecodable => "undecodable",
            Widening::Cascade => "cascade",
            Widening::MissingColumn => "missing-column",
            Widening::PathTooLong => "path-too-long",
            Widening::Incident => "incident",
            Widening::Gap => "gap",
        }
    }
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
