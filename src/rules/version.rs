//! Compares a row's version before and after a change.

use std::sync::Arc;

use super::render::{RenderBuffers, differs};
use crate::model::invalidation::{Action, Plan};
use crate::model::{RowChange, Value};

/// The way that an update moved the version column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionStep {
    /// Forward, as it should; or there is no version to compare.
    On,
    /// Not at all: readers of the current version would keep the old row.
    Stayed,
    /// Back, to a name that may hold an entry of long ago.
    Back,
}

/// Compares the version before and after, and reports one that did not move
/// forward.
pub(super) fn step<P: Plan>(
    slot: Option<usize>,
    rule: &Arc<str>,
    change: &RowChange<'_>,
    scratch: &mut RenderBuffers,
    plan: &mut P,
) -> VersionStep {
    let (Some(slot), Some(before), Some(after)) = (slot, change.before, change.after) else {
        return VersionStep::On;
    };
    let (Some(before), Some(after)) = (before.get(slot), after.get(slot)) else {
        return VersionStep::On;
    };
    if !differs(Some(before), Some(after)) {
        scratch.value.clear();
        before.write_text(&mut scratch.value);
        let version = &scratch.value;
        plan.act(rule, Action::MissedBump { version });
        return VersionStep::Stayed;
    }
    if !is_below(after, before) {
        return VersionStep::On;
    }
    let RenderBuffers { value, other, .. } = scratch;
    value.clear();
    other.clear();
    before.write_text(value);
    after.write_text(other);
    let (before, after) = (value.as_slice(), other.as_slice());
    plan.act(rule, Action::BackwardVersion { before, after });
    VersionStep::Back
}

/// Whether `value` is known to be below `other`. Numbers and points in time have
/// an order, texts that serve as versions have none.
fn is_below(value: &Value<'_>, other: &Value<'_>) -> bool {
    if let (Some(value), Some(other)) = (integer(value), integer(other)) {
        return value < other;
    }
    match (value, other) {
        (Value::DateTime(value), Value::DateTime(other)) => value < other,
        (Value::Date(value), Value::Date(other)) => value < other,
        _ => false,
    }
}

fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::UInt(number) => Some(i128::from(*number)),
        _ => None,
    }
}
