//! A Redis Cluster: one primary, and several that share the keys.

use std::time::Duration;

use crate::daemon::{Daemon, Run, users_rule};
use crate::drain::PREFIXES;
use crate::figure::{Figure, Table, Wanted};
use crate::quota::Quota;
use crate::support::{Redis, eventually};
use crate::workload::{ROWS, Stretch, World, fill_keys, redis, redis_cli};

const SLOTS: usize = 16_384;
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);
const ROUNDS: usize = 2;

/// What a slow primary may use of a core: four of them leave evictd and MySQL one.
const SLOW_CORES: f64 = 0.15;

/// How much of a primary's work may be lost for each one more.
const SCALING_MIN: f64 = 0.8;

pub async fn measure(world: &mut World, table: &mut Table) {
    table.section("Redis Cluster: row changes a second, one key each");
    let many = world.many().await;
    let rules = users_rule(&PREFIXES[..1]);
    let mut alone = 0_f64;
    for _ in 0..ROUNDS {
        fill_keys(world.redis(), &PREFIXES[..1], ROWS, &many.ends());
        let run = crate::daemon::drain(world.mysql(), world.redis(), &many, &rules).await;
        alone = alone.max(run.rate(ROWS));
    }
    for primaries in [1, 3] {
        let run = best(world, &many, &rules, primaries, None).await;
        let names = [
            "no primary",
            "one primary",
            "two primaries",
            "three primaries",
        ];
        let rate = run.rate(ROWS);
        table.add(Figure::rate(names[primaries], rate, "no cluster", alone));
        let what = format!("processor time of evictd a change, primaries: {primaries}");
        let share = run.processor.as_secs_f64() / run.took.as_secs_f64();
        let each = run.each_us(ROWS);
        table.add(Figure::compared(
            what,
            each,
            "µs",
            "cores in use, µs",
            each / share,
        ));
    }
    scaling(world, &many, &rules, table).await;
}

/// Here all primaries share the cores with evictd, and more of them are no more work done. Where each has a small part
/// of a core and no more, they are what the drain waits for.
async fn scaling(world: &World, many: &Stretch, rules: &str, table: &mut Table) {
    let nodes = cluster(1).await;
    if let Err(error) = Quota::hold(&nodes, SLOW_CORES) {
        println!("  scaling NOT MEASURED: processes cannot be held to a part of a core: {error}");
        return;
    }
    drop(nodes);
    let part = format!("{:.0} % of a core each", 100.0 * SLOW_CORES);
    let one = best(world, many, rules, 1, Some(SLOW_CORES))
        .await
        .rate(ROWS);
    for primaries in [2, 4] {
        let rate = best(world, many, rules, primaries, Some(SLOW_CORES))
            .await
            .rate(ROWS);
        let what = format!("primaries with {part}: {primaries}");
        let wanted = Wanted::AtLeast(SCALING_MIN * primaries as f64);
        table.add(Figure::rate(what, rate, "one such primary", one).wanting(wanted));
    }
}

async fn best(
    world: &World,
    stretch: &Stretch,
    rules: &str,
    primaries: usize,
    cores: Option<f64>,
) -> Run {
    let nodes = cluster(primaries).await;
    let mut best: Option<Run> = None;
    for _ in 0..ROUNDS {
        let run = drain(world, &nodes, stretch, rules, cores).await;
        best = Some(best.map_or(run, |before| before.better(run)));
    }
    best.expect("there was a round")
}

/// Primaries without replicas, which would take the same cores.
async fn cluster(primaries: usize) -> Vec<Redis> {
    let mut nodes = Vec::new();
    for _ in 0..primaries {
        nodes.push(redis(&["--cluster-enabled", "yes"]).await);
    }
    let first_port = nodes[0].port().to_string();
    for (index, node) in nodes.iter().enumerate() {
        let (first, next) = (index * SLOTS / primaries, (index + 1) * SLOTS / primaries);
        let range = [first.to_string(), (next - 1).to_string()];
        redis_cli(node, &["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
        let epoch = (index + 1).to_string();
        redis_cli(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
    }
    for node in &nodes[1..] {
        redis_cli(node, &["CLUSTER", "MEET", "127.0.0.1", &first_port]);
    }
    eventually(
        "the cluster serves every slot",
        HEALTHY_WITHIN,
        async || {
            for node in &nodes {
                let mut conn = node.conn().await;
                let info: String = redis::cmd("CLUSTER")
                    .arg("INFO")
                    .query_async(&mut conn)
                    .await
                    .ok()?;
                let known = format!("cluster_known_nodes:{primaries}");
                if !info.contains("cluster_state:ok") || !info.contains(&known) {
                    return None;
                }
            }
            Some(())
        },
    )
    .await;
    nodes
}

/// Every node gets all keys, which is quick; evictd deletes from each what it serves, and the others' are left.
async fn drain(
    world: &World,
    nodes: &[Redis],
    stretch: &Stretch,
    rules: &str,
    cores: Option<f64>,
) -> Run {
    let mut caches = Vec::new();
    for node in nodes {
        fill_keys(node, &PREFIXES[..1], ROWS, &[]);
        caches.push(node.conn().await);
    }
    let _held = cores.map(|cores| Quota::hold(nodes, cores).expect("processes can be held"));
    // What is deleted in the first second of a drain is deleted twice: the more, the faster it is.
    let settling = match cores {
        Some(_) => "settle_after = \"off\"",
        None => "",
    };
    let config = format!("url = \"{}\"\ncluster = true\n{settling}", nodes[0].url());
    let start = format!("{}:{}", stretch.file, stretch.offset);
    let daemon = Daemon::start(world.mysql(), &config, &start, rules).await;
    let left_over = ROWS * (nodes.len() as u64 - 1);
    // Asking is work too, for primaries that have little.
    let every = match cores {
        Some(_) => Duration::from_millis(20),
        None => Duration::from_millis(1),
    };
    loop {
        let mut left = 0;
        for cache in &mut caches {
            let keys: u64 = redis::cmd("DBSIZE")
                .query_async(cache)
                .await
                .expect("Redis answers");
            left += keys;
        }
        let run = daemon.so_far();
        assert!(
            left >= left_over,
            "keys went from nodes that do not serve them"
        );
        if left == left_over {
            return run;
        }
        assert!(run.took < Duration::from_secs(180), "{left} keys are left");
        tokio::time::sleep(every).await;
    }
}
