//! A million paths: coalesced, and packed into requests to SQS.

use std::time::{Duration, Instant};

use evictd::buffer::{Message, Recipient, message, pack};
use evictd::edge::cover::coalesce::{Room, coalesce, matches};

use crate::figure::{Figure, Table};
use crate::machine::{forget_resident_max, resident, resident_max};

const PATHS: usize = 1_000_000;
const ROUNDS: usize = 3;
const ROOM: Room = Room {
    singles: 3_000,
    wildcards: 15,
};

const SECONDS_MAX: f64 = 1.0;
const REQUESTS_MAX: f64 = 200.0;

/// Entries and bytes of one SendMessageBatch (SQS quotas, "Batched message").
const ENTRIES_MAX: usize = 10;
const REQUEST_BYTES_MAX: usize = 1_048_576;

pub fn measure(table: &mut Table) {
    table.section("Edge: a million paths");
    for (name, paths) in [("a shop's", shop()), ("scattered", scattered())] {
        let before = resident("self");
        forget_resident_max();
        let mut fastest = Duration::MAX;
        let mut covers = Vec::new();
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
                .all(|path| covers.iter().any(|cover| matches(&cover.path, path)))
        );
        let more = resident_max("self").saturating_sub(before) as f64 / 1_048_576.0;
        let what = format!("{name} coalesced into {}, {more:.0} MiB more", covers.len());
        let seconds = fastest.as_secs_f64();
        table.add(Figure::limited(what, seconds, SECONDS_MAX, "s"));
        let requests = requests(&paths) as f64;
        let what = format!("{name}, requests to SQS");
        table.add(Figure::limited(what, requests, REQUESTS_MAX, "requests"));
    }
}

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

/// How many requests carry the messages of these paths, each filled as SQS allows.
fn requests(paths: &[String]) -> usize {
    let to = Recipient {
        source: "shop".into(),
        distribution: "main".into(),
        distribution_id: Some("E1".into()),
        tenant: None,
    };
    let messages: Vec<Message> = pack(&to, paths.iter().cloned(), None);
    let (mut requests, mut entries, mut bytes) = (0, ENTRIES_MAX, 0);
    for it in &messages {
        let body = message::encode(it).unwrap();
        if entries == ENTRIES_MAX || bytes + body.len() > REQUEST_BYTES_MAX {
            (requests, entries, bytes) = (requests + 1, 0, 0);
        }
        entries += 1;
        bytes += body.len();
    }
    requests
}
