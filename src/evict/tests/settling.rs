//! Which keys are deleted a second time, and when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fakes::{GTIDS, Stages, batch, committed, mark};
use crate::binlog::server::replica_lag::ReadersApplied;
use crate::evict::batch::Batch;
use crate::evict::settling::Settling;
use crate::model::invalidation::{Action, Plan};

#[tokio::test(start_paused = true)]
async fn a_fresh_change_is_deleted_again_before_its_path_and_position_go_on() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut fresh = batch(10);
    fresh.read.gtids = GTIDS.parse().unwrap();
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
async fn a_change_that_is_visible_for_longer_than_settling_takes_is_deleted_once() {
    let visible_by = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stages = Stages::seen(visible_by, Settling::After(Duration::from_secs(1)));
    let mut old = batch(10);
    old.read.gtids = GTIDS.parse().unwrap();
    stages.planned.send(old).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        stages.journal()[1..],
        ["cache k10", "paths /p10", "checkpoint 10"]
    );
}

/// Anonymous transactions, gaps, events that cannot be read.
#[tokio::test(start_paused = true)]
async fn a_change_that_nobody_can_be_asked_about_settles_from_its_deletion() {
    let visible_by = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    for gtids in ["", GTIDS] {
        let stages = Stages::seen(visible_by, Settling::After(Duration::from_secs(1)));
        let mut unnamed = batch(10);
        unnamed.read.gtids = gtids.parse().unwrap();
        unnamed.read.unnamed = true;
        unnamed.oldest = committed(Duration::from_secs(3_600));
        stages.planned.send(unnamed).await.unwrap();
        let mut journal = stages.end().await;
        journal.retain(|line| !line.starts_with("visibility"));
        let expected = ["cache k10", "second k10", "paths /p10", "checkpoint 10"];
        assert_eq!(journal, expected, "{gtids}");
    }
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

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_held_up_settles_from_when_its_rows_were_visible() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut held_up = batch(10);
    held_up.oldest = committed(Duration::from_secs(10));
    held_up.read.gtids = GTIDS.parse().unwrap();
    stages.planned.send(held_up).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(stages.journal().last().unwrap(), "cache k10");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let journal = stages.journal();
    assert_eq!(journal[2..], ["second k10", "paths /p10", "checkpoint 10"]);
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
    slow.read.gtids = GTIDS.parse().unwrap();
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
        batch.read.gtids = GTIDS.parse().unwrap();
        stages.planned.send(batch).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    // The readers have the first change, and not yet the second.
    publish.send_replace(Some(ReadersApplied {
        through: start + Duration::from_secs(1),
        seen_at: Instant::now(),
    }));
    let seconds = |journal: Vec<String>| {
        journal
            .into_iter()
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

/// A statement that was just committed: what was read before it may still be stored.
#[tokio::test(start_paused = true)]
async fn what_a_glob_matches_is_deleted_again_when_it_is_due() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    let mut wide = Batch::default();
    let rule: Arc<str> = "r".into();
    wide.act(&rule, Action::DeleteMatching { glob: b"user:*" });
    wide.mark = Some(mark(10));
    stages.planned.send(wide).await.unwrap();
    let journal = stages.end().await;
    let globs: Vec<_> = journal
        .iter()
        .filter(|line| line.contains(" all "))
        .collect();
    assert_eq!(
        globs,
        ["scans all user:*", "scans all user:*"],
        "{journal:?}"
    );
    assert_eq!(journal.last().unwrap(), "checkpoint 10");
}

/// Keys behind the scan can be filled again while it goes on.
#[tokio::test(start_paused = true)]
async fn what_a_scan_longer_than_settling_matches_is_deleted_again_at_once() {
    let settling = Settling::After(Duration::from_secs(1));
    let stages = Stages::settling([0, 0, 0], settling);
    let mut wide = Batch::default();
    wide.act(&"r".into(), Action::DeleteMatching { glob: b"slow:*" });
    wide.mark = Some(mark(10));
    stages.planned.send(wide).await.unwrap();
    let mut scans = stages.end().await;
    scans.retain(|line| line.contains(" all "));
    assert_eq!(scans, ["scans all slow:*", "scans all slow:*"]);
}
