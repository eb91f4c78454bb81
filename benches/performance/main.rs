//! `make bench`: what evictd does, against what the same machine can do at all in the same run. Ratios are what
//! counts: the figures move with the machine.
//!
//! `cargo bench --bench performance` measures everything and writes `docs/performance.md` with its plots;
//! `cargo bench --bench performance -- drain latency` measures these sections and prints them. `BENCH_EVICTD` names
//! another build of evictd, for a comparison.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking and prints its results"
)]

#[path = "../../tests/performance/callgrind.rs"]
mod callgrind;
mod cluster;
mod corpus;
mod cost;
mod daemon;
mod decoders;
mod drain;
mod edge;
mod figure;
mod growth;
mod latency;
mod machine;
mod outage;
mod page;
mod plot;
mod quota;
#[path = "../../tests/performance/reader.rs"]
mod reader;
mod smallest;
mod stream;
#[path = "../../tests/support/mod.rs"]
mod support;
mod workload;
#[path = "../../tests/performance/workloads.rs"]
mod workloads;

use figure::Table;
use support::provision;
use workload::World;
use workloads::Workload;

/// In the order of the page.
const SECTIONS: [&str; 8] = [
    "edge", "drain", "cost", "latency", "outage", "growth", "cluster", "decoders",
];
/// No measurement, but what instructions are counted with.
const ON_REQUEST: &str = "corpus";

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if let [read, workload, passes] = wanted.as_slice()
        && read == "read"
    {
        // What callgrind counts.
        let workload = Workload::named(workload).expect("there is such a workload");
        let passes = passes.parse().expect("passes are a number");
        println!("{} keys", workload.read(passes));
        return;
    }
    for name in &wanted {
        assert!(
            SECTIONS.contains(&name.as_str()) || name == ON_REQUEST,
            "no section {name}: there are {SECTIONS:?} and {ON_REQUEST}"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(run(&wanted));
}

async fn run(wanted: &[String]) {
    let machine = machine::describe();
    println!("{machine}\n");
    let mut table = Table::default();
    let mut plots = Vec::new();
    let mut world = World::default();
    let chosen = |name: &str| match wanted {
        [] => SECTIONS.contains(&name),
        names => names.iter().any(|wanted| wanted == name),
    };
    for name in SECTIONS.into_iter().chain([ON_REQUEST]) {
        if !chosen(name) {
            continue;
        }
        println!("{name} ...");
        match name {
            "edge" => edge::measure(&mut table),
            "drain" => plots.push(drain::measure(&mut world, &mut table).await),
            "cost" => cost::measure(&mut world, &mut table).await,
            "latency" => plots.push(latency::measure(&mut table).await),
            "outage" => outage::measure(&mut world, &mut table).await,
            "growth" => growth::measure(&mut world, &mut table).await,
            "cluster" => cluster::measure(&mut world, &mut table).await,
            "decoders" => decoders::measure(&mut world, &mut table).await,
            _ => corpus::write(&mut world).await,
        }
    }
    println!("\n{table}");
    if wanted.is_empty() {
        page::write(&machine, &table, &plots);
    }
}
