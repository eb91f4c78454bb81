//! Columns as the server's catalog describes them, for servers that send
//! minimal metadata, and for what no metadata says.
//!
//! The catalog describes the table as it is now, an event the table as it was,
//! so everything that both say is compared.

use super::column_type::WireType;
use super::value::charset::Charset;
use crate::model::Shape;

/// One row of `information_schema.columns`, in order of ORDINAL_POSITION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogColumn {
    pub name: String,
    /// COLUMN_TYPE, such as `enum('a','b')` or `int(5) unsigned zerofill`.
    pub column_type: String,
    /// CHARACTER_SET_NAME.
    pub charset: Option<String>,
    /// Whether COLUMN_KEY is `PRI`.
    pub primary_key: bool,
}

/// A parsed COLUMN_TYPE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogType {
    name: String,
    /// The numbers in parentheses: a width, or precision and scale.
    numbers: Vec<u32>,
    /// The labels in parentheses, unescaped.
    pub labels: Vec<String>,
    /// Whether it is UNSIGNED.
    pub unsigned: bool,
    zerofill: bool,
}

impl CatalogType {
    /// Parses a COLUMN_TYPE. One that cannot be parsed fits no column.
    pub fn parse(column_type: &str) -> Self {
        let end = column_type
            .find(|letter: char| !letter.is_ascii_alphanumeric())
            .unwrap_or(column_type.len());
        let (name, rest) = column_type.split_at_checked(end).unwrap_or_default();
        let mut parsed = Self {
            name: name.to_ascii_lowercase(),
            ..Self::default()
        };
        let mut options = rest;
        if let Some(arguments) = rest.strip_prefix('(') {
            if matches!(parsed.name.as_str(), "enum" | "set") {
                (parsed.labels, options) = labels(arguments);
            } else if let Some((numbers, after)) = arguments.split_once(')') {
                parsed.numbers = numbers
                    .split(',')
                    .filter_map(|number| number.trim().parse().ok())
                    .collect();
                options = after;
            }
        }
        let mut words = options.split_ascii_whitespace();
        parsed.unsigned = words.clone().any(|word| word == "unsigned");
        parsed.zerofill = words.any(|word| word == "zerofill");
        parsed
    }

    /// The texts that a column of this type can render as.
    pub(in crate::binlog) fn shape(&self) -> Shape {
        match self.name.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "bit" | "year" => {
                Shape::Integer
            }
            "decimal" | "float" | "double" => Shape::Number,
            "date" | "time" | "datetime" => Shape::Temporal,
            "timestamp" => Shape::Timestamp,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum"
            | "set" | "json" => Shape::Text,
            _ => Shape::Bytes,
        }
    }

    /// The digits in which ZEROFILL prints the number, if it does (MySQL manual,
    /// "Numeric Type Attributes"). A point counts as one.
    pub fn zerofill_width(&self) -> Option<usize> {
        if !self.zerofill {
            return None;
        }
        let width = match (self.name.as_str(), self.numbers.as_slice()) {
            ("decimal", [precision, scale]) => precision.saturating_add(u32::from(*scale > 0)),
            // `MAX_FLOAT_STR_LENGTH` of the server for a type without M.
            ("float", []) => 12,
            ("double", []) => 22,
            (_, [width, ..]) => *width,
            _ => return None,
        };
        // 255 is the widest display that MySQL accepts.
        usize::try_from(width).ok().filter(|width| *width <= 255)
    }

    /// D of FLOAT(M,D) and DOUBLE(M,D). 31 stands for none (the server's
    /// `DECIMAL_NOT_SPECIFIED`).
    pub fn float_scale(&self) -> Option<u8> {
        match (self.name.as_str(), self.numbers.as_slice()) {
            ("float" | "double", [_, scale @ 0..=30]) => u8::try_from(*scale).ok(),
            _ => None,
        }
    }

    /// Whether a column of this type and character set is `wire` in a table
    /// map that gives it `unsigned` and `charset`, as far as the map says.
    pub fn fits(
        &self,
        wire: WireType,
        unsigned: Option<bool>,
        own_charset: Option<&str>,
        charset: Option<&str>,
    ) -> bool {
        let number = |index: usize| self.numbers.get(index).copied();
        let decimals_fit = |decimals: u8| number(0).unwrap_or(0) == u32::from(decimals);
        let name = self.name.as_str();
        let same_type = match wire {
            WireType::Int { bytes } => match bytes {
                1 => name == "tinyint",
                2 => name == "smallint",
                3 => name == "mediumint",
                4 => name == "int",
                _ => name == "bigint",
            },
            WireType::Float => name == "float",
            WireType::Double => name == "double",
            WireType::Decimal { precision, scale } => {
                name == "decimal"
                    && number(0) == Some(u32::from(precision))
                    && number(1).unwrap_or(0) == u32::from(scale)
            }
            WireType::Year => name == "year",
            WireType::Bit { bits } => name == "bit" && number(0) == Some(u32::from(bits)),
            WireType::Date => name == "date",
            WireType::OldTime => name == "time",
            WireType::OldDateTime => name == "datetime",
            WireType::OldTimestamp => name == "timestamp",
            WireType::Time { decimals } => name == "time" && decimals_fit(decimals),
            WireType::DateTime { decimals } => name == "datetime" && decimals_fit(decimals),
            WireType::Timestamp { decimals } => name == "timestamp" && decimals_fit(decimals),
            WireType::Char { length } => {
                matches!(name, "char" | "binary") && self.length_fits(length, own_charset)
            }
            WireType::VarChar { length } => {
                matches!(name, "varchar" | "varbinary") && self.length_fits(length, own_charset)
            }
            WireType::Blob { .. } => name.ends_with("text") || name.ends_with("blob"),
            WireType::Enum { bytes } => {
                name == "enum" && bytes == if self.labels.len() < 256 { 1 } else { 2 }
            }
            WireType::Set { bytes } => {
                let needed = self.labels.len().div_ceil(8);
                name == "set" && usize::from(bytes) == if needed > 4 { 8 } else { needed }
            }
            WireType::Json { .. } => name == "json",
            WireType::Geometry { .. } => {
                name.ends_with("point")
                    || name.ends_with("linestring")
                    || name.ends_with("polygon")
                    || name.starts_with("geom")
            }
            WireType::Vector { .. } => name == "vector",
            WireType::TypedArray | WireType::Null => false,
        };
        let same_sign = unsigned.is_none_or(|unsigned| unsigned == self.unsigned)
            || matches!(wire, WireType::Year);
        let same_charset = !wire.is_character()
            || charset.is_none_or(|charset| charset == own_charset.unwrap_or("binary"));
        same_type && same_sign && same_charset
    }

    /// The map counts bytes, the catalog characters.
    fn length_fits(&self, bytes: u16, charset: Option<&str>) -> bool {
        let widest = charset.map_or(1, Charset::widest_character);
        self.numbers
            .first()
            .and_then(|characters| characters.checked_mul(widest))
            == Some(u32::from(bytes))
    }
}

