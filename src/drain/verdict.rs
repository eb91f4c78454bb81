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
    /// One of its paths is bad: its messages are set apart until that one stands
    /// alone.
    Isolate,
    /// Its name is taken: the next name, later.
    Rename,
    /// Somebody has to mend something: the messages go back to the buffer.
    GiveUp,
}

pub(super) fn verdict(error: &EdgeError) -> Verdict {
    match error.kind {
        EdgeErrorKind::Unavailable | EdgeErrorKind::Unknown | EdgeErrorKind::NoSuchInvalidation => {
            Verdict::Repeat
        }
        EdgeErrorKind::Throttled | EdgeErrorKind::ClockOff { .. } => Verdict::Slower,
        EdgeErrorKind::TooManyInProgress => Verdict::Room,
        // One path is not too much: it is about the edge, then.
        EdgeErrorKind::TooLarge { paths: 0..=1 } => Verdict::Slower,
        EdgeErrorKind::TooLarge { .. } => Verdict::Halve,
        EdgeErrorKind::InvalidPath { .. } => Verdict::Isolate,
        EdgeErrorKind::ReferenceTaken { .. } => Verdict::Rename,
        EdgeErrorKind::Denied { .. }
        | EdgeErrorKind::NoSuchDistribution
        | EdgeErrorKind::NoSuchTenant { .. }
        | EdgeErrorKind::Refused => Verdict::GiveUp,
    }
}

/// Whether each message of a refused request is at fault, for what all of them have
/// in common: their tenant. A path is at fault only once it was refused alone, and
/// nobody's message is for an account, a signature, an id, or what nobody knows.
pub(super) fn is_about_every_message(error: &EdgeError) -> bool {
    match error.kind {
        EdgeErrorKind::NoSuchTenant { .. } => true,
        EdgeErrorKind::InvalidPath { .. }
        | EdgeErrorKind::TooLarge { .. }
        | EdgeErrorKind::Refused
        | EdgeErrorKind::TooManyInProgress
        | EdgeErrorKind::Throttled
        | EdgeErrorKind::Unavailable
        | EdgeErrorKind::Unknown
        | EdgeErrorKind::NoSuchInvalidation
        | EdgeErrorKind::ReferenceTaken { .. }
        | EdgeErrorKind::Denied { .. }
        | EdgeErrorKind::ClockOff { .. }
        | EdgeErrorKind::NoSuchDistribution => false,
    }
}
