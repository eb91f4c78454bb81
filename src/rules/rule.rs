//! A validated rule, not yet bound to a table's columns.

use std::sync::Arc;

use super::condition::{Columns, Condition};
use super::expand::Expand;
use super::glob::{TableGlob, key_matches};
use super::guard::Guard;
use super::structures::{HashField, TagSet};
use super::table_wide::TableWide;
use super::template::Template;
use crate::model::invalidation::{Distributions, Target};
use crate::model::{Op, TableName};

/// A validated rule.
#[derive(Debug)]
pub struct Rule {
    /// Unique among the rules.
    pub name: Arc<str>,
    /// The line in the configuration, for errors.
    pub line: usize,
    pub tables: Vec<TableGlob>,
    /// The operations that it applies to.
    pub on: Vec<Op>,
    /// It applies to an update only when one of these columns differs; empty for
    /// any column.
    pub changed: Vec<ColumnRef>,
    /// A further condition, and its line in the configuration.
    pub when: Option<(Condition, usize)>,
    pub version: Option<ColumnRef>,
    /// Redis keys to delete.
    pub keys: Vec<Template>,
    /// Sets whose members name keys to delete.
    pub tag_sets: Vec<TagSet>,
    /// Fields of Redis hashes to delete.
    pub hash_fields: Vec<HashField>,
    /// The watermark by which fills of older rows are refused.
    pub guard: Option<Guard>,
    /// The channel that deletions are published to, for caches inside processes.
    pub channel: Option<Arc<str>>,
    /// Paths to invalidate.
    pub paths: Vec<Template>,
    /// Cache tags to invalidate at the edge.
    pub edge_tags: Vec<Template>,
    /// The tenant of the distribution whose copies are invalidated.
    pub tenant: Option<Template>,
    /// The distributions that its paths and tags go to; `None` for all.
    pub distributions: Option<Distributions>,
    /// The variables that its templates were expanded with.
    pub expand: Expand,
    /// The invalidation of a whole table, for when single rows cannot be known.
    pub table_wide: TableWide,
    /// Keys to delete when a foreign key carries a parent's change over to
    /// these tables, rendered from the parent's row.
    pub cascade_from: Vec<CascadeFrom>,
}

impl Rule {
    /// Whether it can send cache tags.
    pub fn sends_tags(&self) -> bool {
        !self.edge_tags.is_empty() || !self.table_wide.edge_tags.is_empty()
    }

    /// Whether its paths and tags go to the distribution of this name.
    pub fn goes_to(&self, distribution: &str) -> bool {
        let named = |names: &Distributions| names.iter().any(|name| **name == *distribution);
        self.distributions.as_ref().is_none_or(named)
    }

    /// The target of its paths and tags, with the copies of all tenants.
    pub fn everywhere(&self) -> Target<'_> {
        Target {
            distributions: self.distributions.as_ref(),
            tenant: None,
        }
    }

    /// Whether one of its globs matches `table`.
    pub fn is_about(&self, table: &TableName) -> bool {
        self.tables.iter().any(|glob| glob.matches(table))
    }

    /// Whether one of its globs can match a table of the database `name`.
    pub fn is_about_database(&self, name: &str) -> bool {
        self.tables.iter().any(|glob| glob.matches_database(name))
    }

    /// Every column that its `cascade_from` names of `parent`.
    pub fn columns_of_parent(&self, parent: &TableName) -> impl Iterator<Item = &str> {
        self.cascade_from
            .iter()
            .filter(|from| from.table.matches(parent))
            .flat_map(|from| &from.keys)
            .flat_map(Template::placeholders)
            .map(|placeholder| placeholder.column.as_str())
    }

    /// Every column that it names, as often as it names it.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let named = match self.when.as_ref().map(|(condition, _)| condition.columns()) {
            Some(Columns::Named(names)) => Some(names),
            Some(Columns::All) | None => None,
        };
        let columns = self.changed.iter().chain(&self.version);
        let templates = self
            .keys
            .iter()
            .chain(&self.paths)
            .chain(&self.edge_tags)
            .chain(&self.tenant)
            .chain(self.tag_sets.iter().map(|set| &set.key))
            .chain(
                self.hash_fields
                    .iter()
                    .flat_map(|hash| [&hash.key, &hash.field]),
            )
            .chain(self.guard.iter().map(|guard| &guard.key));
        columns
            .map(|column| column.name.as_str())
            .chain(named.into_iter().flatten().map(String::as_str))
            .chain(
                templates
                    .flat_map(Template::placeholders)
                    .map(|placeholder| placeholder.column.as_str()),
            )
    }

    /// Whether one of its templates, or its `table_wide`, covers `key`, which
    /// begins with `prefix` as they do.
    pub fn can_render(&self, prefix: &[u8], key: &[u8]) -> bool {
        let cascades = self.cascade_from.iter().flat_map(|from| &from.keys);
        let guards = self.guard.iter().map(|guard| &guard.key);
        let sets = self.tag_sets.iter().map(|set| &set.key);
        let hashes = self.hash_fields.iter().map(|hash| &hash.key);
        let all = self.keys.iter().chain(cascades).chain(guards);
        let templates: Vec<Template> = all.chain(sets).chain(hashes).cloned().collect();
        let rendered = TableWide::from_templates(prefix, &templates, &[]).keys;
        let covers = |glob: &Vec<u8>| key_matches(glob, key);
        self.table_wide.generation.as_deref() == Some(key)
            || rendered.iter().any(covers)
            || self.table_wide.keys.iter().any(covers)
    }
}

/// The keys that a change of a parent table invalidates, in place of the whole
/// table.
#[derive(Debug)]
pub struct CascadeFrom {
    /// The parent tables.
    pub table: TableGlob,
    pub keys: Vec<Template>,
}

/// A column named in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    pub name: String,
    /// The line where it is named.
    pub line: usize,
}
