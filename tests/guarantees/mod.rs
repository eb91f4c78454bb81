//! `docs/guarantees.md` names a test for every row, `docs/architecture.md` names
//! files and functions, and all of them exist.

use std::fs;
use std::path::Path;

#[test]
fn every_guarantee_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| proved by |"));
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        let tests: Vec<&str> = cells[3].split_whitespace().collect();
        assert!(!tests.is_empty(), "no test proves: {row}");
        for test in tests {
            let (file, name) = test
                .trim_matches('`')
                .split_once("::")
                .unwrap_or_else(|| panic!("{test} is no file::test"));
            let source = fs::read_to_string(root.join(file))
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(is_test(&source, name), "{file} has no test {name}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}: the table was not found");
}

/// Whether `source` has this function, with an attribute that makes it a test above.
fn is_test(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let attribute = before.rfind("test]").max(before.rfind("::test("));
    let function_before = before.rfind("\n}").max(before.rfind("\n    }"));
    attribute > function_before
}

#[test]
fn a_function_that_is_no_test_proves_nothing() {
    let source = "#[test]\nfn a() {\n}\n\nfn b() {\n}\n#[tokio::test]\nasync fn c() {}\n\n#[tokio::test(flavor = \"x\")]\nasync fn e() {}\n";
    for (name, expected) in [
        ("a", true),
        ("b", false),
        ("c", true),
        ("d", false),
        ("e", true),
    ] {
        assert_eq!(is_test(source, name), expected, "{name}");
    }
}

/// A file that `docs/architecture.md` names: below `src`, or below the
/// repository for tests.
fn named_file(file: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = ["src", ""].map(|folder| root.join(folder).join(file));
    below.iter().find_map(|path| fs::read_to_string(path).ok())
}

#[test]
fn every_file_and_function_that_the_page_about_the_architecture_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let mut named = 0;
    // What stands between two backticks is every second part.
    for name in page.split('`').skip(1).step_by(2) {
        let (file, function) = name.split_once("::").unwrap_or((name, ""));
        // A bare `login.rs` belongs to the folder that was named before it.
        if !file.ends_with(".rs") || !file.contains('/') {
            continue;
        }
        let source = named_file(file).unwrap_or_else(|| panic!("`{name}`: there is no {file}"));
        let defines = |kind: &str| {
            [format!("{kind} {function}("), format!("{kind} {function}<")]
                .iter()
                .any(|definition| source.contains(definition))
        };
        assert!(
            function.is_empty() || defines("fn"),
            "`{name}`: {file} has no function {function}"
        );
        named += 1;
    }
    assert!(named > 80, "only {named} names were found");
}
