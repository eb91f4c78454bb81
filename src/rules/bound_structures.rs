//! Tag sets and fields of hashes, bound to a table's columns.

use super::bind::{BindError, BoundTemplate, Renders, Slots};
use super::render::{RenderBuffers, Rendered, push_bytes, render, sides, together};
use super::rule::Rule;
use super::structures::{HashField, TagSet};
use super::version::VersionStep;
use super::wide::{widen_tag_set, widen_template};
use crate::model::RowChange;
use crate::model::invalidation::{Action, Plan};

/// A rule's tag sets and hash fields, bound to a table's columns.
#[derive(Debug, Default)]
pub(super) struct BoundStructures {
    /// Their keys.
    tag_sets: Vec<BoundTemplate>,
    hash_fields: Vec<BoundField>,
}

#[derive(Debug)]
struct BoundField {
    key: BoundTemplate,
    field: BoundTemplate,
    /// The images that both are rendered from, one image at a time.
    renders: Renders,
}

/// Checks the columns of tag sets and hash fields, and adds them.
pub(super) fn check(
    tag_sets: &[TagSet],
    hash_fields: &[HashField],
    slots: &mut Slots<'_>,
    rule: &str,
) -> Result<(), BindError> {
    for set in tag_sets {
        slots.add_template(&set.key, &format!("rule \"{rule}\": tag set"))?;
    }
    for hash in hash_fields {
        slots.add_template(&hash.key, &format!("rule \"{rule}\": hash"))?;
        slots.add_template(&hash.field, &format!("rule \"{rule}\": hash field"))?;
    }
    Ok(())
}

impl BoundStructures {
    pub(super) fn new(
        rule: &Rule,
        slots: &Slots<'_>,
        version: Option<usize>,
        prefix: &[u8],
    ) -> Self {
        let sets = rule.tag_sets.iter();
        let fields = rule.hash_fields.iter().map(|hash| {
            let key = slots.bind(&hash.key, version, prefix);
            let field = slots.bind(&hash.field, version, b"");
            BoundField {
                renders: together(&key, &field),
                key,
                field,
            }
        });
        Self {
            tag_sets: sets
                .map(|set| slots.bind(&set.key, version, prefix))
                .collect(),
            hash_fields: fields.collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tag_sets.is_empty() && self.hash_fields.is_empty()
    }

    /// Plans their deletion, rendered from the images that the templates ask for.
    /// One whose text cannot be known widens.
    pub(super) fn plan<P: Plan>(
        &self,
        step: VersionStep,
        rule: &Rule,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
    ) {
        for (key, set) in self.tag_sets.iter().zip(&rule.tag_sets) {
            let reused = || step.reuses([key].into_iter(), change);
            for side in sides(key.renders, change.op, reused) {
                scratch.key.clear();
                match render(key, change, *side, scratch, push_bytes) {
                    Rendered::Done => {
                        let action = Action::DeleteTagSet {
                            key: &scratch.key,
                            member_prefix: &set.member_prefix,
                        };
                        plan.act(&rule.name, action);
                    }
                    Rendered::Nothing(_) => {}
                    Rendered::Unknown(unknown) => {
                        widen_tag_set(rule, set, unknown.reason, plan);
                    }
                }
            }
        }
        for (hash, source) in self.hash_fields.iter().zip(&rule.hash_fields) {
            let reused = || step.reuses([&hash.key, &hash.field].into_iter(), change);
            for side in sides(hash.renders, change.op, reused) {
                scratch.key.clear();
                let field = render(&hash.field, change, *side, scratch, push_bytes);
                std::mem::swap(&mut scratch.key, &mut scratch.other);
                scratch.key.clear();
                let key = render(&hash.key, change, *side, scratch, push_bytes);
                match (key, field) {
                    (Rendered::Done, Rendered::Done) => {
                        let action = Action::DeleteField {
                            key: &scratch.key,
                            field: &scratch.other,
                        };
                        plan.act(&rule.name, action);
                    }
                    (Rendered::Unknown(unknown), _) | (_, Rendered::Unknown(unknown)) => {
                        widen_template(rule, &source.key, unknown.reason, plan);
                    }
                    (Rendered::Nothing(_), _) | (_, Rendered::Nothing(_)) => {}
                }
            }
        }
    }
}