/// Parses `'a','b')…` as the server quotes it in COLUMN_TYPE (MySQL source,
/// `append_unescaped`): a quote is doubled, and a backslash stands before
/// `\`, `0`, `n` and `r`. Returns what follows the parenthesis too.
fn labels(mut text: &str) -> (Vec<String>, &str) {
    let mut labels = Vec::new();
    while let Some(quoted) = text.strip_prefix('\'') {
        let mut label = String::new();
        let mut letters = quoted.char_indices();
        let mut end = quoted.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\'' => match letters.clone().next() {
                    Some((_, '\'')) => {
                        letters.next();
                        label.push('\'');
                    }
                    _ => {
                        end = at + 1;
                        break;
                    }
                },
                '\\' => match letters.next() {
                    Some((_, '0')) => label.push('\0'),
                    Some((_, 'n')) => label.push('\n'),
                    Some((_, 'r')) => label.push('\r'),
                    Some((_, other)) => label.push(other),
                    None => {}
                },
                other => label.push(other),
            }
        }
        labels.push(label);
        text = quoted.get(end..).unwrap_or_default();
        text = text.strip_prefix(',').unwrap_or(text);
    }
    (labels, text.strip_prefix(')').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unescaped() {
        let parsed = CatalogType::parse(r"enum('a,b','it''s','back\\slash','',')')");
        assert_eq!(parsed.labels, ["a,b", "it's", r"back\slash", "", ")"]);
        assert_eq!(
            CatalogType::parse(r"set('line\nbreak')").labels,
            ["line\nbreak"]
        );
    }

    #[test]
    fn widths_and_scales_come_from_the_type() {
        for (column_type, zerofill, scale) in [
            ("int(5) unsigned zerofill", Some(5), None),
            ("int unsigned", None, None),
            ("decimal(6,2) unsigned zerofill", Some(7), None),
            ("decimal(5,0) unsigned zerofill", Some(5), None),
            ("float(7,2) unsigned zerofill", Some(7), Some(2)),
            ("float unsigned zerofill", Some(12), None),
            ("double unsigned zerofill", Some(22), None),
            ("double(10,3)", None, Some(3)),
            ("double", None, None),
        ] {
            let parsed = CatalogType::parse(column_type);
            assert_eq!(parsed.zerofill_width(), zerofill, "{column_type}");
            assert_eq!(parsed.float_scale(), scale, "{column_type}");
        }
    }

    #[test]
    fn another_version_of_a_column_does_not_fit() {
        let int = WireType::Int { bytes: 4 };
        for (column_type, wire, unsigned, own, charset, expected) in [
            ("int", int, Some(false), None, None, true),
            ("int unsigned", int, Some(false), None, None, false),
            ("enum('a')", int, None, None, None, false),
            ("bigint", int, None, None, None, false),
            (
                "varchar(10)",
                WireType::VarChar { length: 40 },
                None,
                Some("utf8mb4"),
                Some("utf8mb4"),
                true,
            ),
            (
                "varchar(10)",
                WireType::VarChar { length: 40 },
                None,
                Some("utf8mb4"),
                Some("binary"),
                false,
            ),
            (
                "varchar(11)",
                WireType::VarChar { length: 40 },
                None,
                Some("utf8mb4"),
                None,
                false,
            ),
            (
                "decimal(10,2)",
                WireType::Decimal {
                    precision: 10,
                    scale: 3,
                },
                None,
                None,
                None,
                false,
            ),
            (
                "datetime(3)",
                WireType::DateTime { decimals: 3 },
                None,
                None,
                None,
                true,
            ),
            (
                "time",
                WireType::Time { decimals: 0 },
                None,
                None,
                None,
                true,
            ),
            ("", int, None, None, None, false),
        ] {
            assert_eq!(
                CatalogType::parse(column_type).fits(wire, unsigned, own, charset),
                expected,
                "{column_type} {wire:?}"
            );
        }
    }
}
