//! Counts the instructions that a row change takes, and compares them with `tests/performance/instructions.toml`.
//!
//! `make test` compares, and `make instructions` replaces the file.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it prints what it counted, and ends with the reason when it cannot count"
)]

#[path = "../tests/performance/callgrind.rs"]
mod callgrind;
#[path = "../tests/performance/instructions.rs"]
mod instructions;
#[path = "../tests/support/provision.rs"]
mod provision;
#[path = "../tests/performance/reader.rs"]
mod reader;
#[path = "../tests/performance/workloads.rs"]
mod workloads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use callgrind::count;
use instructions::{Figures, off};
use provision::provision;
use workloads::{WORKLOADS, Workload};

/// How far off a figure may be, in per cent: C libraries and processors differ.
const TOLERANCE_PER_CENT: f64 = 5.0;

const HEAD: &str = "\
# Instructions for each row change, from the bytes of a binlog to a batch of keys, as callgrind counts them.
# `make test` compares where processor and compiler are the same, `make instructions` writes this file. The workloads
# are in workloads.rs.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["read", workload, passes] => {
            let workload = Workload::named(workload).expect("there is such a workload");
            let passes = passes.parse().expect("passes are a number");
            println!("{} keys", workload.read(passes));
            ExitCode::SUCCESS
        }
        ["check"] => check(),
        ["update"] => {
            update();
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: instructions check | update | read WORKLOAD PASSES");
            ExitCode::FAILURE
        }
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/performance/instructions.toml")
}

/// The figures on file, by kind of processor and compiler.
fn kept() -> BTreeMap<String, Figures> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    toml::from_str(&text).expect("the figures are TOML")
}

/// What the figures depend on.
fn built_with() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output();
    let output = output.expect("the compiler says its version");
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    // The hash and the date at its end are left out.
    let version: Vec<&str> = version.split_whitespace().take(2).collect();
    format!("{}, {}", std::env::consts::ARCH, version.join(" "))
}

fn counted() -> Figures {
    let program = std::env::current_exe().expect("it is a program");
    let figures = WORKLOADS.map(|workload| {
        let counted = count(&program, &workload);
        println!("{}: {counted:.0} instructions a change", workload.name);
        (workload.name.to_owned(), counted.round())
    });
    figures.into()
}

fn check() -> ExitCode {
    let built_with = built_with();
    let Some(kept) = kept().remove(&built_with) else {
        eprintln!(
            "instructions NOT COMPARED: no figures are kept for {built_with}; `make instructions` adds them"
        );
        return ExitCode::SUCCESS;
    };
    let off = off(&kept, &counted(), TOLERANCE_PER_CENT);
    if off.is_empty() {
        return ExitCode::SUCCESS;
    }
    for difference in off {
        eprintln!("error: {difference}");
    }
    eprintln!(
        "more than {TOLERANCE_PER_CENT} % off: find out why (valgrind --tool=callgrind {} read WORKLOAD 10), \
         or keep the new figures with `make instructions` and say in the commit what they buy",
        std::env::current_exe().unwrap_or_default().display()
    );
    ExitCode::FAILURE
}

fn update() {
    let mut all = kept();
    all.insert(built_with(), counted());
    let figures = toml::to_string(&all).expect("figures are TOML");
    std::fs::write(file(), format!("{HEAD}\n{figures}")).expect("the figures can be written");
}
