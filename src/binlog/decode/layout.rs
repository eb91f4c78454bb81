//! A table's layout: everything that decoding its rows needs, owned, so that it
//! outlives the table map it came from.

use std::sync::Arc;

pub use super::catalog::CatalogColumn;
use super::catalog::CatalogType;
use super::column_type::{Width, WireType};
use super::error::DecodeError;
use super::metadata::OptionalMetadata;
use super::table_map::TableMap;
use super::value::charset::Charset;
use super::value::kind::Kind;
use super::value::label::Label;
use crate::model::{Column, TableName, TableSchema};

/// A table as its table map describes it, and the catalog where the map is too
/// brief.
#[derive(Clone, Debug)]
pub struct TableLayout {
    /// The table and its columns, as the rules know them.
    pub schema: Arc<TableSchema>,
    pub(in crate::binlog) columns: Vec<ColumnLayout>,
}

/// One column's place and meaning in a row image.
#[derive(Clone, Debug)]
pub(in crate::binlog) struct ColumnLayout {
    pub(in crate::binlog) width: Width,
    pub(in crate::binlog) is_json: bool,
    pub(in crate::binlog) kind: Kind,
}

/// The facts about one column that decide its kind.
struct ColumnFacts<'a> {
    wire: WireType,
    unsigned: Option<bool>,
    collation: Option<u64>,
    labels: Vec<&'a [u8]>,
}

impl TableLayout {
    /// Whether the catalog must be asked, because the table map leaves out the
    /// column names or labels (`binlog_row_metadata=MINIMAL`), or is of a server
    /// that knows no metadata.
    ///
    /// # Errors
    ///
    /// The table map is damaged.
    pub fn needs_catalog(map: &TableMap<'_>) -> Result<bool, DecodeError> {
        let types = WireType::read_all(map.types(), map.metadata())?;
        let metadata = OptionalMetadata::parse(map.optional())?;
        Ok(missing(&metadata, &types)?.is_some())
    }

    /// Lays out the table of `map`.
    ///
    /// With names in the map the catalog is optional and tells only what no
    /// metadata does: the width of ZEROFILL and the scale of FLOAT(M,D), of
    /// columns whose name and type it shares with the map.
    ///
    /// # Errors
    ///
    /// [`DecodeError::MissingCatalog`] where the map is too brief and there is
    /// no catalog; [`DecodeError::CatalogMismatch`] where the catalog is needed
    /// and describes another version of the table; otherwise a damaged map or a
    /// column type that cannot be read.
    pub fn new(map: &TableMap<'_>, catalog: Option<&[CatalogColumn]>) -> Result<Self, DecodeError> {
        let types = WireType::read_all(map.types(), map.metadata())?;
        let metadata = OptionalMetadata::parse(map.optional())?;
        let names = metadata.names(types.len())?;
        let relies_on_catalog = match missing(&metadata, &types)? {
            Some(missing) if catalog.is_none() => {
                return Err(DecodeError::MissingCatalog { missing });
            }
            missing => missing.is_some(),
        };
        let catalog = catalog.unwrap_or_default();
        if relies_on_catalog && catalog.len() != types.len() {
            return Err(DecodeError::CatalogMismatch {
                problem: format!(
                    "it has {} columns, the event {}",
                    catalog.len(),
                    types.len()
                ),
            });
        }

        let unsigned = metadata.unsigned(&types);
        let collations = metadata.collations(&types)?;
        let labels = metadata.labels(&types)?;
        let mut schema = Vec::with_capacity(types.len());
        let mut columns = Vec::with_capacity(types.len());
        let facts = types.iter().zip(unsigned).zip(collations).zip(labels).map(
            |(((wire, unsigned), collation), labels)| ColumnFacts {
                wire: *wire,
                unsigned,
                collation,
                labels,
            },
        );
        for (index, facts) in facts.enumerate() {
            let name = names.as_ref().and_then(|names| names.get(index)).copied();
            let entry = facts.catalog_entry(index, name, catalog, relies_on_catalog)?;
            let name = match (name, &entry) {
                (Some(name), _) => name,
                (None, Some((column, _))) => &column.name,
                (None, None) => {
                    return Err(DecodeError::MissingCatalog {
                        missing: "the column names",
                    });
                }
            };
            let kind = facts.kind(entry);
            schema.push(Column {
                name: name.into(),
                shape: kind.shape(),
            });
            columns.push(ColumnLayout {
                width: facts.wire.width(),
                is_json: matches!(facts.wire, WireType::Json { .. }),
                kind,
            });
        }
        let primary_key = match metadata.primary_key(types.len())? {
            Some(key) => key,
            None => catalog
                .iter()
                .enumerate()
                .filter(|(_, column)| column.primary_key)
                .map(|(index, _)| index)
                .collect(),
        };
        Ok(Self {
            schema: Arc::new(TableSchema {
                name: TableName::new(map.schema, map.table),
                columns: schema,
                primary_key,
            }),
            columns,
        })
    }

    /// Number of columns of a row.
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }
}

