//! How many instructions a row change takes, counted by valgrind.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::provision;
use super::workloads::Workload;

/// Passes over a binlog; what is done once cancels out between the two.
const PASSES: [u64; 2] = [2, 12];

/// Counts what `program` executes for each change of a workload. It is run as `PROGRAM read WORKLOAD PASSES`.
pub fn count(program: &Path, workload: &Workload) -> f64 {
    let [few, many] = PASSES.map(|passes| executed(program, workload.name, passes));
    (many - few) as f64 / ((PASSES[1] - PASSES[0]) * workload.changes) as f64
}

fn executed(program: &Path, workload: &str, passes: u64) -> u64 {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let out = directory.path().join("callgrind.out");
    let output = Command::new(valgrind())
        .args(["--tool=callgrind", "--error-exitcode=99"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["read", workload, &passes.to_string()])
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{workload}: {said}");
    let text = std::fs::read_to_string(&out).expect("callgrind writes what it counted");
    text.lines()
        .find_map(|line| {
            line.strip_prefix("totals: ")
                .or(line.strip_prefix("summary: "))
        })
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("{workload}: callgrind counted nothing\n{said}"))
}

/// Found, or unpacked like the servers.
fn valgrind() -> PathBuf {
    PathBuf::from(provision("valgrind"))
}
