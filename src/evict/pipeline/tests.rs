use std::sync::{Arc, Mutex};

use super::*;
use crate::binlog::server::barrier::NotVisible;
use crate::binlog::server::replica_lag::ReadersApplied;
use crate::buffer::BufferError;
use crate::cache::{
    CacheError, FoundKeys, MemberRemoval, Outcome, ScanPlace, TagKind, TagScan, TagStep,
};
use crate::checkpoint::CheckpointError;
use crate::evict::bulk_paths::Paths;
use crate::model::invalidation::{Action, Plan, Published, Target};
use crate::model::{GtidSet, Guards, KeyList, PairSet, Position};

/// What the fakes did, in order.
type Journal = Arc<Mutex<Vec<String>>>;

fn note(journal: &Journal, line: String) {
    journal.lock().unwrap().push(line);
}

/// Fails as often as it is told to, then succeeds.
struct Flaky {
    journal: Journal,
    name: &'static str,
    failures: u32,
}

impl Flaky {
    fn new(journal: &Journal, name: &'static str, failures: u32) -> Self {
        Self {
            journal: Arc::clone(journal),
            name,
            failures,
        }
    }

    fn attempt(&mut self, what: String) -> Result<(), String> {
        if self.failures > 0 {
            self.failures -= 1;
            note(&self.journal, format!("{} fails", self.name));
            return Err("as told".to_owned());
        }
        note(&self.journal, format!("{} {what}", self.name));
        Ok(())
    }
}

