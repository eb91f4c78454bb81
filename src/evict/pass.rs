//! Which of its deletions a batch is at.

/// Which deletion of a batch it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The only deletion.
    Once,
    /// The first deletion; a second one follows when it is due.
    First,
    /// The second deletion.
    Again,
}
