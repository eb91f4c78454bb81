//! One name for one type, and files of one concept.

use std::collections::BTreeMap;

use super::tokens::{code, tokens};
use super::{is_test, sources, text};

/// The most lines of code in a file. Its own tests do not count.
const LINES_MAX: usize = 400;

/// Names that Rust's own convention gives to a type of every module.
const CONVENTIONAL: [&str; 2] = ["Error", "Builder"];

/// The types that a file defines outside of functions and implementations.
fn types(source: &str) -> Vec<String> {
    let tokens = tokens(code(source));
    let mut depth = 0;
    let mut out = Vec::new();
    for (index, (_, word)) in tokens.iter().enumerate() {
        match word.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" | "type" | "union" if depth == 0 => {
                let name = tokens.get(index + 1).map(|(_, name)| name.clone());
                out.extend(name.filter(|name| name.starts_with(char::is_uppercase)));
            }
            _ => {}
        }
    }
    out
}

#[test]
fn no_two_types_of_the_crate_have_one_name() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources().into_iter().filter(|path| !is_test(path)) {
        for name in types(&text(&path)) {
            files.entry(name).or_default().push(path.clone());
        }
    }
    assert!(files.len() > 300, "only {} types were found", files.len());
    files.retain(|name, files| files.len() > 1 && !CONVENTIONAL.contains(&name.as_str()));
    assert!(files.is_empty(), "{files:#?}");
}

#[test]
fn types_are_found_where_they_are_defined_and_nowhere_else() {
    let source = "pub struct A<T>(T);\n/// struct No\nenum B { C }\nimpl D for A { type E = u8; }\n\
        pub(crate) trait F { type G; }\ntype H = u8;\nfn f() { struct I; }\n\
        #[cfg(test)]\nmod tests {\n    struct J;\n}\n";
    assert_eq!(types(source), ["A", "B", "F", "H"]);
}

#[test]
fn no_file_holds_more_than_one_concept_needs() {
    let long = |path: &String| {
        let lines = code(&text(path)).lines().count();
        (lines > LINES_MAX).then(|| format!("src/{path}: {lines} lines of code"))
    };
    let long: Vec<String> = sources()
        .iter()
        .filter(|path| !is_test(path))
        .filter_map(long)
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}
