//! Drains that are killed at random while they work off a burst, one and several at once.
//!
//! With `EVICTD_TEST_FULL=1` the burst has 100,000 distinct paths in ten seconds, CloudFront keeps its own times
//! (quotas, ten to twenty-five seconds to a completion, six calls a second), the drain its defaults, and there are
//! fifty kills.

use std::time::{Duration, Instant};

use evictd::buffer::{Buffer, Sqs};
use tempfile::TempDir;

use super::drains::{WITHIN, config, counted, end, options, path};
use crate::edge::{aws as edge_aws, quota};
use crate::support::{
    ChangedPath, Evictd, FakeCloudFront, FakeSettings, eventually, paid_twice, scratch, shared_aws,
};

/// What is asked of the drains.
struct Load {
    paths: u32,
    drains: usize,
    /// Whether each drain has a directory of its own.
    machines: bool,
    kills: u32,
    /// Of the queue.
    visibility_s: u32,
    /// Whether CloudFront and the drains keep their own times.
    real_time: bool,
}

/// Paths that change in a second.
const PATHS_PER_SECOND: u32 = 10_000;

/// What came of it.
#[derive(Debug)]
struct Outcome {
    billed: usize,
    counted: u64,
    /// Billed again though they had been accepted since every change that they stand for.
    paid_twice: usize,
    over_quota: u64,
    took: Duration,
}

fn full() -> bool {
    std::env::var_os("EVICTD_TEST_FULL").is_some()
}

