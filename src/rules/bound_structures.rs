//! Tag sets and fields of hashes, bound to a table's columns.

use super::bind::{BindError, BoundTemplate, Renders, Slots};
use super::render::{RenderBuffers, Rendered, push_bytes, render, sides, together};
use super::rule::Rule;
use super::structures::{HashField, TagSet, TagSetGlob};
use super::version::VersionStep;
use super::wide::{widen_tag_set, widen_template};
use crate::model::RowChange;
use crate::model::invalidation::{Action, Plan};

/// A rule's tag sets and hash fields, bound to a table's columns.
#[derive(Debug, Default)]
pub(super) struct BoundStructures {
    tag_sets: Vec<BoundTagSet>,
    hash_fields: Vec<BoundField>,
}

#[derive(Debug)]
struct BoundTagSet {
    key: BoundTemplate,
    member_prefix: Vec<u8>,
    /// What stands for all that it can render.
    wide: Option<TagSetGlob>,
}

#[derive(Debug)]
struct BoundField {
    key: BoundTemplate,
    field: BoundTemplate,
    /// The images that both are rendered from, one image at a time.
    renders: Renders,
    /// What stands for all hashes of this key.
    wide: Option<Vec<u8>>,
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
        let table_wide = &rule.table_wide;
        let sets = rule.tag_sets.iter().map(|set| BoundTagSet {
            key: slots.bind(&set.key, version, prefix),
            member_prefix: set.member_prefix.clone(),
            wide: table_wide.glob_of_tag_set(prefix, set).cloned(),
        });
        let fields = rule.hash_fields.iter().map(|hash| {
            let key = slots.bind(&hash.key, version, prefix);
            let field = slots.bind(&hash.field, version, b"");
            BoundField {
                renders: together(&key, &field),
                key,
                field,
                wide: table_wide.glob_of_key(prefix, &hash.key).cloned(),
            }
        });
        Self {
            tag_sets: sets.collect(),
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
        for set in &self.tag_sets {
            let reused = || step.reuses([&set.key].into_iter(), change);
            for side in sides(set.key.renders, change.op, reused) {
                scratch.key.clear();
                match render(&set.key, change, *side, scratch, push_bytes) {
                    Rendered::Done => {
                        let action = Action::DeleteTagSet {
                            key: &scratch.key,
                            member_prefix: &set.member_prefix,
                        };
                        plan.act(&rule.name, action);
                    }
                    Rendered::Nothing(_) => {}
                    Rendered::Unknown(unknown) => {
                        widen_tag_set(rule, set.wide.as_ref(), unknown.reason, plan);
                    }
                }
            }
        }
        for hash in &self.hash_fields {
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
                        widen_template(rule, hash.wide.as_ref(), unknown.reason, plan);
                    }
                    (Rendered::Nothing(_), _) | (_, Rendered::Nothing(_)) => {}
                }
            }
        }
    }
}
