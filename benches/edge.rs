//! How long it takes to coalesce a million paths, and what that takes in
//! memory. `cargo bench --bench edge`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it measured"
)]

use std::time::{Duration, Instant};

use evictd::edge::coalesce::{Room, coalesce, matches};

const PATHS: usize = 1_000_000;
const ROUNDS: usize = 5;
const ROOM: Room = Room {
    singles: 3_000,
    wildcards: 15,
};

/// Paths of a shop: numbered products, slugs in categories, and users.
fn shop() -> Vec<String> {
    (0..PATHS)
        .map(|n| match n % 3 {
            0 => format!("/products/{n}"),
            1 => format!("/categories/{}/item-{n:07}", n % 1_000),
            _ => format!("/users/{:08x}", n.wrapping_mul(2_654_435_761) % (1 << 32)),
        })
        .collect()
}

/// No two share more than the slash.
fn scattered() -> Vec<String> {
    (0..PATHS)
        .map(|n| format!("/{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect()
}

/// The process's peak memory, from the kernel.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1_024.0)
}

fn main() {
    for (name, paths) in [("a shop", shop()), ("scattered", scattered())] {
        let held: usize = paths.iter().map(String::len).sum();
        let mut fastest = Duration::MAX;
        let mut covers = Vec::new();
        let before = peak_mib().unwrap();
        for _ in 0..ROUNDS {
            let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let start = Instant::now();
            paths.sort_unstable();
            paths.dedup();
            covers = coalesce(&paths, ROOM).unwrap();
            fastest = fastest.min(start.elapsed());
        }
        assert!(
            paths
                .iter()
                .step_by(997)
                .all(|path| { covers.iter().any(|cover| matches(&cover.path, path)) })
        );
        println!(
            "{name}: {PATHS} paths of {held} bytes, sorted and coalesced into {} in {:.0} ms; \
             {:.0} MiB more at the peak",
            covers.len(),
            fastest.as_secs_f64() * 1_000.0,
            peak_mib().unwrap() - before,
        );
    }
}
