//! The drain against CloudFront's quotas, throttling, failures and bill.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use evictd::buffer::{Buffer, Local, Message, Sender, pack};
use evictd::drain::{Drain, DrainOptions, Stopped};
use evictd::edge::budget::Budget;
use evictd::edge::{CloudFront, Scope};
use evictd::model::CommitTime;
use evictd::rules::budget_exempt::AlwaysPaths;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{aws, recipient};
use crate::support::{FakeCloudFront, FakeSettings, eventually};

/// Far more than anything takes that works.
const WITHIN: Duration = Duration::from_secs(120);

pub fn messages(paths: impl IntoIterator<Item = String>) -> Vec<Message> {
    let now = CommitTime::now();
    of_one_sender(pack(&recipient(None), paths, Some(now)))
}

/// As one daemon sends all of a test's messages.
pub fn of_one_sender(mut messages: Vec<Message>) -> Vec<Message> {
    static SENDER: LazyLock<Mutex<Sender>> = LazyLock::new(|| Mutex::new(Sender::begin()));
    SENDER.lock().unwrap().number(&mut messages);
    messages
}

/// A local queue, a drain, and the fake.
pub struct Bench {
    pub fake: FakeCloudFront,
    pub queue: Arc<Local>,
    pub budget: Arc<Budget>,
    shutdown: CancellationToken,
    drain: JoinHandle<Stopped>,
    _dir: TempDir,
}

impl Bench {
    pub async fn start(settings: FakeSettings, budget: Option<u64>, always: AlwaysPaths) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeCloudFront::start(settings).await;
        let queue = Local::open(dir.path().join("queue.redb")).await.unwrap();
        let limits = BTreeMap::from([("main".into(), budget)]);
        let file = dir.path().join("shop.budget.json");
        let budget = Arc::new(Budget::open_file(file, limits).await.unwrap());
        let queue = Arc::new(queue.with_visibility(Duration::from_secs(5)));
        let shutdown = CancellationToken::new();
        let drain = drain(&queue, &fake, &budget, always)
            .await
            .run(shutdown.clone());
        Self {
            drain: tokio::spawn(drain),
            fake,
            queue,
            budget,
            shutdown,
            _dir: dir,
        }
    }

    /// Waits until no accepted path is missing.
    pub async fn reached(&self, paths: &[String]) {
        eventually("every path reaches the edge", WITHIN, async || {
            self.fake.unmatched(paths).is_empty().then_some(())
        })
        .await;
    }

    /// Ends the drain once it has nothing left. Returns the fake, and the count of paths spent.
    pub async fn stop(self) -> (FakeCloudFront, usize) {
        let emptied = async || (self.queue.depth().await.unwrap() == 0).then_some(());
        eventually("the queue is empty", WITHIN, emptied).await;
        self.shutdown.cancel();
        let stopped = self.drain.await.unwrap();
        assert_eq!((stopped.given_back, stopped.left), (0, 0));
        let status = self.budget.status(&"main".into());
        (self.fake, usize::try_from(status.spent).unwrap())
    }

    /// The count of paths spent.
    pub fn spent(&self) -> usize {
        let status = self.budget.status(&"main".into());
        usize::try_from(status.spent).unwrap()
    }
}

async fn drain(
    queue: &Arc<Local>,
    fake: &FakeCloudFront,
    budget: &Arc<Budget>,
    always: AlwaysPaths,
) -> Drain<Local, CloudFront> {
    let options = DrainOptions {
        source: "shop".into(),
        last_sent: None,
        window: Duration::from_millis(50),
        grace: Duration::from_secs(10),
        distributions: [("main".into(), "E1".into())].into(),
        calls_per_second: 50.0,
        max_receives: 5,
        overdue_after: Duration::from_secs(900),
        budget_exempt: always,
    };
    let edge = Arc::new(CloudFront::new(&aws::config(fake.url()).await));
    Drain::new(Arc::clone(queue), edge, Arc::clone(budget), options)
}

