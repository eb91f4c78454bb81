//! What the figures were measured on, and what a process used of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::servers;

/// The machine and the programs.
pub fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: f64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let mysql = version(&servers().mysqld, "Ver ");
    let redis = version(&servers().redis_server, "v=");
    format!(
        "{cores} cores of {model}, {:.0} GiB, Linux {}, MySQL {mysql}, Redis {redis}; the servers run on the same cores",
        memory_kib / 1_048_576.0,
        kernel.trim(),
    )
}

fn version(program: &Path, before: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let version = text.split_once(before).map(|(_, rest)| rest);
    let version = version.and_then(|rest| rest.split_whitespace().next());
    version.unwrap_or("unknown").to_owned()
}

/// The processor time that the threads of a process have had.
pub fn processor_time(pid: u32) -> Duration {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs") {
        let path = task.expect("its threads are listed").path();
        let stat = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let ran = stat.split_whitespace().next();
        nanos += ran.and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanos)
}

/// The most memory that a process ever had, in bytes.
pub fn resident_max(pid: impl std::fmt::Display) -> u64 {
    status(pid, "VmHWM:")
}

/// The memory that a process has, in bytes.
pub fn resident(pid: impl std::fmt::Display) -> u64 {
    status(pid, "VmRSS:")
}

/// Begins [`resident_max`] of this process anew.
pub fn forget_resident_max() {
    // Where that is not allowed, the peak of what came before counts too.
    fs::write("/proc/self/clear_refs", "5").ok();
}

fn status(pid: impl std::fmt::Display, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: u64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("Linux says how much memory is used");
    kib << 10
}
