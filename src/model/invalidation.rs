//! The actions that a change asks for, in Redis and at the edge.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The way that the edge caches a path.
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

/// One action that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Delete this Redis key.
    Delete {
        /// The key, prefix included.
        key: &'a [u8],
        /// Whether a reader that has read the old row could fill it again, so
        /// that it is deleted a second time. A key that contains the version
        /// needs none: the one of the old version is not read any more, and the
        /// one of the new version is not filled from the old row.
        settles: bool,
    },
    /// Delete every Redis key that matches this glob
    /// (Redis manual, `KEYS`: `*`, `?`, `[…]`, `\`).
    DeleteMatching {
        /// The glob, prefix included.
        glob: &'a [u8],
    },
    /// Add one to this Redis counter. Applications that put it into their keys
    /// find none of the old entries any more.
    Increment {
        /// The counter's key, prefix included.
        key: &'a [u8],
    },
    /// Raise the watermark under this key, so that fills of older rows are
    /// refused. A watermark never falls, and is raised before keys are deleted.
    RaiseGuard {
        /// The guard's key, prefix included.
        key: &'a [u8],
        /// The lowest version that may still be stored.
        version: u128,
        /// Time that the guard is kept.
        ttl: Duration,
    },
    /// The row's version is NULL or negative, so that its guard is not raised.
    /// Its keys are deleted like any others.
    SkipGuard {
        /// The version as text; empty for NULL.
        version: &'a [u8],
    },
    /// Delete the keys that the members of this set name, and take the members
    /// out: a Redis SET or ZSET.
    DeleteTagSet {
        /// The set's key, prefix included.
        key: &'a [u8],
        /// Put before a member that does not begin with it.
        member_prefix: &'a [u8],
    },
    /// Delete the keys that the members of every set name whose key matches this
    /// glob.
    DeleteTagSetsMatching {
        /// The glob, prefix included.
        glob: &'a [u8],
        /// Put before a member that does not begin with it.
        member_prefix: &'a [u8],
    },
    /// Delete this field of a Redis hash.
    DeleteField {
        /// The hash's key, prefix included.
        key: &'a [u8],
        field: &'a [u8],
    },
    /// Publish a deletion to this channel, once it is done.
    Publish {
        channel: &'a Arc<str>,
        what: Published<'a>,
    },
    /// Invalidate this path or cache tag on the edge.
    Invalidate {
        /// The path as CloudFront wants it: percent-encoded, with its leading
        /// `/`, a trailing `*` being a wildcard; or a tag after a `#`.
        path: &'a str,
        at: Target<'a>,
    },
    /// Send nothing for this path, because of its class.
    Skip { path: &'a str, class: PathClass },
    /// A mapped column changed and the version did not: readers of the current
    /// version would keep the old row. The key is deleted like any other.
    MissedBump {
        /// The version that should have changed, as text.
        version: &'a [u8],
    },
    /// The version went backwards: the key of the version that the row has now
    /// may hold an entry of long ago. The keys of both versions are deleted.
    BackwardVersion {
        /// The version that the row had, as text.
        before: &'a [u8],
        /// The lower one that it has now.
        after: &'a [u8],
    },
}

/// Names of distributions.
pub type Distributions = Arc<[Arc<str>]>;

/// The distributions and the tenant for which something is invalidated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// Names of the distributions; `None` for all.
    pub distributions: Option<&'a Distributions>,
    /// The tenant of the distribution whose copies are invalidated; `None` for
    /// all copies.
    pub tenant: Option<&'a str>,
}

/// A deletion that is published to processes that keep copies of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published<'a> {
    /// A key that was deleted, or a counter that was added to.
    Key {
        /// The key, prefix included.
        key: &'a [u8],
        /// Whether it is deleted twice, and thus published twice.
        settles: bool,
    },
    /// Every key that matches a glob was deleted.
    Glob(&'a [u8]),
    /// A field of a hash was deleted.
    Field {
        /// The hash's key, prefix included.
        key: &'a [u8],
        field: &'a [u8],
    },
    /// The keys that the members of a tag set name were deleted. Which ones is
    /// known once the set is read.
    Members,
}

/// Takes the actions of a plan.
pub trait Plan {
    /// Takes an action of the rule called `rule`.
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>);

    /// Takes the reason why an action covers more than the change
    /// (Over, never under).
    fn widen(&mut self, rule: &Arc<str>, reason: Widening);
}

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

/// The reason why an invalidation covers more than one row.
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
    /// A rendered tag is not accepted by the edge, and a tag has no wildcard.
    TagInvalid,
    /// A rendered text cannot be the name of a tenant.
    TenantInvalid,
    /// The server logged that changes are missing (INCIDENT event).
    Incident,
    /// Changes between two positions cannot be read any more.
    Gap,
    /// Another server is read, and may lack what the one before had shown.
    ServerChanged,
    /// Too much waits for rows that are not known to be visible.
    Unseen,
    /// The cache may have entries again that were deleted.
    CacheRestored,
    /// The buffer has lost paths that waited for the edge.
    BufferLost,
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
            Widening::TagInvalid => "tag-invalid",
            Widening::TenantInvalid => "tenant-invalid",
            Widening::Incident => "incident",
            Widening::Gap => "gap",
            Widening::ServerChanged => "server-changed",
            Widening::Unseen => "unseen",
            Widening::CacheRestored => "cache-restored",
            Widening::BufferLost => "buffer-lost",
        }
    }
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
