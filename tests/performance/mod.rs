//! Whether a change that costs more is found: `make test` counts instructions after these tests.

mod callgrind;
mod instructions;
mod reader;
mod workloads;

use std::path::PathBuf;

use callgrind::count;
use instructions::{Figures, off};
use workloads::{WORKLOADS, Workload};

use crate::support::provision;

fn figures(figures: &[(&str, f64)]) -> Figures {
    let figures = figures.iter().copied();
    figures
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

#[test]
fn a_figure_that_is_off_by_more_than_the_tolerance_is_named_whichever_way() {
    let kept = figures(&[("rows", 1_000.0), ("keys", 2_000.0)]);
    for (rows, expected) in [
        (1_000.0, 0),
        (1_049.0, 0),
        (951.0, 0),
        (1_051.0, 1),
        (949.0, 1),
    ] {
        let counted = figures(&[("rows", rows), ("keys", 2_000.0)]);
        assert_eq!(off(&kept, &counted, 5.0).len(), expected, "{rows}");
    }
    let counted = figures(&[("rows", 1_100.0), ("more", 1.0)]);
    let said: Vec<String> = off(&kept, &counted, 5.0)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "more: 1 instructions a change, and no figure is kept",
            "rows: 1100 instructions a change, +10.0 % against 1000",
        ]
    );
}

#[test]
fn the_binlogs_have_as_many_changes_as_they_say() {
    for workload in WORKLOADS {
        let keys = workload.read(1);
        let changes = usize::try_from(workload.changes).unwrap();
        let expected = match workload.rules {
            "" => 0..=0,
            // A hundred tenants at most have a key that rows share.
            _ => changes..=changes * 5,
        };
        assert!(expected.contains(&keys), "{}: {} keys", workload.name, keys);
    }
}

/// Of the program as tests are built: what is compared with the kept figures is optimised.
#[test]
fn counts_repeat_and_more_work_is_found() {
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/instructions");
    let of = |name: &str| figures(&[("", count(&program, &Workload::named(name).unwrap()))]);
    let one_key = of("one key");
    assert_eq!(off(&one_key, &of("one key"), 0.1), []);
    assert_eq!(off(&one_key, &of("five keys"), 5.0).len(), 1);
}
