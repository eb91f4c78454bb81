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
    /// Its tenant does not exist: its messages are set apart until that is certain.
    NoTenant,
    /// Somebody has to mend something that is not about a path: its messages are
    /// held, and others of the distribution go on.
    Outage,
    /// Nobody knows what it is about: as if one of its paths were bad, but none is given
    /// up for it.
    Unclear,
}

pub(super) fn verdict(error: &EdgeError) -> Verdict {
    match error.kind {
        EdgeErrorKind::Unavailable
        | EdgeErrorKind::Incomplete
        | EdgeErrorKind::Failing { .. }
        | EdgeErrorKind::NoSuchInvalidation => Verdict::Repeat,
        EdgeErrorKind::Credentials(fault) if fault.is_transient() => Verdict::Repeat,
        EdgeErrorKind::Throttled | EdgeErrorKind::ClockOff { .. } => Verdict::Slower,
        EdgeErrorKind::TooManyInProgress => Verdict::Room,
        // One path is not too much: it is about the edge, then.
        EdgeErrorKind::TooLarge { paths: 0..=1 } => Verdict::Slower,
        EdgeErrorKind::TooLarge { .. } => Verdict::Halve,
        EdgeErrorKind::InvalidPath { .. } => Verdict::Isolate,
        EdgeErrorKind::ReferenceTaken { .. } => Verdict::Rename,
        EdgeErrorKind::NoSuchTenant { .. } => Verdict::NoTenant,
        EdgeErrorKind::Credentials(_)
        | EdgeErrorKind::Denied { .. }
        | EdgeErrorKind::NoSuchDistribution => Verdict::Outage,
        EdgeErrorKind::Unknown { .. } | EdgeErrorKind::Refused => Verdict::Unclear,
    }
}
