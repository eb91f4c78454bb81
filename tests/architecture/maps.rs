//! Every folder has a `mod.rs` that maps all of its files, a line each.

use std::collections::BTreeSet;

use super::{sources, text};

/// The names that the list in a file's first comment explains.
fn mapped(source: &str) -> BTreeSet<String> {
    let comment = source.lines().take_while(|line| line.starts_with("//!"));
    let mut out = BTreeSet::new();
    for line in comment.filter_map(|line| line.strip_prefix("//! - ")) {
        let Some((names, what)) = line.split_once(": ") else {
            continue;
        };
        let names: Vec<&str> = names.split(", ").collect();
        let names = names
            .iter()
            .map(|name| name.strip_prefix('`')?.strip_suffix('`'));
        if let Some(names) = names.collect::<Option<Vec<&str>>>()
            && !what.is_empty()
            && names.iter().all(|name| is_module(name))
        {
            out.extend(names.into_iter().map(str::to_owned));
        }
    }
    out
}

/// Whether a module can have this name.
fn is_module(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn every_folder_maps_its_files() {
    let files = sources();
    let folders: BTreeSet<&str> = files
        .iter()
        .filter_map(|path| Some(path.rsplit_once('/')?.0))
        .collect();
    let mut wrong = Vec::new();
    for folder in folders {
        let map = format!("{folder}/mod.rs");
        if !files.contains(&map) {
            wrong.push(format!("src/{folder} has no mod.rs"));
            continue;
        }
        let inside = files
            .iter()
            .filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'))
            .filter(|path| *path != "mod.rs");
        let there: BTreeSet<String> = inside
            .map(|path| {
                path.split('/')
                    .next()
                    .unwrap()
                    .trim_end_matches(".rs")
                    .to_owned()
            })
            .collect();
        let mapped = mapped(&text(&map));
        for name in there.difference(&mapped) {
            wrong.push(format!("src/{map} does not map `{name}`"));
        }
        for name in mapped.difference(&there) {
            wrong.push(format!("src/{map} maps `{name}`, which is not there"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_map_is_a_list_of_names_that_are_explained() {
    let source = "//! A room.\n//!\n//! - `a`: what it is.\n//! - `b`, `c`: two,\n//!   explained.\n\
        //! - **No**: a property.\n//! - `d`\n//! - `<name>.log`: a file.\n\nmod e;\n//! - `f`: too late.\n";
    let expected = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(mapped(source), expected.into());
}