async fn run(load: Load) -> Outcome {
    let aws = shared_aws().await;
    let endpoint = aws.endpoint();
    let machines = if load.machines { load.drains } else { 1 };
    let dirs: Vec<TempDir> = (0..machines).map(|_| scratch("kills")).collect();
    let mut settings = FakeSettings::default();
    if load.real_time {
        settings.completes_after = Duration::from_secs(10);
        settings.completes_spread = Duration::from_secs(15);
        (settings.calls_per_second, settings.burst) = (6.0, 6.0);
    }
    let fake = FakeCloudFront::start(settings).await;
    let visibility = load.visibility_s.to_string();
    let url = edge_aws::queue(&endpoint, "", &[("VisibilityTimeout", &visibility)]).await;
    let queue = Sqs::new(&edge_aws::config(&endpoint).await, url.clone());
    let options = |drain: usize| {
        let dir = &dirs[drain % dirs.len()];
        let buffer = format!("kind = \"sqs\"\nqueue_url = \"{url}\"");
        let config = config(dir.path(), &buffer);
        let config = if load.real_time {
            config.replace("window = \"50ms\"\ncalls_per_second = 50\n", "")
        } else {
            config
        };
        options(&config, aws, &fake, &["drain"])
    };

    let paths: Vec<String> = (0..load.paths).map(path).collect();
    let feeding = {
        let (queue, paths) = (queue.clone(), paths.clone());
        let per_turn = usize::try_from(PATHS_PER_SECOND / 10).unwrap();
        tokio::spawn(async move {
            let begun = Instant::now();
            let mut changes = Vec::with_capacity(paths.len());
            let mut turns = tokio::time::interval(Duration::from_millis(100));
            for turn in paths.chunks(per_turn) {
                turns.tick().await;
                let messages = turn
                    .chunks(25)
                    .flat_map(|part| quota::messages(part.to_vec()));
                queue.send(messages.collect()).await.unwrap();
                let at = Instant::now();
                let of_turn = turn.iter().cloned();
                changes.extend(of_turn.map(|path| ChangedPath { path, at }));
            }
            (changes, begun.elapsed())
        })
    };
    let start = Instant::now();
    let mut drains: Vec<Evictd> = (0..load.drains)
        .map(|drain| Evictd::start(&options(drain)))
        .collect();
    let mut kills_at_work = 0;
    for _ in 0..load.kills {
        let pause = rand::random_range(300..2_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let victim = rand::random_range(0..load.drains);
        drains[victim].kill();
        drains[victim] = Evictd::start(&options(victim));
        kills_at_work += u32::from(edge_aws::messages_in(&endpoint, &url).await > 0);
    }
    let (changes, fed) = feeding.await.unwrap();
    let killed = start.elapsed();
    let made_meanwhile = fake.made().len();
    eventually("every path reaches the edge", WITHIN, async || {
        fake.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    let took = start.elapsed();
    eventually("the queue is empty", WITHIN, async || {
        (edge_aws::messages_in(&endpoint, &url).await == 0).then_some(())
    })
    .await;
    for drain in drains {
        end(drain).await;
    }
    // What the killed ones left open is settled by the next.
    for (machine, dir) in dirs.iter().enumerate() {
        let last = Evictd::start(&options(machine));
        eventually("the count is settled", WITHIN, async || {
            counted(dir).1.then_some(())
        })
        .await;
        end(last).await;
    }

    let counts = fake.counts();
    let mut twice = paid_twice(&fake.made(), &changes);
    // A wildcard covers what was received before it, and not all that was in the queue.
    twice.retain(|twice| twice.is_same);
    for twice in twice.iter().take(20) {
        println!(
            "paid twice: {}, {:?} after it was accepted, {:?} after its change",
            twice.item,
            twice.again - twice.before,
            twice.before - twice.asked_for,
        );
    }
    let outcome = Outcome {
        billed: fake.billed(),
        counted: dirs.iter().map(|dir| counted(dir).0).sum(),
        paid_twice: twice.len(),
        over_quota: counts.over_quota,
        took,
    };
    println!(
        "{} paths in {:.1} s, {} drains on {} machines, {} kills in {:.1} s ({kills_at_work} with \
         messages in the queue, {made_meanwhile} invalidations made meanwhile): {} billed in {} \
         invalidations, {} of them twice; {} counted; {} refused over the quota, at most {} and {} in progress; \
         {} looks, {} throttled; all reached after {:.1} s",
        load.paths,
        fed.as_secs_f64(),
        load.drains,
        dirs.len(),
        load.kills,
        killed.as_secs_f64(),
        outcome.billed,
        fake.made().len(),
        outcome.paid_twice,
        outcome.counted,
        outcome.over_quota,
        counts.peak_singles,
        counts.peak_wildcards,
        counts.looks,
        counts.throttled,
        outcome.took.as_secs_f64(),
    );
    assert!(fake.unmatched(&paths).is_empty());
    assert!(
        counts.peak_singles <= 3_000 && counts.peak_wildcards <= 15,
        "{counts:?}"
    );
    assert!(
        outcome.paid_twice * 100 <= outcome.billed,
        "under 1 %: {outcome:?}"
    );
    assert!(
        outcome.counted >= u64::try_from(outcome.billed).unwrap(),
        "nothing is paid for unseen: {outcome:?}"
    );
    outcome
}

/// At full size or smaller and faster.
fn load(drains: usize, machines: bool, kills: u32) -> Load {
    if full() {
        Load {
            paths: 100_000,
            drains,
            machines,
            kills: if kills > 0 { 50 } else { 0 },
            visibility_s: 30,
            real_time: true,
        }
    } else {
        Load {
            paths: 20_000,
            drains,
            machines,
            kills,
            // What a busy machine does not extend in time is received, and paid for, by two.
            visibility_s: 10,
            real_time: false,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_is_killed_again_and_again_loses_nothing_and_pays_once() {
    let outcome = run(load(1, false, 5)).await;
    assert_eq!(outcome.over_quota, 0, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_drains_of_one_queue_share_the_quota_the_count_and_the_work_of_a_killed_one() {
    run(load(3, false, 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_drains_on_three_machines_lose_nothing_and_pay_once() {
    run(load(3, true, 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_distinct_paths_reaches_the_edge_within_the_quota() {
    let outcome = run(load(1, false, 0)).await;
    assert_eq!(outcome.over_quota, 0, "{outcome:?}");
    assert_eq!(
        outcome.counted,
        u64::try_from(outcome.billed).unwrap(),
        "{outcome:?}"
    );
}
