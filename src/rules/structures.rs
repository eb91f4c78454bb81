//! Entries that are not plain keys: tag sets and fields of hashes.

use super::template::Template;
use crate::model::invalidation::Action;

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

impl TagSetGlob {
    /// The deletion of these sets, and of what they name.
    pub(super) fn deletion(&self) -> Action<'_> {
        Action::DeleteTagSetsMatching {
            glob: &self.glob,
            member_prefix: &self.member_prefix,
        }
    }
}

#[derive(Clone, Debug)]
pub struct HashField {
    pub key: Template,
    pub field: Template,
}
