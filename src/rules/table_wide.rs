//! `table_wide`: what stands for everything that a rule may have cached.

use super::glob::key_matches;
use super::structures::{TagSet, TagSetGlob};
use super::template::{Template, TemplatePart};
use crate::model::path;

/// The invalidation of everything that a rule may have cached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableWide {
    /// What goes before every key that a template renders.
    pub key_prefix: Vec<u8>,
    /// Globs over Redis keys, prefix included.
    pub keys: Vec<Vec<u8>>,
    /// Globs over tag sets.
    pub tag_sets: Vec<TagSetGlob>,
    /// A counter that is part of the keys' names, prefix included. Adding one to
    /// it costs nothing, where a glob visits the whole keyspace.
    pub generation: Option<Vec<u8>>,
    /// Paths for the edge, wildcards among them.
    pub paths: Vec<String>,
    /// Cache tags for the edge, each with its `#`.
    pub edge_tags: Vec<String>,
}

impl TableWide {
    /// The narrowest glob that stands for every key that `template` can render;
    /// `None` if no one does.
    pub fn glob_of_key(&self, template: &Template) -> Option<&Vec<u8>> {
        // A generation stands for them without a visit to the keyspace.
        let globs = self.keys.iter().filter(|_| self.generation.is_none());
        globs
            .filter(|glob| covers(glob, &self.key_prefix, template))
            .max_by_key(|glob| glob.len())
    }

    /// The narrowest glob that stands for every tag set that `set` can render.
    pub fn glob_of_tag_set(&self, set: &TagSet) -> Option<&TagSetGlob> {
        let same = |sets: &&TagSetGlob| sets.member_prefix == set.member_prefix;
        let globs = self.tag_sets.iter().filter(same);
        globs
            .filter(|sets| covers(&sets.glob, &self.key_prefix, &set.key))
            .max_by_key(|sets| sets.glob.len())
    }

    /// The templates with `*` for every placeholder. At the edge a `*` can only
    /// stand last, so that a path ends at its first placeholder.
    pub fn from_templates(prefix: &[u8], keys: &[Template], paths: &[Template]) -> Self {
        let path_wildcard = |template: &Template| {
            let mut path = String::new();
            for part in &template.parts {
                match part {
                    TemplatePart::Literal(bytes) => {
                        let body = bytes.strip_suffix(b"*");
                        path::encode_literal(body.unwrap_or(bytes), &mut path);
                        path.push_str(body.map_or("", |_| "*"));
                    }
                    TemplatePart::Placeholder(_) => {
                        path.push('*');
                        break;
                    }
                }
            }
            path
        };
        Self {
            key_prefix: prefix.to_vec(),
            generation: None,
            tag_sets: Vec::new(),
            edge_tags: Vec::new(),
            keys: sorted(keys.iter().map(|key| key_glob(prefix, key)).collect()),
            paths: sorted(paths.iter().map(path_wildcard).collect()),
        }
    }
}

/// Whether `glob` matches every key that `template` can render.
fn covers(glob: &[u8], prefix: &[u8], template: &Template) -> bool {
    // Where the glob has no such byte, only a `*` matches it.
    let Some(foreign) = (0..=u8::MAX).find(|byte| !glob.contains(byte)) else {
        return false;
    };
    let mut key = prefix.to_vec();
    for part in &template.parts {
        match part {
            TemplatePart::Literal(bytes) => key.extend_from_slice(bytes),
            TemplatePart::Placeholder(_) => key.push(foreign),
        }
    }
    let stars_only = !glob.iter().any(|byte| b"?[".contains(byte));
    stars_only && key_matches(glob, &key)
}

/// The glob over every key that `template` can render, with `*` for each
/// placeholder.
pub fn key_glob(prefix: &[u8], template: &Template) -> Vec<u8> {
    let mut glob = escape_glob(prefix);
    for part in &template.parts {
        match part {
            TemplatePart::Literal(bytes) => glob.extend(escape_glob(bytes)),
            TemplatePart::Placeholder(_) if glob.ends_with(b"*") && !glob.ends_with(b"\\*") => {}
            TemplatePart::Placeholder(_) => glob.push(b'*'),
        }
    }
    glob
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items.dedup();
    items
}

/// Escapes the bytes that mean something in a glob of Redis.
pub fn escape_glob(literal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(literal.len());
    for byte in literal {
        if b"*?[]\\".contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}
