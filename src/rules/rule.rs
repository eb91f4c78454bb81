//! One rule as configured, and the same rule bound to a table's columns.

use std::sync::Arc;

use super::condition::{Columns, Condition};
use super::expand::Expand;
use super::filter::Filter;
use super::glob::{TableGlob, key_matches};
use super::guard::Guard;
use super::path_class::{Alphabet, Symbol};
use super::structures::{HashField, TagSet};
use super::table_wide::TableWide;
use super::template::{Placeholder, RowImage, Template, TemplatePart};
use crate::model::invalidation::{Distributions, Target};
use crate::model::{Op, Shape, TableName, TableSchema};

/// A validated rule.
#[derive(Debug)]
pub struct Rule {
    /// Its unique name.
    pub name: Arc<str>,
    /// The line in the configuration, for errors.
    pub line: usize,
    /// The tables it is about.
    pub tables: Vec<TableGlob>,
    /// The operations that fire it.
    pub on: Vec<Op>,
    /// An update fires only when one of these columns differs; empty for any.
    pub changed: Vec<ColumnRef>,
    /// A further condition.
    pub when: Option<(Condition, usize)>,
    /// The version column.
    pub version: Option<ColumnRef>,
    /// Redis keys to delete.
    pub keys: Vec<Template>,
    /// Sets whose members name keys to delete.
    pub tag_sets: Vec<TagSet>,
    /// Fields of Redis hashes to delete.
    pub hash_fields: Vec<HashField>,
    /// The watermark that refuses fills of older rows.
    pub guard: Option<Guard>,
    /// Where deletions are published, for caches inside of processes.
    pub channel: Option<Arc<str>>,
    /// Paths to invalidate.
    pub paths: Vec<Template>,
    /// Cache tags to invalidate at the edge.
    pub edge_tags: Vec<Template>,
    /// The tenant of the distribution whose copies are invalidated.
    pub tenant: Option<Template>,
    /// The distributions that its paths and tags go to; `None`: all there are.
    pub distributions: Option<Distributions>,
    /// Variables that its templates were expanded with.
    pub expand: Expand,
    /// What to invalidate when single rows cannot be known.
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

    /// Where its paths and tags go, with the copies of all tenants.
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

    /// The columns that it names, each as often as it does.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let named = match self.when.as_ref().map(|(condition, _)| condition.columns()) {
            Some(Columns::Named(names)) => Some(names),
            Some(Columns::All) | None => None,
        };
        let columns = self.changed.iter().chain(&self.version);
        let fields = self.hash_fields.iter();
        let templates = self
            .keys
            .iter()
            .chain(&self.paths)
            .chain(&self.edge_tags)
            .chain(&self.tenant)
            .chain(self.tag_sets.iter().map(|set| &set.key))
            .chain(fields.flat_map(|hash| [&hash.key, &hash.field]))
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

    /// Whether one of its templates, or what it invalidates as a whole, covers
    /// `key`. Both contain `prefix`.
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

/// What a parent's change asks for, in place of the whole table.
#[derive(Debug)]
pub struct CascadeFrom {
    /// The parent.
    pub table: TableGlob,
    /// Redis keys to delete.
    pub keys: Vec<Template>,
}

/// A column named in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    /// Its name.
    pub name: String,
    /// The line where it is named.
    pub line: usize,
}

/// A template whose columns are slots of a projected row image.
#[derive(Debug)]
pub struct BoundTemplate {
    /// Its pieces in order.
    pub parts: Vec<BoundPart>,
    /// Which images of an update it is rendered from.
    pub renders: Renders,
    /// It contains the version column.
    pub versioned: bool,
}

/// A piece of a bound template.
#[derive(Debug)]
pub enum BoundPart {
    /// Bytes as they are.
    Literal(Vec<u8>),
    /// A value.
    Value {
        /// The image it comes from.
        image: RowImage,
        /// Its slot in the projected image.
        slot: usize,
        /// Applied from left to right.
        filters: Vec<Filter>,
        /// What NULL renders as; `None`: no key at all.
        default: Option<String>,
    },
}

/// From which images of an update a template is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renders {
    /// Every placeholder names its image: once.
    Once,
    /// It contains the version column: from the before image, which is the
    /// entry that just died.
    Before,
    /// From both, and both results count: a changed slug evicts the old and
    /// the new path.
    Both,
}

/// Why a rule does not fit a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError {
    /// The line in the configuration.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// Collects the columns that a table's rules read; their order is the
/// projection's.
pub struct Slots<'s> {
    schema: &'s TableSchema,
    columns: Vec<usize>,
}

impl<'s> Slots<'s> {
    /// Starts without columns.
    pub fn new(schema: &'s TableSchema) -> Self {
        Self {
            schema,
            columns: Vec::new(),
        }
    }

