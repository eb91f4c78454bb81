//! Compares a row's version before and after a change.

use std::cmp::Ordering;
use std::sync::Arc;

use super::bind::{BoundPart, BoundTemplate};
use super::render::{RenderBuffers, differs};
use crate::model::invalidation::{Action, Plan};
use crate::model::{RowChange, Value};

/// The way that a change moved the version column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionStep {
    /// Forward, as it should: nobody reads the old version any more.
    On,
    /// Not at all: readers of the current version would keep the old row.
    Stayed,
    /// Back, or nobody can say: the row is new or gone, or its versions have no
    /// order. A name that this leads to may hold an entry of long ago, and one
    /// that it leaves may be the row's name again.
    Anywhere,
}

impl VersionStep {
    /// Whether the name that an update gives the row by `templates`, which make
    /// it together, may have been in use before.
    pub(super) fn reuses<'t>(
        self,
        mut templates: impl Iterator<Item = &'t BoundTemplate>,
        change: &RowChange<'_>,
    ) -> bool {
        self == VersionStep::Anywhere || templates.any(|template| moves(template, change))
    }

    /// Whether the name that the row had by `template` is never read again, so
    /// that what is filled there late does no harm.
    pub(super) fn ends(self, template: &BoundTemplate, change: &RowChange<'_>) -> bool {
        self == VersionStep::On && template.names_versions && !moves(template, change)
    }
}

/// Whether an update changed more of a name than its version.
fn moves(template: &BoundTemplate, change: &RowChange<'_>) -> bool {
    let (Some(before), Some(after)) = (change.before, change.after) else {
        return false;
    };
    template.parts.iter().any(|part| match part {
        BoundPart::Value { slot, .. } if Some(*slot) != template.version => {
            differs(before.get(*slot), after.get(*slot))
        }
        _ => false,
    })
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
        return VersionStep::Anywhere;
    };
    let (Some(before), Some(after)) = (before.get(slot), after.get(slot)) else {
        return VersionStep::Anywhere;
    };
    if !differs(Some(before), Some(after)) {
        scratch.value.clear();
        before.write_text(&mut scratch.value);
        let version = &scratch.value;
        plan.act(rule, Action::MissedBump { version });
        return VersionStep::Stayed;
    }
    match order(before, after) {
        Some(Ordering::Less) => VersionStep::On,
        Some(Ordering::Greater) => {
            let RenderBuffers { value, other, .. } = scratch;
            value.clear();
            other.clear();
            before.write_text(value);
            after.write_text(other);
            let (before, after) = (value.as_slice(), other.as_slice());
            plan.act(rule, Action::BackwardVersion { before, after });
            VersionStep::Anywhere
        }
        Some(Ordering::Equal) | None => VersionStep::Anywhere,
    }
}

/// How two versions compare. Numbers and points in time have an order, texts
/// that serve as versions have none.
fn order(value: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    if let (Some(value), Some(other)) = (integer(value), integer(other)) {
        return Some(value.cmp(&other));
    }
    match (value, other) {
        (Value::DateTime(value), Value::DateTime(other)) => Some(value.cmp(other)),
        (Value::Date(value), Value::Date(other)) => Some(value.cmp(other)),
        _ => None,
    }
}

fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::UInt(number) => Some(i128::from(*number)),
        _ => None,
    }
}
