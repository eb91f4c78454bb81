//! Renders a row's values into the text of a key or a path.

use super::bind::{BoundPart, BoundTemplate, Renders};
use super::template::RowImage;
use crate::model::invalidation::Widening;
use crate::model::path;
use crate::model::{Op, RowChange, Value};

/// Buffers that are reused from change to change.
#[derive(Debug, Default)]
pub struct RenderBuffers {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// A second text, where two are needed at once.
    pub(super) other: Vec<u8>,
    pub(super) path: String,
    pub(super) tenant: String,
}

impl RenderBuffers {
    /// The text that was rendered last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }
}

/// The outcome of rendering a template.
pub(super) enum Rendered {
    /// The buffer holds the text.
    Done,
    /// There is no text: a value is NULL, or the operation has no such image.
    Nothing(Lacks),
    /// The text cannot be known.
    Unknown(Unknown),
}

/// A value that cannot be known: its column is missing from both images, or it
/// cannot be decoded or pass a filter.
#[derive(Clone, Copy)]
pub(super) struct Unknown {
    /// The column's slot.
    pub(super) slot: usize,
    /// Why what is made of it widens.
    pub(super) reason: Widening,
}

/// Why a template renders nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// The value in this slot is NULL.
    Value(usize),
    /// The operation has no such image.
    Image,
}

/// An image that a template is rendered from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// The images a template is rendered from. `reused` says whether the name that
/// an update gives the row may have been in use before.
pub(super) fn sides(renders: Renders, op: Op, reused: impl FnOnce() -> bool) -> &'static [Side] {
    match (op, renders) {
        (Op::Insert, _) => &[Side::After],
        (Op::Delete, _) => &[Side::Before],
        (Op::Update, Renders::Once) => &[Side::After],
        (Op::Update, Renders::Before) if !reused() => &[Side::Before],
        (Op::Update, Renders::Before | Renders::Both) => &[Side::Before, Side::After],
    }
}

/// The images that two templates are rendered from if they belong together.
pub(super) fn together(first: &BoundTemplate, second: &BoundTemplate) -> Renders {
    match (first.renders, second.renders) {
        (Renders::Once, Renders::Once) => Renders::Once,
        (Renders::Before, _) | (_, Renders::Before) => Renders::Before,
        (Renders::Both, _) | (_, Renders::Both) => Renders::Both,
    }
}

/// Whether an update changed a column. With `binlog_row_image` MINIMAL or
/// NOBLOB the after image carries just the columns that were set, so that a
/// column missing there did not change (MySQL manual, `binlog_row_image`).
pub(super) fn differs(before: Option<&Value<'_>>, after: Option<&Value<'_>>) -> bool {
    match (before, after) {
        (_, None | Some(Value::Absent)) => false,
        (before, after) => before != after,
    }
}

pub(super) fn push_bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(value);
}

pub(super) fn push_encoded(value: &[u8], out: &mut Vec<u8>) {
    let mut encoded = String::with_capacity(value.len());
    path::encode_value(value, out.contains(&b'?'), &mut encoded);
    out.extend_from_slice(encoded.as_bytes());
}

/// Renders `template` from the row before `change`.
pub(super) fn render_from(
    template: &BoundTemplate,
    change: &RowChange<'_>,
    scratch: &mut RenderBuffers,
    push: fn(&[u8], &mut Vec<u8>),
) -> Rendered {
    scratch.key.clear();
    render(template, change, Side::Before, scratch, push)
}

/// Renders `template` from one side of `change` into `scratch.key`.
pub(super) fn render(
    template: &BoundTemplate,
    change: &RowChange<'_>,
    side: Side,
    scratch: &mut RenderBuffers,
    push: fn(&[u8], &mut Vec<u8>),
) -> Rendered {
    for part in &template.parts {
        let (image, slot, filters, default) = match part {
            BoundPart::Literal(bytes) => {
                scratch.key.extend_from_slice(bytes);
                continue;
            }
            BoundPart::Value {
                image,
                slot,
                filters,
                default,
            } => (image, slot, filters, default),
        };
        let wanted = match image {
            RowImage::Either => side,
            RowImage::Before => Side::Before,
            RowImage::After => Side::After,
        };
        let value = match find(change, wanted, *slot) {
            Lookup::Value(value) => value,
            Lookup::NoImage => return Rendered::Nothing(Lacks::Image),
            Lookup::Unknown(unknown) => return Rendered::Unknown(unknown),
        };
        scratch.value.clear();
        if !value.write_text(&mut scratch.value) {
            let Some(default) = default else {
                return Rendered::Nothing(Lacks::Value(*slot));
            };
            push(default.as_bytes(), &mut scratch.key);
            continue;
        }
        for filter in filters {
            if filter.apply(value, &mut scratch.value).is_err() {
                return Rendered::Unknown(Unknown {
                    slot: *slot,
                    reason: Widening::MissingColumn,
                });
            }
        }
        push(&scratch.value, &mut scratch.key);
    }
    Rendered::Done
}

pub(super) enum Lookup<'v> {
    Value(&'v Value<'v>),
    NoImage,
    Unknown(Unknown),
}

/// The value in the wanted image. A column that the after image lacks did not
/// change, so the before image has its value; the other way round the old
/// value is lost (Over, never under).
pub(super) fn find<'v>(change: &RowChange<'v>, side: Side, slot: usize) -> Lookup<'v> {
    let get = |image: &'v [Value<'v>]| image.get(slot).filter(|value| **value != Value::Absent);
    let found = match (side, change.before, change.after) {
        (Side::Before, None, _) | (Side::After, _, None) => return Lookup::NoImage,
        (Side::Before, Some(before), _) => get(before),
        (Side::After, before, Some(after)) => get(after).or_else(|| before.and_then(get)),
    };
    let reason = match found {
        Some(Value::Undecodable(_)) => Widening::Undecodable,
        None | Some(Value::Partial) => Widening::MissingColumn,
        Some(value) => return Lookup::Value(value),
    };
    Lookup::Unknown(Unknown { slot, reason })
}
