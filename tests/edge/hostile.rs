//! The drain against a CloudFront that does what nobody has listed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evictd::buffer::{Buffer, Local, Message, Recipient, pack};
use evictd::drain::{Drain, DrainOptions, Stopped};
use evictd::edge::CloudFront;
use evictd::edge::budget::Budget;
use evictd::model::CommitTime;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::quota::of_one_sender;
use super::{aws, recipient};
use crate::support::{FakeCloudFront, FakeSettings, eventually};

const WITHIN: Duration = Duration::from_secs(60);

/// A machine with a local queue for two distributions, and the fake.
struct Machine {
    fake: FakeCloudFront,
    queue: Arc<Local>,
    visibility: Duration,
    calls_per_second: f64,
    dir: TempDir,
}

/// A drain under way.
struct Draining {
    task: JoinHandle<Stopped>,
    shutdown: CancellationToken,
}

impl Machine {
    async fn start(settings: FakeSettings, visibility: Duration, calls_per_second: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(dir.path().join("queue.redb"), visibility).await;
        Self {
            fake: FakeCloudFront::start(settings).await,
            queue,
            visibility,
            calls_per_second,
            dir,
        }
    }

    async fn drain(&self, budget: Budget) -> Draining {
        let options = DrainOptions {
            source: "shop".into(),
            last_sent: None,
            window: Duration::from_millis(50),
            grace: Duration::from_secs(10),
            distributions: [("main", "E1"), ("images", "E2")]
                .map(|(name, id)| (name.into(), id.into()))
                .into(),
            calls_per_second: self.calls_per_second,
            max_receives: 2,
            overdue_after: Duration::from_secs(900),
            budget_exempt: Default::default(),
        };
        let edge = CloudFront::new(&aws::config(self.fake.url()).await);
        let queue = Arc::clone(&self.queue);
        let shutdown = CancellationToken::new();
        let drain = Drain::new(queue, Arc::new(edge), Arc::new(budget), options);
        Draining {
            task: tokio::spawn(drain.run(shutdown.clone())),
            shutdown,
        }
    }

    async fn budget(&self) -> Budget {
        let file = self.dir.path().join("shop.budget.json");
        Budget::open_file(file, BTreeMap::new()).await.unwrap()
    }

    async fn send(&self, distribution: &str, paths: &[String]) {
        self.queue
            .send(messages(distribution, paths))
            .await
            .unwrap();
    }

    async fn reached(&self, paths: &[String], within: Duration) {
        eventually("every path reaches the edge", within, async || {
            self.fake.unmatched(paths).is_empty().then_some(())
        })
        .await;
    }

    async fn emptied(&self) {
        eventually("the queue is empty", WITHIN, async || {
            (self.queue.depth().await.unwrap() == 0).then_some(())
        })
        .await;
    }

    async fn dead_letters(&self) -> usize {
        self.queue.redrive().await.unwrap().moved
    }
}

impl Draining {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// As SIGKILL does.
    async fn kill(self) {
        self.task.abort();
        self.task.await.ok();
    }
}

async fn open(file: PathBuf, visibility: Duration) -> Arc<Local> {
    let queue = Local::open(file).await.unwrap();
    Arc::new(queue.with_visibility(visibility))
}

/// A message for each path.
fn messages(distribution: &str, paths: &[String]) -> Vec<Message> {
    let now = CommitTime::now();
    let of = |path: &String| {
        let to = Recipient {
            distribution: distribution.into(),
            distribution_id: None,
            ..recipient(None)
        };
        of_one_sender(pack(&to, [path.clone()], Some(now)))
    };
    paths.iter().flat_map(of).collect()
}

