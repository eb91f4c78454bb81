//! Cache tags and tenants, from a buffer to the edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evictd::buffer::{Buffer, Local, Message, pack};
use evictd::drain::{Drain, DrainOptions};
use evictd::edge::budget::Budget;
use evictd::edge::{CloudFront, Edge, EdgeErrorKind, InvalidationBatch, Scope};
use evictd::ledger::Ledger;
use evictd::model::CommitTime;
use evictd::progress::board::Reports;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::quota::of_one_sender;
use super::{aws, recipient};
use crate::support::{FakeCloudFront, FakeSettings, eventually};

const WITHIN: Duration = Duration::from_secs(60);

fn texts(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

/// The caller reference's contract holds for a tenant by itself, tags are taken, and a tenant that there is not has an
/// error of its own.
pub async fn tenant_contract(endpoint: &str) {
    let edge = CloudFront::new(&aws::config(endpoint).await);
    let distribution: Arc<str> = aws::multi_tenant_distribution(endpoint).await.into();
    let [one, two] = [
        aws::tenant(endpoint, &distribution).await,
        aws::tenant(endpoint, &distribution).await,
    ];
    let of = |tenant: &str, paths: &[&str]| InvalidationBatch {
        scope: Scope {
            tenant: Some(tenant.into()),
            ..Scope::of(&distribution)
        },
        caller_reference: "evictd-tenant-1".to_owned(),
        paths: texts(paths),
    };
    let first = of(&one, &["/a?b=c&d=e", "/b%20c", "#user-7", "/d/*"]);
    let made = edge.invalidate(&first).await.unwrap();
    assert_eq!(edge.invalidate(&first).await.unwrap(), made, "not twice");
    let other = edge.invalidate(&of(&two, &["/other"])).await.unwrap();
    assert_ne!(other.id, made.id, "the name is the tenant's own");
    let error = edge.invalidate(&of(&one, &["/other"])).await.unwrap_err();
    assert!(
        matches!(error.kind, EdgeErrorKind::ReferenceTaken { .. }),
        "{error}"
    );

    let listed = edge.list(&first.scope, None).await.unwrap().invalidations;
    let ids: Vec<&str> = listed.iter().map(|listed| listed.id.as_str()).collect();
    assert_eq!(ids, [made.id.as_str()]);
    let read = edge.read(&first.scope, &made.id).await.unwrap();
    assert_eq!((read.paths, read.completed), (first.paths.clone(), true));
    let whole = Scope::of(&distribution);
    let whole = edge.list(&whole, None).await.unwrap().invalidations;
    assert_eq!(
        whole,
        [],
        "the distribution's list does not show a tenant's"
    );

    let missing = of("dt_nobody", &["/a"]);
    for error in [
        edge.invalidate(&missing).await.unwrap_err(),
        edge.list(&missing.scope, None).await.unwrap_err(),
        edge.read(&missing.scope, "I1").await.unwrap_err(),
    ] {
        assert!(
            matches!(error.kind, EdgeErrorKind::NoSuchTenant { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("no tenant dt_nobody"), "{error}");
    }
}

/// A local queue, a drain with a ledger, and the fake.
struct Bench {
    fake: FakeCloudFront,
    queue: Arc<Local>,
    budget: Arc<Budget>,
    ledger: Ledger,
    _dir: TempDir,
}

impl Bench {
    async fn start(settings: FakeSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let queue = Local::open(dir.path().join("queue.redb")).await.unwrap();
        Self {
            fake: FakeCloudFront::start(settings).await,
            queue: Arc::new(queue.with_visibility(Duration::from_secs(1))),
            budget: Arc::new(Budget::in_memory(BTreeMap::new())),
            ledger: Ledger::open(dir.path(), "shop").await,
            _dir: dir,
        }
    }

    async fn send(&self, tenant: Option<&str>, paths: &[&str]) {
        let at = CommitTime::from_micros(1);
        let messages = of_one_sender(pack(&recipient(tenant), texts(paths), at));
        self.queue.send(messages).await.unwrap();
    }

    async fn drain(&self, shutdown: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let options = DrainOptions {
            source: "shop".into(),
            last_sent: None,
            window: Duration::from_millis(50),
            grace: Duration::from_secs(10),
            distributions: [("main".into(), "E1".into())].into(),
            calls_per_second: 100.0,
            max_receives: 2,
            overdue_after: Duration::from_secs(900),
            budget_exempt: Default::default(),
        };
        let edge = Arc::new(CloudFront::new(&aws::config(self.fake.url()).await));
        let reports = Reports {
            ledger: self.ledger.clone(),
            ..Reports::default()
        };
        let (queue, budget) = (Arc::clone(&self.queue), Arc::clone(&self.budget));
        let drain = Drain::new(queue, edge, budget, options).reporting(reports);
        let drain = drain.run(shutdown.clone());
        tokio::spawn(async move {
            drain.await;
        })
    }
}

fn tenants(names: &[&str]) -> FakeSettings {
    let of_main = |name: &&str| ((*name).to_owned(), "E1".to_owned());
    FakeSettings {
        tenants: names.iter().map(of_main).collect(),
        ..FakeSettings::default()
    }
}

#[tokio::test]
async fn tags_and_each_tenants_paths_are_accepted_where_they_belong_and_billed_once() {
    let bench = Bench::start(tenants(&["dt_1", "dt_2"])).await;
    bench.send(None, &["/a", "#t", "/b/*"]).await;
    bench.send(Some("dt_1"), &["/a", "#t", "/c"]).await;
    bench.send(Some("dt_2"), &["/a"]).await;
    bench.send(Some("dt_1"), &["/c"]).await;
    let shutdown = CancellationToken::new();
    let drain = bench.drain(&shutdown).await;
    eventually("everything is accepted", WITHIN, async || {
        (bench.fake.billed() >= 7).then_some(())
    })
    .await;
    assert_eq!(bench.fake.of_distribution("E1"), ["#t", "/a", "/b/*"]);
    assert_eq!(bench.fake.of_tenant("dt_1"), ["#t", "/a", "/c"]);
    assert_eq!(bench.fake.of_tenant("dt_2"), ["/a"]);
    shutdown.cancel();
    drain.await.unwrap();
    assert_eq!(bench.fake.billed(), 7);
    assert_eq!(bench.budget.status(&"main".into()).spent, 7);
}

#[tokio::test]
async fn tags_and_tenants_share_the_quota_of_single_paths() {
    let bench = Bench::start(FakeSettings {
        completes_after: Duration::from_secs(2),
        ..tenants(&["dt_1"])
    })
    .await;
    let numbered =
        |kind: &str| -> Vec<String> { (0..2_000).map(|n| format!("{kind}{n}")).collect() };
    let (tags, paths) = (numbered("#t"), numbered("/p/"));
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    bench.send(None, &tags).await;
    bench.send(Some("dt_1"), &paths).await;
    let shutdown = CancellationToken::new();
    let drain = bench.drain(&shutdown).await;
    eventually("everything is accepted", WITHIN, async || {
        (bench.fake.billed() >= 4_000).then_some(())
    })
    .await;
    shutdown.cancel();
    drain.await.unwrap();
    let counts = bench.fake.counts();
    assert_eq!(counts.over_quota, 0, "{counts:?}");
    assert_eq!(bench.fake.of_tenant("dt_1").len(), 2_000, "one by one");
    assert_eq!(bench.fake.of_distribution("E1").len(), 2_000);
}

#[tokio::test]
async fn a_tenant_that_there_is_not_becomes_a_dead_letter_and_holds_up_nobody() {
    let bench = Bench::start(tenants(&["dt_1"])).await;
    let shutdown = CancellationToken::new();
    let drain = bench.drain(&shutdown).await;
    bench.send(Some("dt_gone"), &["/a", "/b"]).await;
    bench.send(Some("dt_1"), &["/a"]).await;
    bench.send(None, &["/a"]).await;
    let letters = eventually("it is on record", WITHIN, async || {
        let letters = bench.ledger.summary().recent_dead_letters;
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!(letter.reason, "no-such-tenant");
    assert!(letter.detail.contains("no tenant dt_gone"), "{letter:?}");
    assert_eq!(letter.distribution.as_deref(), Some("main"));
    assert_eq!(letter.paths, ["/a", "/b"]);
    assert_eq!(bench.fake.of_tenant("dt_1"), ["/a"]);
    assert_eq!(bench.fake.of_distribution("E1"), ["/a"]);
    let asked = bench.fake.counts().unknown_tenants;
    // Two deliveries, each with a look at what was made for it before the second.
    assert!((2..=4).contains(&asked), "{asked}");
    assert_eq!(bench.budget.status(&"main".into()).spent, 2);
    shutdown.cancel();
    drain.await.unwrap();

    // It exists by now.
    bench.fake.change(|settings| {
        let tenant = ("dt_gone".to_owned(), "E1".to_owned());
        settings.tenants.push(tenant);
    });
    assert_eq!(bench.queue.redrive().await.unwrap().moved, 1);
    let shutdown = CancellationToken::new();
    let drain = bench.drain(&shutdown).await;
    eventually("it is accepted", WITHIN, async || {
        (bench.fake.of_tenant("dt_gone") == ["/a", "/b"]).then_some(())
    })
    .await;
    shutdown.cancel();
    drain.await.unwrap();
}

#[tokio::test]
async fn what_was_made_for_a_tenant_before_a_crash_is_not_paid_for_again() {
    let bench = Bench::start(FakeSettings {
        hang: true,
        ..tenants(&["dt_1"])
    })
    .await;
    bench.send(Some("dt_1"), &["/a", "#t"]).await;
    let shutdown = CancellationToken::new();
    let drain = bench.drain(&shutdown).await;
    eventually("it is accepted, and the answer lost", WITHIN, async || {
        (bench.fake.billed() == 2).then_some(())
    })
    .await;
    drain.abort();
    drain.await.unwrap_err();
    bench.fake.change(|settings| settings.hang = false);
    // Another message makes another request of it.
    bench.send(Some("dt_1"), &["/a", "/later"]).await;
    let shutdown = CancellationToken::new();
    let drain = bench.drain(&shutdown).await;
    eventually("the later one is accepted", WITHIN, async || {
        let paths = bench.fake.of_tenant("dt_1");
        paths.contains(&"/later".to_owned()).then_some(())
    })
    .await;
    eventually("nothing is left", WITHIN, async || {
        let left: Vec<_> = bench.queue.receive(Duration::ZERO).await.unwrap();
        let left: Vec<Message> = left
            .into_iter()
            .filter_map(|received| received.content.ok())
            .collect();
        left.is_empty().then_some(())
    })
    .await;
    shutdown.cancel();
    drain.await.unwrap();
    let paths = bench.fake.paths();
    assert_eq!(paths["#t"], 1, "known from the tenant's list: {paths:?}");
}
