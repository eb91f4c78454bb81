//! Paths in the form that the edge compares, and errors for paths that must not
//! be invalidated.

use super::bind::{BindError, BoundPart, BoundTemplate};
use super::path_class::Forbidden;
use super::render::{RenderBuffers, Rendered};
use super::rule::Rule;
use super::table_wide::TableWide;
use super::template::Template;
use crate::model::invalidation::Widening;
use crate::model::path::{self, PATH_CHARS_MAX};

/// A bound path template, and the wildcard to send where no path will do.
#[derive(Debug)]
pub(super) struct BoundPath {
    pub(super) template: BoundTemplate,
    pub(super) wildcard: TableWide,
    ends_in_star: bool,
}

impl BoundPath {
    /// Takes a trailing `*` off the template, and encodes its literals.
    pub(super) fn new(mut template: BoundTemplate, source: &Template) -> Self {
        let mut ends_in_star = false;
        if let Some(BoundPart::Literal(bytes)) = template.parts.last_mut()
            && bytes.ends_with(b"*")
        {
            bytes.pop();
            ends_in_star = true;
        }
        for part in &mut template.parts {
            if let BoundPart::Literal(bytes) = part {
                let mut encoded = String::new();
                path::encode_literal(bytes, &mut encoded);
                *bytes = encoded.into_bytes();
            }
        }
        Self {
            template,
            wildcard: TableWide::from_templates(b"", &[], std::slice::from_ref(source)),
            ends_in_star,
        }
    }

    /// Makes a path of the rendered bytes, or gives the reason why only the
    /// wildcard will do.
    pub(super) fn finish(
        &self,
        rendered: &Rendered,
        scratch: &mut RenderBuffers,
    ) -> Option<Widening> {
        match rendered {
            Rendered::Nothing(_) => None,
            Rendered::Unknown(unknown) => Some(unknown.reason),
            Rendered::Done => {
                scratch.path.clear();
                if !scratch.key.starts_with(b"/") {
                    scratch.path.push('/');
                }
                // Rendered paths are percent-encoded, and thus ASCII.
                scratch
                    .path
                    .push_str(&String::from_utf8_lossy(&scratch.key));
                if self.ends_in_star {
                    scratch.path.push('*');
                }
                (scratch.path.len() > PATH_CHARS_MAX).then_some(Widening::PathTooLong)
            }
        }
    }
}

pub(super) fn forbidden_path(rule: &Rule, template: &Template, forbidden: &Forbidden) -> BindError {
    BindError {
        line: template.line,
        message: forbidden_message(&rule.name, &template.text, forbidden),
    }
}

pub(super) fn forbidden_message(rule: &str, path: &str, forbidden: &Forbidden) -> String {
    let Forbidden {
        path: example,
        class,
    } = forbidden;
    format!(
        "rule \"{rule}\": path \"{path}\" can produce {example}, which is of class {class} and never \
         invalidated; narrow the template (`|urlencode` keeps a value inside its segment) or put a \
         more specific [[path]] before"
    )
}