    /// The table that is being bound.
    pub fn schema(&self) -> &'s TableSchema {
        self.schema
    }

    /// Adds the column at `index`.
    pub fn add(&mut self, index: usize) {
        if let Err(at) = self.columns.binary_search(&index) {
            self.columns.insert(at, index);
        }
    }

    /// The slot of the column at `index`, which was added before.
    pub fn slot(&self, index: usize) -> usize {
        self.columns.partition_point(|column| *column < index)
    }

    /// The projection.
    pub fn into_columns(self) -> Vec<usize> {
        self.columns
    }

    /// The index of the column called `name`, or an error with a suggestion.
    pub fn find(&self, name: &str, line: usize, place: &str) -> Result<usize, BindError> {
        self.schema.column(name).ok_or_else(|| BindError {
            line,
            message: format!(
                "{place}: table {} has no column `{name}`{}",
                self.schema.name,
                super::suggestion(name, self.schema.columns.iter().map(|column| &*column.name))
            ),
        })
    }

    /// Checks a template's columns and filters, and adds the columns.
    pub fn add_template(&mut self, template: &Template, place: &str) -> Result<(), BindError> {
        let place = format!("{place} \"{}\"", template.text);
        for placeholder in template.placeholders() {
            let index = self.find(&placeholder.column, template.line, &place)?;
            let shape = self.shape(index);
            for filter in &placeholder.filters {
                filter.accepts(shape).map_err(|reason| BindError {
                    line: template.line,
                    message: format!("{place}: column `{}`: {reason}", placeholder.column),
                })?;
            }
            self.add(index);
        }
        Ok(())
    }

    fn shape(&self, index: usize) -> Shape {
        self.schema
            .columns
            .get(index)
            .map_or(Shape::Bytes, |column| column.shape)
    }

    /// Binds a template whose columns were added. `prefix` goes before it.
    pub fn bind(
        &self,
        template: &Template,
        version: Option<usize>,
        prefix: &[u8],
    ) -> BoundTemplate {
        let mut parts = Vec::new();
        if !prefix.is_empty() {
            parts.push(BoundPart::Literal(prefix.to_vec()));
        }
        let mut reads_version = false;
        let mut reads_either = false;
        for part in &template.parts {
            match part {
                TemplatePart::Literal(bytes) => match parts.last_mut() {
                    Some(BoundPart::Literal(before)) => before.extend_from_slice(bytes),
                    _ => parts.push(BoundPart::Literal(bytes.clone())),
                },
                TemplatePart::Placeholder(placeholder) => {
                    let Some(index) = self.schema.column(&placeholder.column) else {
                        continue;
                    };
                    reads_version |= Some(index) == version;
                    reads_either |= placeholder.image == RowImage::Either;
                    parts.push(self.bind_placeholder(placeholder, index));
                }
            }
        }
        let renders = match (reads_either, reads_version) {
            (false, _) => Renders::Once,
            (true, true) => Renders::Before,
            (true, false) => Renders::Both,
        };
        BoundTemplate {
            parts,
            renders,
            versioned: reads_version,
        }
    }

    fn bind_placeholder(&self, placeholder: &Placeholder, index: usize) -> BoundPart {
        let default = placeholder.filters.iter().find_map(|filter| match filter {
            Filter::Default(text) => Some(text.clone()),
            _ => None,
        });
        let filters = placeholder.filters.iter();
        BoundPart::Value {
            image: placeholder.image,
            slot: self.slot(index),
            filters: filters
                .filter(|filter| !matches!(filter, Filter::Default(_)))
                .cloned()
                .collect(),
            default,
        }
    }

    /// The language of paths that a template can produce from this table.
    pub fn path_language(&self, template: &Template) -> Vec<Symbol> {
        path_language(template, |placeholder| {
            self.schema
                .column(&placeholder.column)
                .map_or(Shape::Bytes, |index| self.shape(index))
        })
    }
}

/// The language of paths that a template can produce, up to its query string.
/// A trailing `*` is a wildcard and can be anything.
pub fn path_language(template: &Template, shape: impl Fn(&Placeholder) -> Shape) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for (index, part) in template.parts.iter().enumerate() {
        match part {
            TemplatePart::Literal(bytes) => {
                let last = index + 1 == template.parts.len();
                let wildcard = last && bytes.ends_with(b"*");
                for byte in bytes.iter().take(bytes.len() - usize::from(wildcard)) {
                    if *byte == b'?' {
                        return symbols;
                    }
                    symbols.push(Symbol::Byte(*byte));
                }
                if wildcard {
                    symbols.push(Symbol::Many(Alphabet::Any));
                }
            }
            TemplatePart::Placeholder(placeholder) => {
                symbols.push(Symbol::Many(alphabet(placeholder, shape(placeholder))));
            }
        }
    }
    symbols
}

/// What a placeholder's value can consist of; the last filter that narrows it
/// decides, and a default can be anything.
fn alphabet(placeholder: &Placeholder, shape: Shape) -> Alphabet {
    let from_shape = match shape {
        Shape::Integer => Alphabet::Integer,
        Shape::Number => Alphabet::Number,
        Shape::Temporal | Shape::Text | Shape::Bytes => Alphabet::Any,
    };
    placeholder
        .filters
        .iter()
        .fold(from_shape, |alphabet, filter| match filter {
            Filter::Lower | Filter::Upper => match alphabet {
                Alphabet::Integer => Alphabet::Integer,
                _ if alphabet == Alphabet::Segment || alphabet == Alphabet::Hex => {
                    Alphabet::Segment
                }
                _ => Alphabet::Any,
            },
            Filter::UrlEncode => match alphabet {
                Alphabet::Any => Alphabet::Segment,
                narrower => narrower,
            },
            Filter::Hex | Filter::Md5 | Filter::Sha1 => Alphabet::Hex,
            Filter::Crc32 => Alphabet::Integer,
            Filter::Uuid if shape == Shape::Bytes => Alphabet::Hex,
            Filter::Uuid | Filter::Date(_) | Filter::Default(_) => Alphabet::Any,
        })
}
