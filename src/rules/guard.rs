//! Guards: watermarks in Redis below which no reader may store a row.
//!
//! A reader that fetched a row, was held up and stores it after the deletion
//! would leave the old row in the cache. With a guard readers store through a
//! script that refuses every version below the watermark, however late they
//! are. Settling only bounds how late they may be.

use std::sync::Arc;
use std::time::Duration;

use super::bind::{BindError, BoundTemplate, Slots};
use super::render::{Lookup, RenderBuffers, Rendered, Side, find, push_bytes, render};
use super::template::{Template, TemplatePart};
use crate::model::invalidation::{Action, Plan, Widening};
use crate::model::{GuardPattern, Op, RowChange, Shape, Value};

/// A rule's guard as configured.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The guard's key. It names the row, so that it contains neither `before.`
    /// nor `after.`, nor the version.
    pub key: Template,
    /// Time that a guard is kept after it was raised.
    pub ttl: Duration,
}

impl Guard {
    /// Checks the guard's columns, and adds them.
    pub(super) fn check(
        &self,
        version: Option<usize>,
        slots: &mut Slots<'_>,
        rule: &str,
    ) -> Result<(), BindError> {
        slots.add_template(&self.key, &format!("rule \"{rule}\": guard"))?;
        let column = version.and_then(|index| slots.schema().columns.get(index));
        match column {
            Some(column) if column.shape != Shape::Integer => Err(BindError {
                line: self.key.line,
                message: format!(
                    "rule \"{rule}\": guard: the version column `{}` of table {} is not an integer, and a watermark compares numbers; name an integer column, or remove the guard",
                    column.name,
                    slots.schema().name
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The names that its keys can have, `prefix` included.
    pub(super) fn pattern(&self, prefix: &[u8]) -> GuardPattern {
        let mut texts = vec![prefix.to_vec()];
        for part in &self.key.parts {
            match (part, texts.last_mut()) {
                (TemplatePart::Literal(bytes), Some(text)) => text.extend_from_slice(bytes),
                _ => texts.push(Vec::new()),
            }
        }
        GuardPattern::new(texts)
    }
}

/// A guard whose columns are slots of a row image.
#[derive(Debug)]
pub(super) struct BoundGuard {
    pub(super) key: BoundTemplate,
    /// The version column.
    pub(super) version: usize,
    pub(super) ttl: Duration,
}

/// A row's version, as a guard can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    At(u128),
    /// NULL or negative.
    Unguarded,
    Unknown(Widening),
}

/// The error that a value that the guard needs cannot be known, for this reason.
pub(super) struct NotKnown(pub(super) Widening);

impl BoundGuard {
    /// Raises the guard of every row that the change touched to the row's
    /// version; or past it where the row is gone, so that nothing of it is
    /// stored any more.
    pub(super) fn plan<P: Plan>(
        &self,
        rule: &Arc<str>,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
    ) -> Result<(), NotKnown> {
        match change.op {
            Op::Insert => self.plan_side(Side::After, rule, change, scratch, plan),
            Op::Delete => self.plan_side(Side::Before, rule, change, scratch, plan),
            Op::Update if self.same_key(change, scratch)? => {
                let before = self.version(change, Side::Before);
                let after = self.version(change, Side::After);
                let version = match (before, after) {
                    (_, Version::Unknown(reason)) => return Err(NotKnown(reason)),
                    // The version went back: the old row must not be stored any more.
                    (Version::At(before), Version::At(after)) if after < before => before + 1,
                    (_, Version::At(after)) => after,
                    (before, Version::Unguarded) => {
                        self.skip(Side::After, rule, change, scratch, plan);
                        match before {
                            Version::At(before) => before + 1,
                            Version::Unguarded | Version::Unknown(_) => return Ok(()),
                        }
                    }
                };
                self.raise(version, rule, scratch, plan);
                Ok(())
            }
            Op::Update => {
                let before = self.plan_side(Side::Before, rule, change, scratch, plan);
                let after = self.plan_side(Side::After, rule, change, scratch, plan);
                before.and(after)
            }
        }
    }

    /// Whether both images have the same guard, which then is `scratch.key`.
    fn same_key(
        &self,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
    ) -> Result<bool, NotKnown> {
        let before = self.render(change, Side::Before, scratch)?;
        std::mem::swap(&mut scratch.key, &mut scratch.other);
        let after = self.render(change, Side::After, scratch)?;
        Ok(before && after && scratch.key == scratch.other)
    }

    /// Renders the key; `false` if a NULL is in it.
    fn render(
        &self,
        change: &RowChange<'_>,
        side: Side,
        scratch: &mut RenderBuffers,
    ) -> Result<bool, NotKnown> {
        scratch.key.clear();
        match render(&self.key, change, side, scratch, push_bytes) {
            Rendered::Done => Ok(true),
            Rendered::Nothing(_) => Ok(false),
            Rendered::Unknown(unknown) => Err(NotKnown(unknown.reason)),
        }
    }

    /// Raises the guard of one image's key, which the row came to or left.
    fn plan_side<P: Plan>(
        &self,
        side: Side,
        rule: &Arc<str>,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
    ) -> Result<(), NotKnown> {
        if !self.render(change, side, scratch)? {
            return Ok(());
        }
        match self.version(change, side) {
            Version::Unknown(reason) => return Err(NotKnown(reason)),
            Version::Unguarded => self.skip(side, rule, change, scratch, plan),
            Version::At(version) => {
                let left = u128::from(side == Side::Before);
                self.raise(version + left, rule, scratch, plan);
            }
        }
        Ok(())
    }

    fn raise<P: Plan>(
        &self,
        version: u128,
        rule: &Arc<str>,
        scratch: &RenderBuffers,
        plan: &mut P,
    ) {
        let (key, ttl) = (&scratch.key, self.ttl);
        plan.act(rule, Action::RaiseGuard { key, version, ttl });
    }

    fn skip<P: Plan>(
        &self,
        side: Side,
        rule: &Arc<str>,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
    ) {
        scratch.value.clear();
        if let Lookup::Value(value) = find(change, side, self.version) {
            value.write_text(&mut scratch.value);
        }
        let version = &scratch.value;
        plan.act(rule, Action::SkipGuard { version });
    }

    fn version(&self, change: &RowChange<'_>, side: Side) -> Version {
        let value = match find(change, side, self.version) {
            Lookup::Value(value) => value,
            Lookup::NoImage => return Version::Unknown(Widening::MissingColumn),
            Lookup::Unknown(unknown) => return Version::Unknown(unknown.reason),
        };
        let version = match value {
            Value::Int(number) => u128::try_from(*number).ok(),
            Value::UInt(number) => Some(u128::from(*number)),
            // YEAR.
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        version.map_or(Version::Unguarded, Version::At)
    }
}
