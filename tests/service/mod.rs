//! evictd as a service: its notifications to systemd, its units, its package, its image, and its definitions for ECS.

mod booted;
mod image;
mod notify;
mod package;
mod rights;
mod units;

use std::path::Path;
use std::process::{Command, Output};

const EVICTD: &str = env!("CARGO_BIN_EXE_evictd");

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command and returns what it printed. Panics if it fails.
fn succeeds(command: &mut Command) -> String {
    let output = outcome(command);
    assert!(output.status.success(), "{command:?}\n{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn outcome(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream));
    format!("{}\n{stdout}{stderr}", output.status)
}

/// A script of the repository.
fn script(name: &str) -> Command {
    Command::new(repository().join("scripts").join(name))
}

/// `program` as root: of a user namespace of its own, unless this is root already.
fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let root = succeeds(Command::new("id").arg("-u")).trim() == "0";
    if root {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--"])
        .arg(program);
    command
}
