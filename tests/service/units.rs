//! The units: systemd knows every setting in them, and finds the services as closed as they are meant to be.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{EVICTD, outcome, repository, text};
use crate::support::{provision, scratch};

/// Highest exposure of a service, on systemd's scale from 0 to 10.
const EXPOSURE_MAX: f64 = 1.5;

const UNITS: [&str; 2] = ["evictd.service", "evictd-drain@.service"];

/// Copies of the units that name the program of this build. `change` edits the text.
fn units(change: impl Fn(&str) -> String) -> (TempDir, Vec<PathBuf>) {
    let dir = scratch("units");
    let paths = UNITS.map(|unit| {
        let text = std::fs::read_to_string(repository().join("systemd").join(unit)).unwrap();
        let path = dir.path().join(unit.replace('@', "@shop"));
        std::fs::write(&path, change(&text).replace("/usr/bin/evictd", EVICTD)).unwrap();
        path
    });
    (dir, paths.to_vec())
}

fn analyze(args: &[&str], unit: &PathBuf) -> (bool, String) {
    let mut command = Command::new(provision("systemd"));
    let output = outcome(command.args(args).arg(unit));
    (output.status.success(), text(&output))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    // The manual pages are only where the package installs them.
    let verify = ["verify", "--man=no"];
    let (_dir, paths) = units(str::to_owned);
    for unit in paths {
        let (good, said) = analyze(&verify, &unit);
        assert!(good, "{said}");
        assert_eq!(said.lines().count(), 1, "a warning: {said}");
    }
    let (_dir, paths) = units(|text| text.replace("WatchdogSec=", "WatchDogSec="));
    for unit in paths {
        let (_, said) = analyze(&verify, &unit);
        assert!(
            said.contains("WatchDogSec"),
            "a mistake is not noticed: {said}"
        );
    }
}

fn exposure(unit: &PathBuf) -> f64 {
    let (_, said) = analyze(&["security", "--no-pager", "--offline=true"], unit);
    let (_, figure) = said
        .split_once("Overall exposure level for ")
        .unwrap_or_else(|| panic!("{said}"));
    figure.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_services_are_closed_to_everything_but_what_they_need() {
    let (_dir, paths) = units(str::to_owned);
    for unit in paths {
        let figure = exposure(&unit);
        assert!(figure <= EXPOSURE_MAX, "{}: {figure}", unit.display());
    }
    let opened = |text: &str| {
        text.replace("SystemCallFilter=", "#")
            .replace("CapabilityBoundingSet=", "#")
    };
    let (_dir, paths) = units(opened);
    for unit in paths {
        let figure = exposure(&unit);
        assert!(figure > EXPOSURE_MAX, "{}: {figure}", unit.display());
    }
}

#[test]
fn the_two_units_are_closed_in_the_same_way() {
    let closed = |unit: &str| {
        let text = std::fs::read_to_string(repository().join("systemd").join(unit)).unwrap();
        let (_, closed) = text.split_once("# What it needs:").unwrap();
        let (closed, _) = closed.split_once("[Install]").unwrap();
        closed.to_owned()
    };
    assert_eq!(closed(UNITS[0]), closed(UNITS[1]));
}
