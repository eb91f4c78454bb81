//! What three workloads cost: `cargo test --test live cost -- --nocapture` prints the table of docs/cost.md.
//!
//! A naive invalidator sends every path of every changed row. Each change is committed by itself or in one
//! transaction, as the workload says, and goes through the bulk guard, the queue and the drain to a CloudFront
//! that counts what it bills. Times are scaled by forty: the window is 50 ms instead of 2 s.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evictd::buffer::{Local, Sender};
use evictd::evict::bulk_paths::{BulkGuard, BulkRule, Paths};
use evictd::evict::path_sink::{PathSink, ToBuffer};
use evictd::model::CommitTime;
use evictd::model::invalidation::Target;
use evictd::rules::budget_exempt::AlwaysPaths;

use super::quota::Bench;
use crate::support::FakeSettings;

/// Dollars for a path beyond the first thousand of a month.
const PRICE: f64 = 0.005;

struct Shop {
    bench: Bench,
    sink: ToBuffer<Local>,
    /// Every path of every changed row.
    naive: Vec<String>,
    at_us: u64,
}

impl Shop {
    async fn open() -> Self {
        let bench = Bench::start(FakeSettings::default(), None, AlwaysPaths::default()).await;
        let rule = |wildcards: &[&str]| BulkRule {
            threshold: 1_000,
            wildcards: wildcards.iter().map(|&path| path.to_owned()).collect(),
        };
        let guard = BulkGuard::new(HashMap::from([(
            "products".into(),
            rule(&["/products/*", "/categories/*", "/api/products/*"]),
        )]));
        let sink = ToBuffer::new(
            Arc::clone(&bench.queue),
            "shop".into(),
            std::iter::once(("main".into(), "E1".into())),
            guard,
            Sender::begin(),
        );
        Self {
            bench,
            sink,
            naive: Vec::new(),
            at_us: 1_763_892_000_000_000,
        }
    }

    /// Commits a change of these products in one transaction.
    async fn change(&mut self, products: impl IntoIterator<Item = u32>) {
        let rule: Arc<str> = "products".into();
        self.at_us += 1_000;
        let mut batch = Paths::default();
        batch.committed_at(CommitTime::from_micros(self.at_us));
        for product in products {
            for path in [
                format!("/products/{product}"),
                format!("/categories/{}", product % 100),
                format!("/api/products/{product}"),
            ] {
                batch.insert(&rule, Target::default(), &path);
                self.naive.push(path);
            }
        }
        let mut pending = self.sink.prepare(&batch);
        self.sink.send(&mut pending).await.unwrap();
    }

    /// What a naive invalidator and evictd pay.
    async fn bill(self, name: &str) -> (usize, usize) {
        self.bench.reached(&self.naive).await;
        let (fake, spent) = self.bench.stop().await;
        assert_eq!(spent, fake.billed(), "the cost printed is the bill");
        assert_eq!(fake.counts().over_quota, 0);
        let naive = self.naive.len();
        println!(
            "| {name} | {naive} | ${:.2} | {spent} | ${:.2} | {} |",
            f64::from(u32::try_from(naive).unwrap()) * PRICE,
            f64::from(u32::try_from(spent).unwrap()) * PRICE,
            fake.made().len(),
        );
        (naive, spent)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_of_three_workloads_is_what_is_billed() {
    println!("| workload | paths, naive | price | paths, evictd | price | invalidations |");

    // A thousand edits at forty a second; a fifth of the products takes most of them.
    let mut shop = Shop::open().await;
    let mut random = 7_u32;
    for _ in 1..1_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hot = random >> 28 < 13;
        let product = (random >> 8) % if hot { 40 } else { 5_000 };
        shop.change([product]).await;
        tokio::time::sleep(Duration::from_micros(600)).await;
    }
    // One that nothing before has sent: once it is there, all are.
    shop.change([5_000]).await;
    let (naive, paid) = shop.bill("single edits").await;
    assert!(paid < naive, "equal paths of one window go once");

    // UPDATE products SET price = price * 1.1
    let mut shop = Shop::open().await;
    for part in 0..50 {
        shop.at_us -= 1_000; // One commit time, as the batches of one transaction have.
        shop.change(part * 1_000..(part + 1) * 1_000).await;
    }
    let (_, paid) = shop.bill("bulk price update").await;
    assert!(paid < 300, "{paid}");

    // The 600 products of one category.
    let mut shop = Shop::open().await;
    shop.change((0..600).map(|n| n * 100 + 42)).await;
    let (_, paid) = shop.bill("category rename").await;
    assert!(paid <= 3, "{paid}");
}