fn scattered(range: std::ops::Range<u32>) -> Vec<String> {
    range
        .map(|n| format!("/{:08x}", n.wrapping_mul(2_654_435_761)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_far_beyond_the_quota_reaches_the_edge_and_never_exceeds_it() {
    let bench = Bench::start(FakeSettings::default(), None, AlwaysPaths::default()).await;
    let paths: Vec<String> = (0..20_000)
        .map(|n| match n % 3 {
            0 => format!("/products/{n}"),
            1 => format!("/categories/{}/{n}", n % 50),
            _ => format!("/users/{n:08}"),
        })
        .collect();
    for part in paths.chunks(1_000) {
        bench.queue.send(messages(part.to_vec())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.reached(&paths).await;
    let (fake, spent) = bench.stop().await;
    let counts = fake.counts();
    assert_eq!(counts.over_quota, 0, "{counts:?}");
    assert!(
        counts.peak_singles <= 3_000 && counts.peak_wildcards <= 15,
        "{counts:?}"
    );
    assert_eq!(spent, fake.billed(), "the count is the bill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_failures_and_throttling_lose_nothing_and_cost_nothing_twice() {
    let settings = FakeSettings {
        lose_answer: Some(3),
        fail: Some(5),
        calls_per_second: 20.0,
        burst: 5.0,
        ..FakeSettings::default()
    };
    let bench = Bench::start(settings, None, AlwaysPaths::default()).await;
    let paths = scattered(0..1_500);
    for part in paths.chunks(100) {
        bench.queue.send(messages(part.to_vec())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    bench.reached(&paths).await;
    let (fake, spent) = bench.stop().await;
    let counts = fake.counts();
    assert!(counts.lost_answers > 0 && counts.failed > 0, "{counts:?}");
    assert!(counts.repeated > 0, "{counts:?}");
    assert_eq!(fake.billed(), paths.len(), "each once: {counts:?}");
    assert_eq!(spent, fake.billed());
    assert_eq!(counts.over_quota, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_in_progress_is_seen_at_the_start_and_page_by_page() {
    let settings = FakeSettings {
        completes_after: Duration::from_secs(2),
        page_items: 2,
        ..FakeSettings::default()
    };
    let other = FakeCloudFront::start(settings.clone()).await;
    let edge = CloudFront::new(&aws::config(other.url()).await);
    for part in scattered(0..2_900).chunks(290) {
        let batch = evictd::edge::InvalidationBatch {
            scope: Scope::of(&"E1".into()),
            caller_reference: format!("somebody-{}", part[0]),
            paths: part.to_vec(),
        };
        evictd::edge::Edge::invalidate(&edge, &batch).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let queue = Local::open(dir.path().join("queue.redb")).await.unwrap();
    let queue = Arc::new(queue);
    let paths = scattered(10_000..10_400);
    queue.send(messages(paths.clone())).await.unwrap();
    let budget = Arc::new(Budget::in_memory(BTreeMap::new()));
    let shutdown = CancellationToken::new();
    let drain = drain(&queue, &other, &budget, AlwaysPaths::default()).await;
    let drain = tokio::spawn(drain.run(shutdown.clone()));
    eventually("every path reaches the edge", WITHIN, async || {
        other.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    shutdown.cancel();
    drain.await.unwrap();
    let counts = other.counts();
    assert_eq!(counts.over_quota, 0, "{counts:?}");
    assert_eq!(
        other.billed(),
        2_900 + 400,
        "as they are: 100 at once, 300 later"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_that_use_the_quota_meanwhile_cost_a_refusal_and_no_path() {
    let settings = FakeSettings {
        completes_after: Duration::from_secs(1),
        ..FakeSettings::default()
    };
    let bench = Bench::start(settings, None, AlwaysPaths::default()).await;
    let warm = scattered(0..1);
    bench.queue.send(messages(warm.clone())).await.unwrap();
    bench.reached(&warm).await;
    let edge = CloudFront::new(&aws::config(bench.fake.url()).await);
    let others = evictd::edge::InvalidationBatch {
        scope: Scope::of(&"E1".into()),
        caller_reference: "somebody".to_owned(),
        paths: scattered(1_000..3_500),
    };
    // Both want more than there is, at the same time.
    let paths = scattered(10_000..12_000);
    bench.queue.send(messages(paths.clone())).await.unwrap();
    evictd::edge::Edge::invalidate(&edge, &others).await.ok();
    bench.reached(&paths).await;
    let (fake, spent) = bench.stop().await;
    let own: usize = fake
        .made()
        .iter()
        .filter(|made| made.caller_reference.starts_with("evictd-"))
        .map(|made| made.paths.len())
        .sum();
    assert_eq!((own, spent), (2_001, 2_001), "each once, as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_budget_sends_wildcards_and_what_always_goes() {
    let pattern = evictd::rules::path_class::PathPattern {
        text: "/prices/*".to_owned(),
        class: evictd::model::invalidation::PathClass::Cached,
        line: 1,
    };
    let always = AlwaysPaths::new([(&pattern, true)]);
    let bench = Bench::start(FakeSettings::default(), Some(100), always).await;
    let first = scattered(0..100);
    bench.queue.send(messages(first.clone())).await.unwrap();
    bench.reached(&first).await;
    eventually("the budget is spent", WITHIN, async || {
        (bench.budget.status(&"main".into()).left == Some(0)).then_some(())
    })
    .await;
    let mut paths: Vec<String> = (0..50).map(|n| format!("/products/{n}")).collect();
    paths.extend(["/prices/1".to_owned(), "/prices/2".to_owned()]);
    bench.queue.send(messages(paths.clone())).await.unwrap();
    bench.reached(&paths).await;
    let sent = bench.fake.paths();
    for path in ["/products/*", "/prices/1", "/prices/2"] {
        assert!(sent.contains_key(path), "{path}: {sent:?}");
    }
    assert_eq!(bench.fake.billed(), 103);
    assert_eq!(bench.spent(), 103);
    bench.stop().await;
}

/// How long a burst took from its last path on: not asserted, for people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_takes_a_backlog_with_it() {
    let bench = Bench::start(FakeSettings::default(), None, AlwaysPaths::default()).await;
    let paths: Vec<String> = (0..60_000).map(|n| format!("/products/{n}")).collect();
    let start = Instant::now();
    bench.queue.send(messages(paths.clone())).await.unwrap();
    bench.reached(&paths).await;
    println!("60,000 paths in {:?}", start.elapsed());
    let (fake, _) = bench.stop().await;
    assert!(fake.billed() < 100, "{} paths paid", fake.billed());
    assert_eq!(fake.counts().over_quota, 0);
}
