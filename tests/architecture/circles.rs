//! No file imports one that imports it, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Token, code, tokens};
use super::{is_test, sources, text};

/// A path of names, from the crate's root on.
type Names = Vec<String>;

/// The sources, as far as imports go.
struct Crate {
    /// Each module's file and words.
    modules: BTreeMap<Names, (String, Vec<Token>)>,
}

/// A path that a module names.
struct Named {
    path: Names,
    /// Whether other modules see it there too.
    handed_on: bool,
    renamed: Option<String>,
}

/// The module that a file is.
fn module(path: &str) -> Names {
    let mut names: Names = path
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if names
        .last()
        .is_some_and(|name| name == "mod" || name == "lib")
    {
        names.pop();
    }
    names
}

/// The paths that begin at `from`, a use tree or a path in an expression, with
/// the names that `as` gives them; and where they end.
fn paths(
    tokens: &[Token],
    from: usize,
    prefix: &[String],
    out: &mut Vec<(Names, Option<String>)>,
) -> usize {
    let word = |index: usize| tokens.get(index).map_or("", |(_, word)| word.as_str());
    let mut names = prefix.to_vec();
    let mut index = from;
    loop {
        if word(index) == "{" {
            index += 1;
            while !matches!(word(index), "}" | "") {
                index = paths(tokens, index, &names, out);
                if word(index) == "," {
                    index += 1;
                }
            }
            return index + 1;
        }
        names.push(word(index).to_owned());
        if word(index + 1) == ":" && word(index + 2) == ":" && word(index + 3) != "<" {
            index += 3;
            continue;
        }
        index += 1;
        let mut renamed = None;
        if word(index) == "as" {
            renamed = Some(word(index + 1).to_owned());
            index += 2;
        }
        out.push((names, renamed));
        return index;
    }
}

/// `path` as seen from module `from`, from the crate's root on.
fn absolute(path: &[String], from: &[String]) -> Option<Names> {
    let (first, rest) = path.split_first()?;
    let mut base = from.to_vec();
    match first.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
            if rest.first().is_some_and(|name| name == "super") {
                return absolute(rest, &base);
            }
        }
        // A child of the module.
        _ => base.push(first.clone()),
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

