//! The first and the second deletion of a batch.

/// One of the deletions of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The only deletion.
    Once,
    /// The first deletion; a second one follows when it is due.
    First,
    /// The second deletion.
    Again,
}
