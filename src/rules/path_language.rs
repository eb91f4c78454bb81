//! The language of paths that a template can produce.

use super::filter::Filter;
use super::path_class::{Alphabet, Symbol};
use super::template::{Placeholder, Template, TemplatePart};
use crate::model::Shape;
use crate::model::path;

/// The language of paths that `template` can produce, up to the query string. A
/// trailing `*` is a wildcard and can be anything.
pub fn path_language(template: &Template, shape: impl Fn(&Placeholder) -> Shape) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for (index, part) in template.parts.iter().enumerate() {
        match part {
            TemplatePart::Literal(bytes) => {
                let last = index + 1 == template.parts.len();
                let wildcard = last && bytes.ends_with(b"*");
                let body = bytes.get(..bytes.len() - usize::from(wildcard));
                for byte in path::normalized(body.unwrap_or_default()).iter() {
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

/// The bytes that a placeholder's value can consist of. The last filter that
/// narrows them decides; a default can be anything.
fn alphabet(placeholder: &Placeholder, shape: Shape) -> Alphabet {
    let from_shape = match shape {
        Shape::Integer => Alphabet::Integer,
        Shape::Number => Alphabet::Number,
        Shape::Temporal | Shape::Timestamp | Shape::Text | Shape::Bytes => Alphabet::Any,
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
            Filter::Uuid | Filter::Date { .. } | Filter::Default(_) => Alphabet::Any,
        })
}

/// The column shape that allows a placeholder the fewest texts, for when its
/// column is not known yet.
pub(super) fn narrowest(placeholder: &Placeholder) -> Shape {
    if placeholder.filters.contains(&Filter::Uuid) {
        return Shape::Bytes;
    }
    Shape::Integer
}