impl Crate {
    fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let entry = |(path, text): (String, String)| (module(&path), (path, tokens(code(&text))));
        Self {
            modules: files.into_iter().map(entry).collect(),
        }
    }

    /// What module `from` names.
    fn named(&self, from: &Names) -> Vec<Named> {
        let (_, tokens) = &self.modules[from];
        let word = |index: usize| tokens.get(index).map_or("", |(_, word)| word.as_str());
        let mut out = Vec::new();
        let mut index = 0;
        while index < tokens.len() {
            let of_a_child = || {
                let child = from.iter().map(String::as_str).chain([word(index)]);
                let child: Names = child.map(str::to_owned).collect();
                self.modules.contains_key(&child)
            };
            let begins = (matches!(word(index), "crate" | "self" | "super") || of_a_child())
                && word(index + 1) == ":"
                && word(index + 2) == ":"
                // `pub(in crate::a)` imports nothing.
                && !matches!(word(index.wrapping_sub(1)), ":" | "in");
            if !begins {
                index += 1;
                continue;
            }
            // Its children see what a module uses, whether that is public or not.
            let handed_on = word(index.wrapping_sub(1)) == "use";
            let mut found = Vec::new();
            index = paths(tokens, index, &[], &mut found);
            out.extend(found.into_iter().filter_map(|(path, renamed)| {
                Some(Named {
                    path: absolute(&path, from)?,
                    handed_on,
                    renamed,
                })
            }));
        }
        out
    }

    fn defines(&self, module: &Names, name: &str) -> bool {
        let (_, tokens) = &self.modules[module];
        tokens.windows(2).any(|pair| {
            let kind = pair[0].1.as_str();
            pair[1].1 == name
                && matches!(
                    kind,
                    "struct"
                        | "enum"
                        | "trait"
                        | "type"
                        | "fn"
                        | "const"
                        | "static"
                        | "macro_rules"
                )
        })
    }

    /// The module whose file holds what `path` names, seen through the names
    /// that modules hand on.
    fn holder(&self, path: &[String]) -> Names {
        let mut at: Names = Vec::new();
        for (index, name) in path.iter().enumerate() {
            let mut child = at.clone();
            child.push(name.clone());
            if self.modules.contains_key(&child) {
                at = child;
                continue;
            }
            if !self.modules.contains_key(&at) || self.defines(&at, name) {
                return at;
            }
            let named = self.named(&at);
            for named in named.iter().filter(|named| named.handed_on) {
                let Some((last, parent)) = named.path.split_last() else {
                    continue;
                };
                let parent = parent.to_vec();
                let glob = last == "*" && self.modules.contains_key(&parent);
                let known_as = named.renamed.as_ref().unwrap_or(last);
                if known_as == name || glob && self.defines(&parent, name) {
                    let last = if glob { name } else { last };
                    let rest = path[index + 1..].iter();
                    let path: Names = parent.iter().chain([last]).chain(rest).cloned().collect();
                    return self.holder(&path);
                }
            }
            return at;
        }
        at
    }

    /// Which modules each module imports.
    fn imports(&self) -> BTreeMap<&Names, BTreeSet<Names>> {
        let of = |from: &Names| {
            let named = self.named(from).into_iter();
            let holders = named.map(|named| self.holder(&named.path));
            holders
                .filter(|holder| holder != from && self.modules.contains_key(holder))
                .collect()
        };
        self.modules.keys().map(|from| (from, of(from))).collect()
    }

    /// Files that import each other, each circle once.
    fn circles(&self) -> Vec<Vec<&str>> {
        let imports = self.imports();
        let reaches = |from: &Names| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&Names> = imports[from].iter().collect();
            while let Some(module) = next.pop() {
                if seen.insert(module) {
                    next.extend(&imports[module]);
                }
            }
            seen
        };
        let reached: BTreeMap<&Names, BTreeSet<&Names>> =
            imports.keys().map(|from| (*from, reaches(from))).collect();
        let circles: BTreeSet<Vec<&str>> = reached
            .iter()
            .filter(|(from, seen)| seen.contains(*from))
            .map(|(from, seen)| {
                let together = seen
                    .iter()
                    .filter(|module| reached[**module].contains(*from));
                let mut files: Vec<&str> = together
                    .map(|module| self.modules[*module].0.as_str())
                    .collect();
                files.sort_unstable();
                files
            })
            .collect();
        circles.into_iter().collect()
    }
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let files = sources().into_iter().filter(|path| !is_test(path));
    let all = Crate::new(files.map(|path| {
        let text = text(&path);
        (path, text)
    }));
    let imports: usize = all.imports().values().map(BTreeSet::len).sum();
    assert!(imports > 500, "only {imports} imports were found");
    let circles = all.circles();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn circles_are_found_through_expressions_and_names_that_are_handed_on() {
    let files = |files: &[(&str, &str)]| {
        let owned = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Crate::new(owned.collect::<Vec<_>>())
    };
    let none: [Vec<&str>; 0] = [];
    let straight = files(&[
        (
            "a/mod.rs",
            "mod b;\nmod c;\npub use self::b::B;\npub use self::c::*;",
        ),
        ("a/b.rs", "pub struct B;"),
        (
            "a/c.rs",
            "use super::B;\npub fn c() {}\n#[cfg(test)]\nmod tests {\n use crate::d; }",
        ),
        ("d.rs", "use crate::a::{B, c};"),
    ]);
    assert_eq!(straight.circles(), none);
    let imports = straight.imports();
    let of = |path: &str| imports[&module(path)].clone();
    assert_eq!(of("d.rs"), [module("a/b.rs"), module("a/c.rs")].into());
    let through_a_name = files(&[
        (
            "a/mod.rs",
            "mod b;\nmod c;\npub(crate) use self::c::C as D;",
        ),
        ("a/b.rs", "pub fn b() -> super::D { todo!() }"),
        ("a/c.rs", "pub struct C;\nfn f() { super::b::b(); }"),
    ]);
    assert_eq!(through_a_name.circles(), [["a/b.rs", "a/c.rs"]]);
    let with_a_parent = files(&[
        ("a/mod.rs", "mod b;\npub const A: u8 = b::b();"),
        ("a/b.rs", "use super::A;\npub fn b() {}"),
    ]);
    assert_eq!(with_a_parent.circles(), [["a/b.rs", "a/mod.rs"]]);
}
