//! `docs/performance.md`, and the plots beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::figure::{HEAD, Table};
use crate::plot::Plot;

const INTRODUCTION: &str = "\
This page compares what evictd does with what the same machine can do at all, in the same run. `make bench` measures
everything and writes this page; `cargo bench --bench performance -- drain` measures one section and prints it. Figures
vary with the machine, ratios much less: compare the ratios.

- The *bare stream* is `mysql_async` reading the same binlog from the same server without decoding a row: the least
  that any reader pays. `redis-benchmark -P 100` deletes keys that were set before, one UNLINK each.
- A drain measurement begins with the first event and ends when the last key is gone, proved by an empty Redis. The best
  of three rounds counts, since everything that disturbs a measurement makes it slower. MySQL, Redis and evictd share
  the cores.
- The *smallest possible client* reads the same commits at the same time and deletes keys of its own: a stream, a
  wait until the rows are visible, one UNLINK for everything that came meanwhile. It has no rules, settles nothing
  and stores no position.
- Processor time is that of all of evictd's threads, including the kernel's work for them. Instructions are counted from
  the bytes of a binlog to a batch of keys, by callgrind in the optimised build, and are repeatable.
  `make test` counts them in a build that takes less time to make, and compares them with
  `tests/performance/instructions.toml`.
- A cluster's primaries share the cores with everything else, so more primaries are no faster. Whether the drain
  scales with them is measured with primaries that are limited to a part of a core.
- Growth in rules, tables and columns is measured in one process, from the bytes of a binlog to batches of keys.
";

/// Writes the page and its plots.
pub fn write(machine: &str, table: &Table, plots: &[Plot]) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut page = format!("# Performance\n\n{INTRODUCTION}\nMeasured on {machine}.\n");
    for (title, figures) in &table.sections {
        write!(page, "\n## {title}\n\n").expect("a string takes it");
        row(&mut page, &HEAD.map(str::to_owned));
        page.push_str("|---|---:|---:|---:|---|\n");
        for figure in figures {
            row(&mut page, &figure.cells());
        }
        for plot in plots {
            if title.to_lowercase().starts_with(stem(plot)) {
                write!(page, "\n![{}]({})\n", plot.title, plot.file).expect("a string takes it");
            }
        }
    }
    let missed: Vec<&str> = table
        .sections
        .iter()
        .flat_map(|(_, figures)| figures)
        .filter(|figure| !figure.holds())
        .map(|figure| figure.what.as_str())
        .collect();
    if !missed.is_empty() {
        write!(page, "\nMissed: {}.\n", missed.join("; ")).expect("a string takes it");
    }
    fs::write(docs.join("performance.md"), page).expect("docs can be written");
    for plot in plots {
        fs::write(docs.join(plot.file), plot.svg()).expect("docs can be written");
    }
    println!("written: docs/performance.md and {} plots", plots.len());
}

fn stem(plot: &Plot) -> &str {
    plot.file.trim_end_matches(".svg")
}

fn row(page: &mut String, cells: &[String]) {
    writeln!(page, "| {} |", cells.join(" | ")).expect("a string takes it");
}