impl Cache for Flaky {
    async fn delete(&mut self, keys: &[&KeyList]) -> Result<Outcome, CacheError> {
        let keys = keys.iter().flat_map(|keys| keys.iter());
        let names: Vec<_> = keys.map(String::from_utf8_lossy).collect();
        let attempt = self.attempt(names.join(" "));
        // Done now, and answered late.
        if names.iter().any(|name| name == "slow") {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let locked = names.iter().filter(|name| name.starts_with("locked"));
        let refused = locked.map(|name| Refused {
            key: name.as_bytes().to_vec(),
            code: "no-permission",
            reason: "NOPERM".to_owned(),
        });
        let outcome = Outcome {
            existed: 0,
            refused: refused.collect(),
        };
        attempt
            .map(|()| outcome)
            .map_err(|reason| CacheError::Unavailable {
                address: "redis".to_owned(),
                code: "connection",
                reason,
            })
    }

    async fn delete_matching(&mut self, glob: &[u8]) -> Result<Outcome, CacheError> {
        note(
            &self.journal,
            format!("{} all {}", self.name, String::from_utf8_lossy(glob)),
        );
        if glob.starts_with(b"slow") {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Ok(Outcome::default())
    }

    async fn increment(&mut self, key: &[u8]) -> Result<Outcome, CacheError> {
        let key = String::from_utf8_lossy(key);
        note(&self.journal, format!("{} increments {key}", self.name));
        Ok(Outcome::default())
    }

    async fn delete_guarded(
        &mut self,
        guards: &Guards,
        keys: &[&KeyList],
    ) -> Result<Outcome, CacheError> {
        for (key, version, _) in guards.iter() {
            let key = String::from_utf8_lossy(key);
            note(
                &self.journal,
                format!("{} raises {key} to {version}", self.name),
            );
        }
        self.delete(keys).await
    }

    async fn delete_fields(&mut self, fields: &PairSet) -> Result<Outcome, CacheError> {
        for (key, field) in fields.iter() {
            let (key, field) = (String::from_utf8_lossy(key), String::from_utf8_lossy(field));
            note(
                &self.journal,
                format!("{} field {field} of {key}", self.name),
            );
        }
        Ok(Outcome::default())
    }

    async fn find_keys(&mut self, glob: &[u8], _from: ScanPlace) -> Result<FoundKeys, CacheError> {
        let keys = vec![glob.strip_suffix(b"*").unwrap_or(glob).to_vec()];
        Ok(FoundKeys { keys, next: None })
    }

    /// Every set has two members, one after the other.
    async fn scan_tag_sets(&mut self, sets: &[TagScan<'_>]) -> Result<Vec<TagStep>, CacheError> {
        let step = |set: &TagScan<'_>| TagStep::Members {
            kind: TagKind::Set,
            members: vec![format!("m{}", set.cursor).into_bytes()],
            next: 1 - set.cursor,
        };
        Ok(sets.iter().map(step).collect())
    }

    async fn remove_members(
        &mut self,
        leaving: &[MemberRemoval<'_>],
    ) -> Result<Outcome, CacheError> {
        for set in leaving {
            let key = String::from_utf8_lossy(set.key);
            let members = String::from_utf8(set.members.concat()).unwrap();
            note(
                &self.journal,
                format!("{} takes {members} out of {key}", self.name),
            );
        }
        Ok(Outcome::default())
    }

    async fn publish(&mut self, channel: &str, message: &[u8]) -> Result<Outcome, CacheError> {
        let message = String::from_utf8_lossy(message);
        note(
            &self.journal,
            format!("{} tells {channel} {message}", self.name),
        );
        Ok(Outcome::default())
    }
}

impl Visibility for Flaky {
    async fn wait(&mut self, gtids: &GtidSet, _: Duration) -> Result<Instant, NotVisible> {
        let attempt = self.attempt(gtids.to_string());
        attempt.map(|()| Instant::now()).map_err(|reason| {
            NotVisible::Unknown(SourceError::Unreachable {
                address: "mysql".to_owned(),
                reason,
            })
        })
    }
}

impl PathSink for Flaky {
    type Pending = Vec<String>;

    fn prepare(&mut self, paths: &Paths) -> Vec<String> {
        paths.iter().collect()
    }

    async fn send(&mut self, pending: &mut Vec<String>) -> Result<(), BufferError> {
        let attempt = self.attempt(pending.join(" "));
        attempt
            .map(|()| pending.clear())
            .map_err(|reason| BufferError::Unavailable {
                buffer: "queue".into(),
                operation: "send",
                code: "timeout".to_owned(),
                reason,
            })
    }
}

impl Checkpoint for Flaky {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        Ok(None)
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        let attempt = self.attempt(stored.offset.to_string());
        attempt.map_err(|reason| CheckpointError::Io {
            path: "checkpoint".to_owned(),
            action: "write it",
            reason,
        })
    }
}

/// A batch of one key and one path, up to the position `offset`.
fn batch(offset: u64) -> Batch {
    let rule: Arc<str> = "r".into();
    let mut batch = Batch::default();
    batch.act(
        &rule,
        Action::Delete {
            key: format!("k{offset}").as_bytes(),
            settles: true,
        },
    );
    batch.act(
        &rule,
        Action::Invalidate {
            path: &format!("/p{offset}"),
            at: Target::default(),
        },
    );
    batch.mark = Some(mark(offset));
    batch
}

fn mark(offset: u64) -> Mark {
    let position = Position {
        file: "bin.000001".into(),
        offset,
        gtids: None,
    };
    Mark {
        position,
        server_uuid: "uuid".into(),
        committed_at_us: 1_000_000,
        file_begun_s: None,
    }
}

/// The three stages behind the planner, joined as in [`run`].
struct Stages {
    planned: mpsc::Sender<Batch>,
    tasks: JoinSet<()>,
    journal: Journal,
    reports: Reports,
}

impl Stages {
    /// Each stage fails as often as `failures` says before its first success.
    fn start(failures: [u32; 3]) -> Self {
        Self::settling(failures, Settling::Off)
    }

    fn settling(failures: [u32; 3], settling: Settling) -> Self {
        Self::seeing(0, failures, settling)
    }

    /// The source says as often that it does not know what is visible.
    fn seeing(visibility: u32, failures: [u32; 3], settling: Settling) -> Self {
        let journal = Journal::default();
        let [cache, paths, checkpoint] = failures;
        let (planned, to_delete) = mpsc::channel(1);
        let (deleted, to_settle) = mpsc::channel(1);
        let (settled, to_send) = mpsc::channel(1);
        let (accepted, to_store) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let reports = Reports::default();
        tasks.spawn(delete(
            reports.clone(),
            Flaky::new(&journal, "visibility", visibility),
            Flaky::new(&journal, "cache", cache),
            settling.clone(),
            to_delete,
            deleted,
        ));
        let second = Flaky::new(&journal, "second", 0);
        tasks.spawn(settle(
            reports.clone(),
            second,
            settling,
            to_settle,
            settled,
        ));
        tasks.spawn(send(
            reports.clone(),
            Flaky::new(&journal, "paths", paths),
            to_send,
            accepted,
        ));
        let storing = store(
            reports.clone(),
            Flaky::new(&journal, "checkpoint", checkpoint),
            to_store,
        );
        tasks.spawn(async move { storing.await.unwrap() });
        Self {
            planned,
            tasks,
            journal,
            reports,
        }
    }

    fn journal(&self) -> Vec<String> {
        self.journal.lock().unwrap().clone()
    }

    /// The planner has no more: everything in flight is finished.
    async fn end(self) -> Vec<String> {
        drop(self.planned);
        self.tasks.join_all().await;
        self.journal.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn keys_go_before_paths_and_the_position_comes_last() {
    let stages = Stages::start([0, 0, 0]);
    stages.planned.send(batch(10)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        stages.journal(),
        ["cache k10", "paths /p10", "checkpoint 10"]
    );
    assert_eq!(stages.end().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_fails_holds_everything_back() {
    let stages = Stages::start([u32::MAX, 0, 0]);
    stages.planned.send(batch(10)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let journal = stages.journal();
    assert!(journal.len() > 100, "it is retried: {}", journal.len());
    assert!(
        journal.iter().all(|line| line == "cache fails"),
        "{journal:?}"
    );
    // One batch is on its way and one waits; the planner has to.
    stages.planned.try_send(batch(20)).unwrap();
    assert!(stages.planned.try_send(batch(30)).is_err());
}

#[tokio::test(start_paused = true)]
async fn paths_that_are_not_accepted_hold_the_position_back() {
    let stages = Stages::start([0, u32::MAX, 0]);
    for offset in [10, 20] {
        stages.planned.send(batch(offset)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut journal = stages.journal();
    journal.dedup();
    let others: Vec<_> = journal
        .into_iter()
        .filter(|line| line != "paths fails")
        .collect();
    assert_eq!(
        others,
        ["cache k10", "cache k20"],
        "keys go on, positions do not"
    );
}

/// What is cached must not stay stale because the edge's queue is away.
#[tokio::test(start_paused = true)]
async fn keys_go_on_while_paths_are_not_accepted_and_then_the_paths_go_together() {
    let stages = Stages::start([0, 5, 0]);
    for offset in 1..=200 {
        stages.planned.send(batch(offset)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let journal = stages.journal();
    assert!(journal.contains(&"cache k200".to_owned()), "{journal:?}");
    assert!(!journal.iter().any(|line| line.starts_with("paths /")));
    let journal = stages.end().await;
    let sent: Vec<&String> = journal
        .iter()
        .filter(|line| line.starts_with("paths /"))
        .collect();
    assert!(sent.len() < 5, "{} requests for 200 batches", sent.len());
    let paths: usize = sent.iter().map(|line| line.matches("/p").count()).sum();
    assert_eq!(paths, 200);
    assert_eq!(journal.last().unwrap(), "checkpoint 200");
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_repeated_until_it_succeeds_and_nothing_overtakes_it() {
    let stages = Stages::start([2, 3, 1]);
    stages.planned.send(batch(10)).await.unwrap();
    let journal = stages.end().await;
    assert_eq!(
        journal,
        [
            "cache fails",
            "cache fails",
            "cache k10",
            "paths fails",
            "paths fails",
            "paths fails",
            "paths /p10",
            "checkpoint fails",
            "checkpoint 10",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_at_the_end_is_finished() {
    let stages = Stages::start([1, 1, 1]);
    for offset in [10, 20, 30] {
        stages.planned.send(batch(offset)).await.unwrap();
    }
    let journal = stages.end().await;
    for offset in [10, 20, 30] {
        let at = |line: String| journal.iter().position(|other| *other == line);
        let (key, path) = (
            at(format!("cache k{offset}")),
            at(format!("paths /p{offset}")),
        );
        assert!(key.is_some() && key < path, "{offset}: {journal:?}");
    }
    assert_eq!(journal.last().unwrap(), "checkpoint 30");
}

/// A position is stored only after the keys and paths of every batch up to it.
#[tokio::test(start_paused = true)]
async fn no_position_is_stored_before_its_batch() {
    let stages = Stages::start([3, 2, 4]);
    let planned = stages.planned.clone();
    for offset in 1..=50 {
        planned.send(batch(offset)).await.unwrap();
        if offset % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    drop(planned);
    let journal = stages.end().await;
    let (mut deleted, mut accepted) = (0, 0);
    for line in &journal {
        // The last of several: paths of batches that waited go together.
        let number = || {
            let last = line.rsplit(|c: char| !c.is_ascii_digit()).next();
            last.unwrap().parse::<u64>().unwrap()
        };
        match line.split(' ').next().unwrap() {
            _ if line.ends_with("fails") => {}
            "cache" => deleted = number(),
            "paths" => {
                accepted = number();
                assert!(accepted <= deleted, "{line}: {journal:?}");
            }
            _ => assert!(number() <= accepted, "{line}: {journal:?}"),
        }
    }
    assert_eq!((deleted, accepted), (50, 50));
    assert_eq!(journal.last().unwrap(), "checkpoint 50");
}

#[tokio::test(start_paused = true)]
async fn positions_are_stored_no_more_often_than_the_interval() {
    let stages = Stages::start([0, 0, 0]);
    let start = Instant::now();
    for offset in 1..=100 {
        stages.planned.send(batch(offset)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    let journal = stages.end().await;
    let stored: Vec<_> = journal
        .iter()
        .filter(|line| line.starts_with("checkpoint"))
        .collect();
    assert!((5..=7).contains(&stored.len()), "{stored:?}");
    assert_eq!(stored.last().unwrap().as_str(), "checkpoint 100");
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_a_mark_or_a_change_passes_through() {
    let stages = Stages::start([0, 0, 0]);
    let mut unmarked = batch(10);
    unmarked.mark = None;
    stages.planned.send(unmarked).await.unwrap();
    let mut empty = Batch::default();
    empty.mark = Some(mark(20));
    stages.planned.send(empty).await.unwrap();
    let journal = stages.end().await;
    let stored: Vec<_> = journal
        .iter()
        .filter(|line| line.starts_with("checkpoint"))
        .collect();
    assert_eq!(stored, ["checkpoint 20"]);
}

#[tokio::test(start_paused = true)]
async fn globs_are_deleted_after_keys_and_before_paths() {
    let stages = Stages::start([0, 0, 0]);
    let mut wide = batch(10);
    wide.act(&"r".into(), Action::DeleteMatching { glob: b"user:*" });
    stages.planned.send(wide).await.unwrap();
    assert_eq!(
        stages.end().await,
        [
            "cache k10",
            "cache all user:*",
            "paths /p10",
            "checkpoint 10"
        ]
    );
}

/// Microseconds since the epoch, `ago` before now.
fn committed(ago: Duration) -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from((now - ago).as_micros()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fresh_change_is_deleted_again_before_its_path_and_position_go_on() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut fresh = batch(10);
    fresh.newest_us = committed(Duration::ZERO);
    fresh.gtids = Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7".parse().unwrap());
    let start = Instant::now();
    stages.planned.send(fresh).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let first = [
        "visibility 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7",
        "cache k10",
    ];
    assert_eq!(stages.journal(), first, "after {:?}", start.elapsed());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let journal = stages.journal();
    assert_eq!(journal[..2], first);
    assert_eq!(journal[2..], ["second k10", "paths /p10", "checkpoint 10"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_older_than_settling_is_deleted_once() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut old = batch(10);
    old.newest_us = committed(Duration::from_secs(10));
    stages.planned.send(old).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        stages.journal(),
        ["cache k10", "paths /p10", "checkpoint 10"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_versioned_key_needs_no_second_deletion() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut batch = Batch::default();
    let versioned = Action::Delete {
        key: b"user:1:v1",
        settles: false,
    };
    batch.act(&"r".into(), versioned);
    batch.newest_us = committed(Duration::ZERO);
    batch.mark = Some(mark(10));
    stages.planned.send(batch).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let journal = stages.journal();
    assert_eq!(journal[..1], ["cache user:1:v1"]);
    assert!(
        !journal.iter().any(|line| line.starts_with("second")),
        "{journal:?}"
    );
}

const GTIDS: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7";

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_held_up_settles_from_when_its_rows_were_visible() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut held_up = batch(10);
    held_up.newest_us = committed(Duration::from_secs(10));
    held_up.gtids = Some(GTIDS.parse().unwrap());
    stages.planned.send(held_up).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(stages.journal().last().unwrap(), "cache k10");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let journal = stages.journal();
    assert_eq!(journal[2..], ["second k10", "paths /p10", "checkpoint 10"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_without_knowing_whether_it_is_visible_settles_however_old_it_is() {
    let settling = Settling::After(Duration::from_secs(1));
    let stages = Stages::seeing(u32::MAX, [0, 0, 0], settling);
    let mut unknown = batch(10);
    unknown.newest_us = committed(Duration::from_secs(10));
    unknown.gtids = Some(GTIDS.parse().unwrap());
    stages.planned.send(unknown).await.unwrap();
    let mut journal = stages.end().await;
    journal.retain(|line| line != "visibility fails");
    assert_eq!(
        journal,
        ["cache k10", "second k10", "paths /p10", "checkpoint 10"]
    );
}

/// A reader may fill between the deletion and its answer.
#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_answered_late_settles_all_the_same() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut slow = Batch::default();
    let key = Action::Delete {
        key: b"slow",
        settles: true,
    };
    slow.act(&"r".into(), key);
    slow.gtids = Some(GTIDS.parse().unwrap());
    slow.mark = Some(mark(10));
    stages.planned.send(slow).await.unwrap();
    let journal = stages.end().await;
    assert!(journal.contains(&"second slow".to_owned()), "{journal:?}");
}

#[tokio::test(start_paused = true)]
async fn what_settles_is_deleted_again_once_the_slowest_reader_has_it() {
    let (publish, applied) = tokio::sync::watch::channel(None);
    let settling = Settling::Readers {
        min: Duration::from_secs(1),
        max: Duration::from_secs(10),
        applied,
    };
    let stages = Stages::settling([0, 0, 0], settling);
    let start = Instant::now();
    for offset in [10, 20] {
        let mut batch = batch(offset);
        batch.gtids = Some(GTIDS.parse().unwrap());
        stages.planned.send(batch).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    // The readers have the first change, and not yet the second.
    publish.send_replace(Some(ReadersApplied {
        through: start + Duration::from_secs(1),
        seen_at: Instant::now(),
    }));
    let seconds = |journal: Vec<String>| {
        let lines = journal.into_iter();
        lines
            .filter(|line| line.starts_with("second"))
            .collect::<Vec<_>>()
    };
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(seconds(stages.journal()), [""; 0], "{:?}", start.elapsed());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seconds(stages.journal()), ["second k10"]);
    // Nothing more is heard of the readers: ten seconds are enough for the second.
    tokio::time::sleep(Duration::from_millis(6_800)).await;
    assert_eq!(seconds(stages.journal()), ["second k10"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seconds(stages.journal()), ["second k10", "second k20"]);
}

/// A batch of one of everything.
fn shapes(offset: u64) -> Batch {
    let rule: Arc<str> = "r".into();
    let channel: Arc<str> = "shop".into();
    let mut batch = batch(offset);
    let ttl = Duration::from_secs(60);
    for version in [4, 5, 3] {
        let key = b"guard";
        batch.act(&rule, Action::RaiseGuard { key, version, ttl });
    }
    let (key, field, member_prefix) = (b"users", b"7", b"p:");
    batch.act(&rule, Action::DeleteField { key, field });
    let key = b"tag";
    batch.act(&rule, Action::DeleteTagged { key, member_prefix });
    for what in [
        Published::Key {
            key: b"k",
            settles: false,
        },
        Published::Members,
    ] {
        let channel = &channel;
        batch.act(&rule, Action::Publish { channel, what });
    }
    batch.newest_us = committed(Duration::ZERO);
    batch
}

#[tokio::test(start_paused = true)]
async fn guards_go_before_keys_members_leave_after_theirs_and_announcements_come_last() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    stages.planned.send(shapes(10)).await.unwrap();
    assert_eq!(
        stages.end().await,
        [
            "cache raises guard to 5",
            "cache k10",
            "cache field 7 of users",
            "cache p:m0",
            "cache takes m0 out of tag",
            "cache p:m0",
            "cache p:m1",
            "cache takes m1 out of tag",
            "cache p:m1",
            r#"cache tells shop {"v":1,"keys":["k","p:m0","p:m1"]}"#,
            // What left its set goes again, nothing leaves, and no guard moves.
            "second k10",
            "second field 7 of users",
            "second p:m0 p:m1",
            "second p:m0",
            "second p:m1",
            r#"second tells shop {"v":1,"keys":["p:m0","p:m1"]}"#,
            "paths /p10",
            "checkpoint 10",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn tag_sets_are_found_by_glob_for_a_whole_table() {
    let stages = Stages::start([0, 0, 0]);
    let mut wide = batch(10);
    let (glob, member_prefix) = (b"tag:*", b"");
    let tagged = Action::DeleteTaggedMatching {
        glob,
        member_prefix,
    };
    wide.act(&"r".into(), tagged);
    stages.planned.send(wide).await.unwrap();
    let journal = stages.end().await;
    let expected = [
        "cache k10",
        "cache m0",
        "cache takes m0 out of tag:",
        "cache m0",
        "cache m1",
    ];
    assert_eq!(journal[..5], expected, "{journal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_repeats_guards_and_keys_and_what_left_its_set_is_not_forgotten() {
    let stages = Stages::settling([3, 0, 0], Settling::After(Duration::from_secs(1)));
    stages.planned.send(shapes(10)).await.unwrap();
    let journal = stages.end().await;
    let raised = journal
        .iter()
        .filter(|line| *line == "cache raises guard to 5");
    assert_eq!(raised.count(), 4, "{journal:?}");
    assert!(
        journal.contains(&"second p:m0 p:m1".to_owned()),
        "{journal:?}"
    );
}

/// A statement that was just committed: what was read before it may still be stored.
#[tokio::test(start_paused = true)]
async fn what_a_glob_matches_is_deleted_again_when_it_is_due() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut wide = Batch::default();
    let rule: Arc<str> = "r".into();
    wide.act(&rule, Action::DeleteMatching { glob: b"user:*" });
    wide.newest_us = committed(Duration::ZERO);
    wide.mark = Some(mark(10));
    stages.planned.send(wide).await.unwrap();
    let journal = stages.end().await;
    let globs: Vec<_> = journal
        .iter()
        .filter(|line| line.contains(" all "))
        .collect();
    assert_eq!(
        globs,
        ["cache all user:*", "second all user:*"],
        "{journal:?}"
    );
    assert_eq!(journal.last().unwrap(), "checkpoint 10");
}

/// What the scan has passed can be filled again while it goes on.
#[tokio::test(start_paused = true)]
async fn what_a_scan_longer_than_settling_matches_is_deleted_again_at_once() {
    let settling = Settling::After(Duration::from_secs(1));
    let stages = Stages::settling([0, 0, 0], settling);
    let mut wide = Batch::default();
    wide.act(&"r".into(), Action::DeleteMatching { glob: b"slow:*" });
    wide.newest_us = committed(Duration::ZERO);
    wide.mark = Some(mark(10));
    stages.planned.send(wide).await.unwrap();
    let mut scans = stages.end().await;
    scans.retain(|line| line.contains(" all "));
    assert_eq!(scans, ["cache all slow:*", "second all slow:*"]);
}

/// The keys of the dead letters.
fn dead(reports: &Reports) -> Vec<String> {
    let letters = reports.ledger.summary().recent_dead_letters;
    letters
        .into_iter()
        .filter_map(|letter| letter.key)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_a_dead_letter_once_and_everything_else_goes_on() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let reports = stages.reports.clone();
    let mut fresh = batch(10);
    for (key, settles) in [(&b"locked:settles"[..], true), (b"locked:once", false)] {
        fresh.act(&"r".into(), Action::Delete { key, settles });
    }
    fresh.newest_us = committed(Duration::ZERO);
    stages.planned.send(fresh).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(dead(&reports), ["locked:once"], "the other is tried again");
    let journal = stages.end().await;
    assert_eq!(dead(&reports), ["locked:once", "locked:settles"]);
    assert_eq!(journal[2..], ["paths /p10", "checkpoint 10"]);
    let letter = reports.ledger.summary().recent_dead_letters[0].clone();
    assert_eq!(letter.position.unwrap().offset, 10);
    assert_eq!(letter.reason, "no-permission");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_closed_once_the_checkpoint_has_passed_it() {
    let stages = Stages::start([0, u32::MAX, 0]);
    let reports = stages.reports.clone();
    let mut gap = batch(10);
    let id = reports
        .ledger
        .gap_begun(Default::default(), Default::default(), "purged");
    gap.gap = Some(id);
    stages.planned.send(gap).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(reports.ledger.summary().recent_gaps[0].is_open());
    drop(stages);

    let stages = Stages::start([1, 1, 1]);
    let reports = stages.reports.clone();
    let mut gap = batch(10);
    gap.gap = Some(
        reports
            .ledger
            .gap_begun(Default::default(), Default::default(), "purged"),
    );
    stages.planned.send(gap).await.unwrap();
    stages.end().await;
    assert!(!reports.ledger.summary().recent_gaps[0].is_open());
}

#[tokio::test(start_paused = true)]
async fn gaps_among_batches_that_wait_together_are_closed_too() {
    let stages = Stages::start([0, 5, 0]);
    let reports = stages.reports.clone();
    for offset in 1..=20 {
        let mut batch = batch(offset);
        if offset % 8 == 0 {
            let id = reports
                .ledger
                .gap_begun(Default::default(), Default::default(), "purged");
            batch.gap = Some(id);
        }
        stages.planned.send(batch).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stages.end().await;
    let gaps = reports.ledger.summary().recent_gaps;
    assert_eq!(gaps.len(), 2);
    assert!(!gaps.iter().any(crate::ledger::Gap::is_open), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn the_board_tells_what_is_in_trouble_and_how_old_the_oldest_change_is() {
    let stages = Stages::start([u32::MAX, 0, 0]);
    let mut old = batch(10);
    old.oldest_us = committed(Duration::from_secs(30));
    stages.planned.send(old).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let snapshot = stages.reports.board.snapshot();
    let cache = &snapshot.parts[&Component::Cache];
    assert!(cache.trouble_since.is_some());
    let busy = cache.busy_since.unwrap().elapsed();
    assert!(
        busy < Duration::from_secs(6),
        "a retry is progress: {busy:?}"
    );
    let oldest = batch::since(snapshot.deletes_since_us);
    assert!(oldest >= Duration::from_secs(30), "{oldest:?}");
}