fn numbered(prefix: &str, range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("{prefix}{n}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_nobody_has_listed_bury_no_message_and_pass() {
    let machine = Machine::start(FakeSettings::default(), Duration::from_secs(1), 50.0).await;
    let draining = machine.drain(machine.budget().await).await;
    let paths = numbered("/users/", 0..90);
    for (error, part) in [
        (408, "RequestTimeout"),
        (400, "RequestAborted"),
        (400, "SomethingNew"),
        (404, "SomethingElse"),
    ]
    .into_iter()
    .zip(paths.chunks(25))
    {
        machine.fake.change(|settings| settings.error = Some(error));
        machine.send("main", part).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    assert_eq!(machine.fake.billed(), 0);
    machine.fake.change(|settings| settings.error = None);
    machine.reached(&paths, Duration::from_secs(10)).await;
    machine.emptied().await;
    draining.stop().await;
    assert_eq!(machine.fake.billed(), paths.len(), "each once");
    assert_eq!(machine.dead_letters().await, 0);
}

/// As something between evictd and CloudFront may answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_name_the_request_accepts_nothing() {
    let machine = Machine::start(FakeSettings::default(), Duration::from_secs(1), 50.0).await;
    let draining = machine.drain(machine.budget().await).await;
    let another = "<Invalidation><Id>I9</Id><Status>Completed</Status><CreateTime>2026-01-01T00:00:00Z</CreateTime>\
        <InvalidationBatch><Paths><Quantity>1</Quantity><Items><Path>/other</Path></Items></Paths>\
        <CallerReference>deploy-9</CallerReference></InvalidationBatch></Invalidation>";
    let answers = [
        (200, ""),
        (201, ""),
        (204, ""),
        (201, "<Invalidation><Id>I"),
        (201, another),
        (200, "<html><body>Sign in</body></html>"),
    ];
    let paths = numbered("/users/", 0..6);
    for ((status, body), path) in answers.into_iter().zip(&paths) {
        let answer = (status, body.to_owned());
        machine
            .fake
            .change(|settings| settings.answer = Some(answer));
        machine.send("main", std::slice::from_ref(path)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!machine.fake.paths().contains_key(path));
        machine.fake.change(|settings| settings.answer = None);
        machine
            .reached(std::slice::from_ref(path), Duration::from_secs(10))
            .await;
    }
    machine.emptied().await;
    draining.stop().await;
    assert_eq!(machine.fake.billed(), paths.len(), "each once");
    assert_eq!(machine.dead_letters().await, 0);
}

/// What something in between answers says nothing of what CloudFront has made: the request goes on under its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_no_error_of_cloudfronts_is_repeated_under_its_name() {
    let machine = Machine::start(FakeSettings::default(), Duration::from_secs(1), 50.0).await;
    let draining = machine.drain(machine.budget().await).await;
    let paths = numbered("/users/", 0..36);
    let error = "<ErrorResponse><Error><Code>InvalidArgument</Code></Error></ErrorResponse>";
    for ((status, body), part) in [
        (201, "<html><body>Sign in</body></html>"),
        (201, "not XML"),
        (201, error),
        (302, "<html><body>Moved</body></html>"),
    ]
    .into_iter()
    .zip(paths.chunks(9))
    {
        let answer = (status, body.to_owned());
        machine.fake.change(|settings| {
            settings.answer = Some(answer);
            settings.happens = true;
        });
        for path in part {
            machine.send("main", std::slice::from_ref(path)).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        machine.fake.change(|settings| settings.answer = None);
        machine.emptied().await;
    }
    draining.stop().await;
    assert_eq!(machine.fake.billed(), paths.len(), "each once");
    assert_eq!(machine.dead_letters().await, 0);
}

/// How long each good path took, while refused ones keep coming.
async fn among_refused(machine: &Machine, rounds: u32, bad: impl Fn(u32) -> String) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut waiting: Vec<(Instant, String)> = Vec::new();
    for round in 0..rounds {
        for n in 0..5 {
            let number = round * 5 + n;
            let good = format!("/users/{number}");
            // Some messages hold a good path and a bad one.
            let both = vec![format!("/both/{number}"), bad(number)];
            let now = Some(CommitTime::now());
            let both = of_one_sender(pack(&recipient(None), both, now));
            machine.queue.send(both).await.unwrap();
            machine.send("main", std::slice::from_ref(&good)).await;
            waiting.push((Instant::now(), good));
            waiting.push((Instant::now(), format!("/both/{number}")));
        }
        let next = Instant::now() + Duration::from_millis(500);
        while Instant::now() < next {
            let sent = machine.fake.paths();
            waiting.retain(|(since, path)| {
                let arrived = sent.contains_key(path);
                slowest = slowest.max(since.elapsed());
                !arrived
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let left: Vec<String> = waiting.iter().map(|(_, path)| path.clone()).collect();
    machine.reached(&left, Duration::from_secs(10)).await;
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_paths_that_keep_coming_hold_no_good_one_up_and_bury_none() {
    for bad in [
        |n: u32| format!("/refused/{n}"),
        // The same ten again and again.
        |n: u32| format!("/users/{}/refused", n % 10),
    ] {
        let settings = FakeSettings {
            refuse: Some("refused".to_owned()),
            ..FakeSettings::default()
        };
        let machine = Machine::start(settings, Duration::from_secs(2), 20.0).await;
        let draining = machine.drain(machine.budget().await).await;
        let slowest = among_refused(&machine, 30, bad).await;
        // After that, wildcards would be asked for.
        assert!(slowest < Duration::from_secs(10), "{slowest:?}");
        // The last ones are refused for good while others are accepted.
        let mut others = 0;
        eventually("the queue is empty", WITHIN, async || {
            machine.send("main", &[format!("/others/{others}")]).await;
            others += 1;
            tokio::time::sleep(Duration::from_secs(2)).await;
            (machine.queue.depth().await.unwrap() == 0).then_some(())
        })
        .await;
        draining.stop().await;
        let billed = machine.fake.billed() - others;
        // On a busy machine the last ones may wait for ten seconds, and go under a wildcard.
        assert!(
            (285..=300).contains(&billed),
            "{billed}: each good path once"
        );
        assert_eq!(machine.dead_letters().await, 150, "those with a bad path");
        let calls = machine.fake.counts().creates;
        // Each bad path is searched for, and asked for alone twice.
        assert!(calls < 700, "{calls} calls for 150 bad paths");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distribution_that_is_full_for_good_starves_no_other() {
    let settings = FakeSettings {
        full: vec!["E1".to_owned()],
        ..FakeSettings::default()
    };
    let machine = Machine::start(settings, Duration::from_secs(30), 20.0).await;
    let stuck = numbered("/users/", 0..1_500);
    machine.send("main", &stuck).await;
    let draining = machine.drain(machine.budget().await).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    for n in 0..5 {
        let path = vec![format!("/logos/{n}")];
        machine.send("images", &path).await;
        machine.reached(&path, Duration::from_secs(5)).await;
    }
    machine.fake.change(|settings| settings.full.clear());
    machine.reached(&stuck, WITHIN).await;
    machine.emptied().await;
    draining.stop().await;
    assert_eq!(machine.fake.billed(), 1_505);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_in_progress_holds_no_first_path_up() {
    let machine = Machine::start(FakeSettings::default(), Duration::from_secs(30), 1.0).await;
    machine.fake.others("E1", 60);
    let paths = numbered("/users/", 0..3);
    machine.send("main", &paths).await;
    let draining = machine.drain(machine.budget().await).await;
    machine.reached(&paths, Duration::from_secs(6)).await;
    draining.stop().await;
}

/// A drain dies between the acceptance and the answer; another one comes after it, on another machine.
async fn succeeded(hostile: FakeSettings) -> usize {
    let machine = Machine::start(hostile, Duration::from_secs(2), 20.0).await;
    machine.fake.change(|settings| settings.hang = true);
    let paths = numbered("/users/", 0..20);
    machine.send("main", &paths).await;
    let elsewhere = || Budget::in_memory(BTreeMap::new());
    let first = machine.drain(elsewhere()).await;
    machine.reached(&paths, WITHIN).await;
    first.kill().await;
    machine.fake.change(|settings| settings.hang = false);
    // Somebody else has some of the messages for a while, so that no request is the same again.
    let taken = machine.queue.receive(Duration::from_secs(5)).await.unwrap();
    assert!(!taken.is_empty());
    let looks = machine.fake.counts().looks;
    let second = machine.drain(elsewhere()).await;
    machine.emptied().await;
    second.stop().await;
    let looks = machine.fake.counts().looks - looks;
    assert!(looks < 30, "{looks} looks");
    machine.fake.billed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_pays_once_where_cloudfronts_clock_is_behind() {
    let settings = FakeSettings {
        clock_behind: Duration::from_secs(10),
        ..FakeSettings::default()
    };
    assert_eq!(succeeded(settings).await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_pays_once_where_an_invalidation_cannot_be_read_for_a_while() {
    let settings = FakeSettings {
        unreadable_for: Duration::from_secs(8),
        ..FakeSettings::default()
    };
    assert_eq!(succeeded(settings).await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_pays_once_where_the_list_is_late() {
    let settings = FakeSettings {
        unlisted_for: Duration::from_secs(12),
        ..FakeSettings::default()
    };
    assert_eq!(succeeded(settings).await, 20);
}

/// The file of a queue hands everything out again once it is opened, as if for the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_pays_once_where_the_list_is_late_and_holds_no_new_path_up() {
    let settings = FakeSettings {
        unlisted_for: Duration::from_secs(12),
        hang: true,
        ..FakeSettings::default()
    };
    let mut machine = Machine::start(settings, Duration::from_secs(30), 20.0).await;
    let paths = numbered("/users/", 0..20);
    machine.send("main", &paths).await;
    let first = machine.drain(machine.budget().await).await;
    machine.reached(&paths, WITHIN).await;
    first.kill().await;
    machine.fake.change(|settings| settings.hang = false);
    let file = machine.dir.path().join("queue.redb");
    let other = machine.dir.path().join("other.redb");
    drop(std::mem::replace(
        &mut machine.queue,
        open(other, machine.visibility).await,
    ));
    machine.queue = open(file, machine.visibility).await;
    let second = machine.drain(machine.budget().await).await;
    let new = numbered("/later/", 0..1);
    machine.send("main", &new).await;
    machine.reached(&new, Duration::from_secs(5)).await;
    machine.emptied().await;
    second.stop().await;
    assert_eq!(machine.fake.billed(), 21);
    let status = machine.budget().await.status(&"main".into());
    assert_eq!(status.spent, 21);
}
