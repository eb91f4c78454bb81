//! A local queue whose file is set back to an earlier copy of itself, as by a backup or a snapshot.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evictd::buffer::{Buffer, Local};
use evictd::drain::{Drain, DrainOptions};
use evictd::edge::CloudFront;
use evictd::edge::budget::Budget;
use evictd::edge::invalidation_log::History;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{aws, quota};
use crate::support::{FakeCloudFront, FakeSettings, eventually};

const WITHIN: Duration = Duration::from_secs(60);
const HOT: [&str; 5] = ["/hot/1", "/hot/2", "/hot/3", "/hot/4", "/hot/5"];

/// A machine with a queue's file, and a record of what was invalidated beside it.
struct Machine {
    dir: TempDir,
    fake: FakeCloudFront,
}

impl Machine {
    async fn new() -> Self {
        let fake = FakeCloudFront::start(FakeSettings::default()).await;
        Self {
            dir: tempfile::tempdir().unwrap(),
            fake,
        }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Opens the queue, and sends each path in a message of its own.
    async fn send(&self, paths: &[&str]) -> Local {
        let queue = Local::open(self.file("queue.redb")).await.unwrap();
        for path in paths {
            let messages = quota::messages([(*path).to_owned()]);
            queue.send(messages).await.unwrap();
        }
        queue
    }

    /// Sends paths, and drains until none is left.
    async fn run(&self, paths: &[&str], history: Option<&Path>) {
        let queue = Arc::new(self.send(paths).await);
        let options = DrainOptions {
            source: "shop".into(),
            last_sent: None,
            window: Duration::from_millis(10),
            grace: Duration::from_secs(10),
            distributions: [("main".into(), "E1".into())].into(),
            calls_per_second: 200.0,
            max_receives: 5,
            overdue_after: Duration::from_secs(900),
            budget_exempt: Default::default(),
        };
        let edge = Arc::new(CloudFront::new(&aws::config(self.fake.url()).await));
        let budget = Arc::new(Budget::in_memory(BTreeMap::new()));
        let log = match history {
            Some(file) => History::open_file(file, queue.visibility()).await.unwrap(),
            None => History::off(),
        };
        let drain = Drain::new(Arc::clone(&queue), edge, budget, options).recording(log);
        let shutdown = CancellationToken::new();
        let draining = tokio::spawn(drain.run(shutdown.clone()));
        eventually("the queue is empty", WITHIN, async || {
            (queue.depth().await.unwrap() == 0).then_some(())
        })
        .await;
        shutdown.cancel();
        draining.await.unwrap();
    }

    /// How often each of [`HOT`] was invalidated.
    fn times(&self) -> [usize; 5] {
        let paths = self.fake.paths();
        HOT.map(|path| paths.get(path).copied().unwrap_or_default())
    }
}

#[tokio::test]
async fn what_is_written_after_a_file_was_set_back_is_not_taken_for_what_was_invalidated_before() {
    let machine = Machine::new().await;
    let history = machine.file("shop.invalidations.jsonl");
    machine.run(&["/first"], Some(&history)).await;
    std::fs::copy(machine.file("queue.redb"), machine.file("backup")).unwrap();
    for _ in 0..3 {
        machine.run(&HOT, Some(&history)).await;
    }
    assert_eq!(machine.times(), [3; 5]);
    std::fs::rename(machine.file("backup"), machine.file("queue.redb")).unwrap();
    machine.run(&HOT, Some(&history)).await;
    assert_eq!(machine.times(), [4; 5], "each of them has changed again");
}

#[tokio::test]
async fn a_file_that_was_set_back_repeats_no_name_without_a_record_either() {
    let machine = Machine::new().await;
    machine.run(&["/first"], None).await;
    std::fs::copy(machine.file("queue.redb"), machine.file("backup")).unwrap();
    machine.run(&HOT, None).await;
    std::fs::rename(machine.file("backup"), machine.file("queue.redb")).unwrap();
    machine.run(&HOT, None).await;
    assert_eq!(machine.fake.counts().repeated, 0);
    assert_eq!(machine.times(), [2; 5], "each of them has changed again");
}

#[tokio::test]
async fn what_was_invalidated_before_a_crash_is_not_paid_for_again_by_a_later_opening() {
    let machine = Machine::new().await;
    let history = machine.file("shop.invalidations.jsonl");
    let [one, two, three, four, five] = HOT;
    drop(machine.send(&[one, two]).await);
    drop(machine.send(&[three]).await);
    // The messages are accepted, and a crash comes before they are deleted.
    std::fs::copy(machine.file("queue.redb"), machine.file("crashed")).unwrap();
    machine.run(&[], Some(&history)).await;
    assert_eq!(machine.times(), [1, 1, 1, 0, 0]);
    std::fs::copy(machine.file("crashed"), machine.file("queue.redb")).unwrap();
    // What changed since then is not theirs.
    drop(machine.send(&[three, four]).await);
    std::fs::copy(machine.file("queue.redb"), machine.file("crashed")).unwrap();
    machine.run(&[], Some(&history)).await;
    assert_eq!(machine.times(), [1, 1, 2, 1, 0]);
    std::fs::copy(machine.file("crashed"), machine.file("queue.redb")).unwrap();
    machine.run(&[five], Some(&history)).await;
    assert_eq!(machine.times(), [1, 1, 2, 1, 1]);
}