/// Names what decoding needs and the map leaves out.
fn missing(
    metadata: &OptionalMetadata<'_>,
    types: &[WireType],
) -> Result<Option<&'static str>, DecodeError> {
    let signs = metadata.unsigned(types);
    let collations = metadata.collations(types)?;
    let lacks = |wanted: fn(&WireType) -> bool, known: &dyn Fn(usize) -> bool| {
        types
            .iter()
            .enumerate()
            .any(|(index, column)| wanted(column) && !known(index))
    };
    let sign_known = |index: usize| signs.get(index).is_some_and(Option::is_some);
    let charset_known = |index: usize| collations.get(index).is_some_and(Option::is_some);
    Ok(if !metadata.has_names() {
        Some("the column names")
    } else if !metadata.has_labels(types) {
        Some("the ENUM and SET labels")
    } else if lacks(|column| matches!(column, WireType::Int { .. }), &sign_known) {
        Some("the signs of the numbers")
    } else if lacks(|column| column.is_character(), &charset_known) {
        Some("the character sets")
    } else {
        None
    })
}

impl ColumnFacts<'_> {
    /// The catalog's entry for the column: the one in its place, which must fit,
    /// where the map is too brief; else the one of its name, if it fits.
    fn catalog_entry<'c>(
        &self,
        index: usize,
        name: Option<&str>,
        catalog: &'c [CatalogColumn],
        required: bool,
    ) -> Result<Option<(&'c CatalogColumn, CatalogType)>, DecodeError> {
        let column = match name {
            Some(name) => catalog.iter().find(|column| column.name == name),
            None => catalog.get(index),
        };
        let fitting = column.and_then(|column| {
            let parsed = CatalogType::parse(&column.column_type);
            let charset = self.collation.and_then(Charset::name_of_collation);
            parsed
                .fits(
                    self.wire,
                    self.unsigned,
                    column.charset.as_deref().map(current_name),
                    charset,
                )
                .then_some((column, parsed))
        });
        if required && fitting.is_none() {
            return Err(DecodeError::CatalogMismatch {
                problem: match column {
                    Some(column) => format!(
                        "it says {} {}, the event has {:?} in its place",
                        column.name, column.column_type, self.wire
                    ),
                    None => format!("it lacks the event's column {}", index + 1),
                },
            });
        }
        Ok(fitting)
    }

    fn kind(&self, entry: Option<(&CatalogColumn, CatalogType)>) -> Kind {
        let catalog_type = entry.as_ref().map(|(_, parsed)| parsed);
        let kind = match self.wire {
            WireType::Int { .. } => {
                let unsigned = self
                    .unsigned
                    .unwrap_or_else(|| catalog_type.is_some_and(|parsed| parsed.unsigned));
                if unsigned {
                    Kind::Unsigned
                } else {
                    Kind::Signed
                }
            }
            WireType::Float | WireType::Double => {
                match catalog_type.and_then(CatalogType::float_scale) {
                    Some(decimals) => Kind::Scaled { decimals },
                    None if self.wire == WireType::Float => Kind::Float,
                    None => Kind::Double,
                }
            }
            WireType::Decimal { precision, scale } => Kind::Decimal { precision, scale },
            WireType::Year => Kind::Year,
            WireType::Date => Kind::Date,
            WireType::OldTime => Kind::OldTime,
            WireType::OldDateTime => Kind::OldDateTime,
            WireType::OldTimestamp => Kind::OldTimestamp,
            WireType::Time { decimals } => Kind::Time { decimals },
            WireType::DateTime { decimals } => Kind::DateTime { decimals },
            WireType::Timestamp { decimals } => Kind::Timestamp { decimals },
            WireType::Char { .. } | WireType::VarChar { .. } | WireType::Blob { .. } => {
                let catalog_charset = || {
                    let (column, _) = entry.as_ref()?;
                    let name = column.charset.as_deref().unwrap_or("binary");
                    Some(Charset::named(name))
                };
                let charset = self
                    .collation
                    .and_then(Charset::of_collation)
                    .or_else(catalog_charset);
                match (charset.unwrap_or(Charset::Unknown), self.wire) {
                    (Charset::Binary, WireType::Char { length }) => Kind::Padded {
                        length: usize::from(length),
                    },
                    (Charset::Binary, _) => Kind::Bytes,
                    (charset, _) => Kind::Text(charset),
                }
            }
            WireType::Enum { .. } => Kind::Enum(self.labels(catalog_type)),
            WireType::Set { .. } => Kind::Set(self.labels(catalog_type)),
            WireType::Json { .. } => Kind::Json,
            WireType::Bit { .. } => Kind::Bit,
            WireType::Geometry { .. } | WireType::Vector { .. } => Kind::Bytes,
            WireType::TypedArray | WireType::Null => Kind::Unreadable,
        };
        match catalog_type.and_then(CatalogType::zerofill_width) {
            Some(width) => Kind::Zerofill {
                number: Box::new(kind),
                width,
            },
            None => kind,
        }
    }

    /// The map's labels are in the column's own character set, the catalog's in
    /// UTF-8.
    fn labels(&self, catalog_type: Option<&CatalogType>) -> Box<[Label]> {
        if self.labels.is_empty()
            && let Some(parsed) = catalog_type
        {
            return parsed
                .labels
                .iter()
                .map(|label| Label::Text(label.as_str().into()))
                .collect();
        }
        let charset = match self.collation {
            Some(id) => Charset::of_collation(id).unwrap_or(Charset::Unknown),
            None => Charset::Utf8,
        };
        self.labels
            .iter()
            .map(|label| Label::new(label, &charset))
            .collect()
    }
}

/// `utf8` is the old name of utf8mb3 (MySQL manual, "The utf8 Character Set").
fn current_name(charset: &str) -> &str {
    if charset == "utf8" {
        "utf8mb3"
    } else {
        charset
    }
}
