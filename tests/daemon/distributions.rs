//! Where paths go when a configuration changes what a distribution's name stands for, or which distributions a rule
//! names.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;

use super::shop::{Shop, WITHIN, start, stop};
use crate::support::{Evictd, FakeCloudFront, FakeSettings, eventually, shared_aws};

/// `[buffer]` and what follows, for rules whose paths go to `distributions`.
fn rest(shop: &Shop, distributions: &str, ids: &[(&str, &str)]) -> String {
    let file = shop.dir.path().join("queue.redb");
    let mut text = format!(
        "[buffer]\nkind = \"local\"\npath = \"{}\"\n[cloudfront]\nwindow = \"50ms\"\ncalls_per_second = 50\n",
        file.display()
    );
    for (name, id) in ids {
        text += &format!("[[cloudfront.distribution]]\nname = \"{name}\"\nid = \"{id}\"\n");
    }
    text + &format!(
        "[[rule]]\nname = \"users\"\ntables = [\"$db.users\"]\npaths = [\"/users/{{id}}\"]\ndistributions = {distributions}\n"
    )
}

async fn started(shop: &Shop, fake: &FakeCloudFront, rest: &str) -> Evictd {
    let options = shop.config().rest(rest).options();
    let options = options.envs(shared_aws().await.env());
    start(&options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())).await
}

/// Inserts users from `from` on, one after the other, until `enough` says so, and returns the next id.
async fn insert_until(shop: &Shop, from: u32, enough: impl Fn(u32) -> bool) -> u32 {
    let mut id = from;
    while !enough(id) {
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
        id += 1;
    }
    id
}

fn pages(ids: std::ops::Range<u32>) -> BTreeSet<String> {
    ids.map(|id| format!("/users/{id}")).collect()
}

async fn reach(fake: &FakeCloudFront, distribution: &str, ids: std::ops::Range<u32>) {
    reach_within(fake, distribution, ids, WITHIN).await;
}

async fn reach_within(
    fake: &FakeCloudFront,
    distribution: &str,
    ids: std::ops::Range<u32>,
    within: Duration,
) {
    let expected = pages(ids);
    eventually("they reach the distribution", within, async || {
        let got: BTreeSet<String> = fake.of_distribution(distribution).into_iter().collect();
        expected.is_subset(&got).then_some(())
    })
    .await;
}

/// Has the file replaced, and waits under load until it is in use. Returns the next id.
async fn reload(shop: &Shop, evictd: &mut Evictd, rest: &str, from: u32) -> u32 {
    evictd.rewrite(&shop.config().rest(rest).text());
    evictd.signal("HUP");
    let loaded = || {
        let lines = evictd.lines();
        lines
            .iter()
            .any(|line| line.contains("loaded again and is in use"))
    };
    insert_until(shop, from, |_| loaded()).await
}

#[tokio::test]
async fn what_is_committed_after_a_reload_reaches_the_distributions_that_a_rule_names_since() {
    let shop = Shop::open().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let ids = [("main", "E1"), ("shop", "E2")];
    let mut evictd = started(&shop, &fake, &rest(&shop, "[\"main\"]", &ids)).await;
    let before = insert_until(&shop, 1, |id| id > 100).await;
    let both = rest(&shop, "[\"main\", \"shop\"]", &ids);
    let since = reload(&shop, &mut evictd, &both, before).await;
    let end = insert_until(&shop, since, |id| id > since + 200).await;
    reach(&fake, "E1", 1..end).await;
    reach(&fake, "E2", since..end).await;
    stop(evictd).await;
}

#[tokio::test]
async fn what_waits_while_a_distributions_id_changes_reaches_the_new_one() {
    for reloads in [true, false] {
        let shop = Shop::open().await;
        let fake = FakeCloudFront::start(FakeSettings::default()).await;
        let before = rest(&shop, "[\"main\"]", &[("main", "E1")]);
        let after = rest(&shop, "[\"main\"]", &[("main", "E2")]);
        let mut evictd = started(&shop, &fake, &before).await;
        // Some of the hot pages are invalidated, at the one before only.
        insert_until(&shop, 1, |id| id > 20).await;
        reach(&fake, "E1", 1..21).await;
        fake.change(|settings| settings.hang = true);
        for id in 1..41 {
            let sql = format!(
                "INSERT INTO users (id) VALUES ({id}) ON DUPLICATE KEY UPDATE name = CONCAT(COALESCE(name, ''), 'x')"
            );
            shop.sql(&sql).await;
        }
        shop.checkpoint_passes_the_end(&evictd).await;
        assert_eq!(fake.of_distribution("E2"), [""; 0]);
        let mut evictd = if reloads {
            evictd.rewrite(&shop.config().rest(&after).text());
            evictd.signal("HUP");
            fake.change(|settings| settings.hang = false);
            evictd
                .wait_for_line("loaded again and is in use", WITHIN)
                .await;
            evictd
        } else {
            evictd.kill();
            fake.change(|settings| settings.hang = false);
            started(&shop, &fake, &after).await
        };
        reach(&fake, "E2", 1..41).await;
        assert!(evictd.exited().is_none());
        stop(evictd).await;
    }
}

/// Whenever the wrong one of two receives a message, it takes a visibility timeout more, and the queue chooses: with the
/// emulator's polls, which look ten times a second, often the same one many times.
const BY_CHANCE: Duration = Duration::from_secs(180);

/// Both call a distribution `main`, and mean another one.
#[tokio::test]
async fn two_configurations_on_one_queue_send_each_path_to_its_own_distribution_and_say_so() {
    let [one, two] = [Shop::open().await, Shop::open().await];
    let aws = shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let visibility = [(QueueAttributeName::VisibilityTimeout, "1")];
    let queue = aws.create_queue_with(&one.database, &visibility).await;
    let started = async |shop: &Shop, id: &str| {
        let rest = rest(shop, "[\"main\"]", &[("main", id)]);
        let local = rest.find("[cloudfront]").unwrap();
        let rest = format!(
            "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n{}",
            &rest[local..]
        );
        let options = shop.config().rest(&rest).options().envs(aws.env());
        start(&options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())).await
    };
    let first = started(&one, "E1").await;
    let second = started(&two, "E2").await;
    insert_until(&one, 1, |id| id > 20).await;
    insert_until(&two, 101, |id| id > 120).await;
    reach_within(&fake, "E1", 1..21, BY_CHANCE).await;
    reach_within(&fake, "E2", 101..121, BY_CHANCE).await;
    let only = |distribution: &str, ids| {
        let got: BTreeSet<String> = fake.of_distribution(distribution).into_iter().collect();
        assert_eq!(got, pages(ids), "{distribution}");
    };
    only("E1", 1..21);
    only("E2", 101..121);
    // Which of them a message comes to first is the queue's choice.
    let said = async |evictd: &Evictd, other: &Shop| {
        let mut id = 1_000;
        eventually("it says so", BY_CHANCE, async || {
            other
                .sql(&format!("INSERT INTO users (id) VALUES ({id})"))
                .await;
            id += 1;
            let mut lines = evictd.lines().into_iter();
            lines.find(|line| line.contains("other-configuration"))
        })
        .await
    };
    for (evictd, other) in [(&first, &two), (&second, &one)] {
        let line = said(evictd, other).await;
        assert!(line.contains(&other.database), "{line}");
        assert!(line.contains("a queue of its own"), "{line}");
    }
    stop(first).await;
    stop(second).await;
}
