//! The paths that a path that is sent stands for.

use std::ops::Range;

/// A path to send, and which of the set it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// The path, perhaps with a `*` at its end.
    pub path: String,
    /// Indices into the set, ascending and disjoint.
    pub of: Vec<Range<usize>>,
}
