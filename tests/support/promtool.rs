//! Prometheus' own check of metrics and alert rules.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::provision::provision;
use super::servers::cache_dir;

/// The program that `scripts/provision promtool` found or unpacked, once per process.
fn promtool() -> &'static Path {
    static PROMTOOL: OnceLock<PathBuf> = OnceLock::new();
    PROMTOOL.get_or_init(|| {
        provision("promtool");
        cache_dir().join("bin/promtool")
    })
}

/// Runs it with `input` and returns what it printed. Panics if it finds anything wrong.
pub fn run_promtool(args: &[&str], input: &str) -> String {
    let mut child = Command::new(promtool())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be run");
    let mut stdin = child.stdin.take().expect("it is piped");
    // One that reads no input has closed it.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("promtool ends");
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    assert!(status.success(), "promtool {args:?}: {status}\n{text}");
    text.into_owned()
}
