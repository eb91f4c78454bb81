//! Which of its deletions a batch is at.

/// Which deletion of a batch it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The only one.
    Once,
    /// One more follows when it is due.
    First,
    /// The second.
    Again,
}
