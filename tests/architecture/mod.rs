//! The structure of the sources, read out of them: who may import whom, no
//! circles, a map of every folder, one name for one type, files of one concept.

mod circles;
mod imports;
mod maps;
mod names;
pub mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file, relative to `src`, sorted.
pub fn sources() -> Vec<String> {
    fn collect(directory: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push(path);
            }
        }
    }
    let (src, mut files) = (src(), Vec::new());
    collect(&src, &mut files);
    let relative = |file: PathBuf| file.strip_prefix(&src).unwrap().display().to_string();
    let mut files: Vec<String> = files.into_iter().map(relative).collect();
    files.sort();
    assert!(files.len() > 50, "only {} files were found", files.len());
    files
}

pub fn text(path: &str) -> String {
    fs::read_to_string(src().join(path)).unwrap()
}

/// Whether all of a file is a test.
pub fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    path.contains("/tests/") || matches!(name, "tests.rs" | "fakes.rs")
}
