//! The verdict on a failed call to the edge: every error maps to one action.

use crate::edge::{EdgeError, EdgeErrorKind};

/// The way to go on after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Whether it was accepted is not known: the same batch, until it is.
    Repeat,
    /// It was not looked at: the same batch, later.
    Slower,
    /// There is no room for it: what fits, when something has completed.
    Room,
    /// The batch is too large: its halves, at once.
    Halve,
    /// One of its paths is bad: halves, until it stands alone.
    Isolate,
    /// Its name is taken: the next name, later.
    Rename,
    /// It does not pass: the messages go back to the buffer, and become dead
    /// letters in the end.
    GiveUp,
}

pub(super) fn verdict(error: &EdgeError) -> Verdict {
    match error.kind {
        EdgeErrorKind::Unavailable => Verdict::Repeat,
        EdgeErrorKind::Throttled | EdgeErrorKind::ClockOff { .. } => Verdict::Slower,
        EdgeErrorKind::TooManyInProgress => Verdict::Room,
        EdgeErrorKind::TooLarge { .. } => Verdict::Halve,
        EdgeErrorKind::InvalidPath { .. } => Verdict::Isolate,
        EdgeErrorKind::ReferenceTaken { .. } => Verdict::Rename,
        EdgeErrorKind::Denied { .. }
        | EdgeErrorKind::NoSuchDistribution
        | EdgeErrorKind::NoSuchTenant { .. }
        | EdgeErrorKind::Refused => Verdict::GiveUp,
    }
}

/// Whether the messages are at fault. Permissions and ids are for somebody to
/// correct, and would take every message with them.
pub(super) fn is_the_messages(error: &EdgeError) -> bool {
    match error.kind {
        EdgeErrorKind::InvalidPath { .. }
        | EdgeErrorKind::TooLarge { .. }
        | EdgeErrorKind::NoSuchTenant { .. }
        | EdgeErrorKind::Refused => true,
        EdgeErrorKind::TooManyInProgress
        | EdgeErrorKind::Throttled
        | EdgeErrorKind::Unavailable
        | EdgeErrorKind::ReferenceTaken { .. }
        | EdgeErrorKind::Denied { .. }
        | EdgeErrorKind::ClockOff { .. }
        | EdgeErrorKind::NoSuchDistribution => false,
    }
}
