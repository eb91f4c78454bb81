//! Templates bound to a table's columns, and the columns that a table's rules
//! read.

use super::filter::Filter;
use super::path_class::Symbol;
use super::path_language::path_language;
use super::suggestion::suggestion;
use super::template::{Placeholder, RowImage, Template, TemplatePart};
use crate::model::{Shape, TableSchema};

/// A template whose columns are slots of a projected row image.
#[derive(Debug)]
pub struct BoundTemplate {
    pub parts: Vec<BoundPart>,
    /// The images of an update that it is rendered from.
    pub renders: Renders,
    /// Whether each version gives it another name: it contains the version
    /// column, through no filter that makes one text of two versions.
    pub names_versions: bool,
    /// The slot of the version column.
    pub version: Option<usize>,
}

/// A piece of a bound template.
#[derive(Debug)]
pub enum BoundPart {
    /// Bytes as they are.
    Literal(Vec<u8>),
    /// A column's value.
    Value {
        /// The image it comes from.
        image: RowImage,
        /// Its slot in the projected image.
        slot: usize,
        /// Applied from left to right.
        filters: Vec<Filter>,
        /// The text for NULL; without one NULL makes no key.
        default: Option<String>,
    },
}

/// The images of an update that a template is rendered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renders {
    /// Rendered once: every placeholder names its image.
    Once,
    /// From the before image: the template contains the version column, and the
    /// entry of the old version is the one that is stale now.
    Before,
    /// From both images, and both results count: a changed slug evicts the old
    /// and the new path.
    Both,
}

/// Why a rule does not fit a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError {
    /// The line in the configuration.
    pub line: usize,
    /// The fault, and what to do about it.
    pub message: String,
}

/// The columns that a table's rules read, in the order of the projection.
///
/// First every rule adds its columns, then templates are bound: a column's slot
/// is known once all of them are added.
pub struct Slots<'s> {
    schema: &'s TableSchema,
    columns: Vec<usize>,
}

impl<'s> Slots<'s> {
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

    pub fn add(&mut self, index: usize) {
        if let Err(at) = self.columns.binary_search(&index) {
            self.columns.insert(at, index);
        }
    }

    /// The slot of the column at `index`, once all columns are added.
    pub fn slot(&self, index: usize) -> usize {
        self.columns.partition_point(|column| *column < index)
    }

    /// The projection: indices of the table's columns.
    pub fn into_columns(self) -> Vec<usize> {
        self.columns
    }

    /// The index of the column called `name`. An error says `place`, and suggests
    /// a name.
    pub fn find(&self, name: &str, line: usize, place: &str) -> Result<usize, BindError> {
        self.schema.column(name).ok_or_else(|| BindError {
            line,
            message: format!(
                "{place}: table {} has no column `{name}`{}",
                self.schema.name,
                suggestion(name, self.schema.columns.iter().map(|column| &*column.name))
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
        let mut names_versions = false;
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
                    reads_either |= placeholder.image == RowImage::Either;
                    if Some(index) == version {
                        reads_version = true;
                        names_versions |= placeholder.image != RowImage::After
                            && placeholder.filters.iter().all(Filter::keeps_apart);
                    }
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
            names_versions,
            version: version.map(|index| self.slot(index)),
        }
    }

    fn bind_placeholder(&self, placeholder: &Placeholder, index: usize) -> BoundPart {
        let default = placeholder.filters.iter().find_map(|filter| match filter {
            Filter::Default(text) => Some(text.clone()),
            _ => None,
        });
        BoundPart::Value {
            image: placeholder.image,
            slot: self.slot(index),
            filters: placeholder
                .filters
                .iter()
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
