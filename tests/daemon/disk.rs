//! A disk without room for anything that evictd keeps: checkpoint, queue, budget, ledger.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::shop::{Shop, USERS, WITHIN, start, stop};
use crate::support::{Disk, Evictd, MysqlOptions, eventually, shared_aws};

/// The queue's file alone takes a megabyte and a half.
const SIZE: &str = "6m";

struct Kept<'a> {
    shop: &'a Shop,
    disk: &'a Disk,
    distribution: &'a str,
}

impl Kept<'_> {
    /// One transaction for each user, whose keys are cached before. `unused:ID` stays.
    async fn change(&self, users: RangeInclusive<u32>) {
        let keys: Vec<String> = users
            .clone()
            .map(|id| format!("user:{id}:profile"))
            .collect();
        self.shop.fill(&keys).await;
        for id in users {
            self.shop
                .sql(&format!("INSERT INTO users (id) VALUES ({id})"))
                .await;
        }
    }

    async fn deleted(&self, users: RangeInclusive<u32>, evictd: &Evictd) {
        let keys: Vec<String> = users.map(|id| format!("user:{id}:profile")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.shop.gone(&keys, evictd).await;
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.disk.path().join(name)).ok()
    }

    /// Waits until every path has reached the edge and the position is stored.
    async fn invalidated(&self, mut missing: HashSet<String>) {
        eventually("every path is invalidated", WITHIN + WITHIN, async || {
            for path in shared_aws()
                .await
                .invalidated_paths(self.distribution)
                .await
            {
                missing.remove(&path);
            }
            missing.is_empty().then_some(())
        })
        .await;
        let (_, _, gtids) = self.shop.end().await;
        eventually("the checkpoint is at the end", WITHIN, async || {
            let stored = self.file("shop.checkpoint.json")?;
            let stored: serde_json::Value = serde_json::from_str(&stored).ok()?;
            (stored["gtid_set"] == gtids.as_str()).then_some(())
        })
        .await;
    }

    /// Waits until every path has reached the edge and everything is stored.
    async fn stored(&self, users: RangeInclusive<u32>, evictd: &Evictd) {
        self.invalidated(users.map(|id| format!("/users/{id}")).collect())
            .await;
        eventually("the ledger is written", WITHIN, async || {
            let letters = self.file("shop.dead-letters.jsonl")?;
            letters.contains("held-by-another").then_some(())
        })
        .await;
        assert!(self.file("shop.budget.json").is_some(), "{}", evictd.tail());
    }
}

async fn tiny_disk(shop: &Shop, size: &str) -> Disk {
    let disk = Disk::mount(shop.dir.path(), size).await;
    assert!(
        disk.is_tiny(),
        "this machine does not let users mount a file system in a namespace of their own: allow unprivileged user namespaces"
    );
    disk
}

#[tokio::test]
async fn a_full_disk_holds_no_deletion_up_and_everything_is_stored_once_there_is_room() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let aws = shared_aws().await;
    let distribution = aws.create_distribution("disk").await;
    let disk = tiny_disk(&shop, SIZE).await;
    let inside = disk.inside();
    let config = shop
        .config()
        .checkpoint_file(&inside.join("shop.checkpoint.json"))
        .rest(&format!(
            "[buffer]\nkind = \"local\"\npath = \"{}\"\n[cloudfront]\nwindow = \"100ms\"\n\
             calls_per_second = 10\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"{distribution}\"\n\
             monthly_path_budget = 1000000\n{USERS}\npaths = [\"/users/{{id}}\"]\n\
             hash_fields = [{{ key = \"held-by-another\", field = \"{{id}}\" }}]",
            inside.join("shop.queue").display()
        ));
    let options = disk.on_it(config.options().envs(aws.env()));
    let kept = Kept {
        shop: &shop,
        disk: &disk,
        distribution: &distribution,
    };
    let mut evictd = start(&options).await;
    kept.change(1..=3).await;
    kept.deleted(1..=3, &evictd).await;

    disk.fill();
    let before = kept.file("shop.checkpoint.json").expect("it was stored");
    // No hash: refused for good, which is put on record.
    shop.fill(&["held-by-another"]).await;
    kept.change(4..=60).await;
    kept.deleted(4..=60, &evictd).await;
    evictd.wait_for_line("No space left", WITHIN).await;
    assert_eq!(
        kept.file("shop.checkpoint.json").as_ref(),
        Some(&before),
        "there is no room for another"
    );
    disk.empty();
    kept.stored(1..=60, &evictd).await;

    // The same, and the process dies with what it could not store.
    disk.fill();
    kept.change(61..=80).await;
    kept.deleted(61..=80, &evictd).await;
    evictd.kill();
    disk.empty();
    let evictd = start(&options).await;
    kept.stored(1..=80, &evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_disk_that_the_record_of_invalidations_fills_has_room_for_the_checkpoint() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let aws = shared_aws().await;
    let distribution = aws.create_distribution("record").await;
    let disk = tiny_disk(&shop, "192k").await;
    let long = "x".repeat(1_000);
    let config = shop
        .config()
        .checkpoint_file(&disk.inside().join("shop.checkpoint.json"))
        .rest(&format!(
            "[buffer]\nkind = \"local\"\npath = \"{}\"\n[cloudfront]\nwindow = \"100ms\"\n\
             calls_per_second = 10\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"{distribution}\"\n\
             {USERS}\npaths = [\"/users/{{id}}/{long}\"]",
            shop.dir.path().join("shop.queue").display()
        ));
    let options = disk.on_it(config.options().envs(aws.env()));
    let kept = Kept {
        shop: &shop,
        disk: &disk,
        distribution: &distribution,
    };
    let paths =
        |users: RangeInclusive<u32>| users.map(|id| format!("/users/{id}/{long}")).collect();
    let mut evictd = start(&options).await;
    // More than the disk holds.
    kept.change(1..=300).await;
    evictd
        .wait_for_line("an invalidation is not on record", WITHIN)
        .await;
    kept.invalidated(paths(1..=300)).await;

    // Nothing of it keeps a successor from its work.
    evictd.kill();
    let evictd = start(&options).await;
    kept.change(301..=310).await;
    kept.invalidated(paths(1..=310)).await;
    stop(evictd).await;
}
