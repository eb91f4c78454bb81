//! Entries that are not plain keys: tag sets and fields of hashes.

use std::sync::Arc;

use super::bind::{BindError, BoundTemplate, Renders, Slots};
use super::render::{RenderBuffers, Rendered, push_bytes, render, sides, together};
use super::template::Template;
use crate::model::RowChange;
use crate::model::invalidation::{Action, Plan};

/// A set of keys, which frameworks keep for each tag.
#[derive(Clone, Debug)]
pub struct TagSet {
    pub key: Template,
    /// Put before a member that does not begin with it.
    pub member_prefix: Vec<u8>,
}

/// Many tag sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagSetGlob {
    /// The glob over their keys, prefix included.
    pub glob: Vec<u8>,
    /// Put before a member that does not begin with it.
    pub member_prefix: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct HashField {
    pub key: Template,
    pub field: Template,
}

/// A rule's tag sets and hash fields, bound to a table's columns.
#[derive(Debug, Default)]
pub(super) struct BoundStructures {
    tag_sets: Vec<(BoundTemplate, Vec<u8>)>,
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
        tag_sets: &[TagSet],
        hash_fields: &[HashField],
        slots: &Slots<'_>,
        version: Option<usize>,
        prefix: &[u8],
    ) -> Self {
        let sets = tag_sets.iter().map(|set| {
            let key = slots.bind(&set.key, version, prefix);
            (key, set.member_prefix.clone())
        });
        let fields = hash_fields.iter().map(|hash| {
            let key = slots.bind(&hash.key, version, prefix);
            let field = slots.bind(&hash.field, version, b"");
            BoundField {
                renders: together(&key, &field),
                key,
                field,
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

    /// Plans their deletion, rendered from the images that the templates ask for,
    /// or from both images where `both` is set. Returns whether everything is
    /// known: `false` if a column that one of them needs is in neither image.
    pub(super) fn plan<P: Plan>(
        &self,
        both: bool,
        rule: &Arc<str>,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
    ) -> bool {
        let mut known = true;
        let images = |renders| match renders {
            Renders::Before if both => sides(Renders::Both, change.op),
            renders => sides(renders, change.op),
        };
        for (template, member_prefix) in &self.tag_sets {
            for side in images(template.renders) {
                scratch.key.clear();
                match render(template, change, *side, scratch, push_bytes) {
                    Rendered::Done => {
                        let action = Action::DeleteTagSet {
                            key: &scratch.key,
                            member_prefix,
                        };
                        plan.act(rule, action);
                    }
                    Rendered::Nothing(_) => {}
                    Rendered::Unknown(_) => known = false,
                }
            }
        }
        for hash in &self.hash_fields {
            for side in images(hash.renders) {
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
                        plan.act(rule, action);
                    }
                    (Rendered::Unknown(_), _) | (_, Rendered::Unknown(_)) => known = false,
                    (Rendered::Nothing(_), _) | (_, Rendered::Nothing(_)) => {}
                }
            }
        }
        known
    }
}
