//! Instructions for each row change, counted by valgrind, against figures that are kept in the repository. Seconds
//! depend on the machine and on who else is at work; instructions repeat.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::provision;
use super::workloads::Workload;

/// Passes over a binlog; what is done once cancels out between the two.
const PASSES: [u64; 2] = [2, 12];

/// The figures of this kind of processor.
pub type Figures = BTreeMap<String, f64>;

/// What a figure should be, and is.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub name: String,
    pub kept: Option<f64>,
    pub counted: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kept,
            counted,
        } = self;
        match kept {
            Some(kept) => {
                let per_cent = 100.0 * (counted / kept - 1.0);
                write!(
                    f,
                    "{name}: {counted:.0} instructions a change, {per_cent:+.1} % against {kept:.0}"
                )
            }
            None => write!(
                f,
                "{name}: {counted:.0} instructions a change, and no figure is kept"
            ),
        }
    }
}

/// Those of `counted` that are off by more than so many per cent, either way: who makes something faster keeps the
/// new figure, or the next one can lose it again.
pub fn off(kept: &Figures, counted: &Figures, tolerance_per_cent: f64) -> Vec<Difference> {
    let differences = counted.iter().map(|(name, counted)| Difference {
        name: name.clone(),
        kept: kept.get(name).copied(),
        counted: *counted,
    });
    differences
        .filter(|it| {
            it.kept
                .is_none_or(|kept| (it.counted / kept - 1.0).abs() * 100.0 > tolerance_per_cent)
        })
        .collect()
}

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
