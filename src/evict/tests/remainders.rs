//! What fails in part, or takes a scan, holds up nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::fakes::{AWAY, Stages, batch, committed};
use crate::evict::batch::Batch;
use crate::evict::settling::Settling;
use crate::model::invalidation::{Action, Plan};
use crate::progress::board::Component;

fn with_key(offset: u64, key: &[u8]) -> Batch {
    let mut batch = batch(offset);
    let settles = true;
    batch.act(&"r".into(), Action::Delete { key, settles });
    batch.oldest = committed(Duration::ZERO);
    batch
}

fn with_glob(offset: u64, glob: &[u8]) -> Batch {
    let mut batch = batch(offset);
    batch.act(&"r".into(), Action::DeleteMatching { glob });
    batch
}

#[tokio::test(start_paused = true)]
async fn keys_that_fail_hold_up_their_own_path_and_all_positions_and_nothing_else() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    stages.planned.send(with_key(10, b"away")).await.unwrap();
    stages.planned.send(with_key(20, b"here")).await.unwrap();
    tokio::time::sleep(AWAY / 2).await;
    let mut journal = stages.journal();
    journal.retain(|line| line != "retries away");
    assert_eq!(
        journal,
        [
            "cache k10 away",
            "cache k20 here",
            "second k10 away",
            "second k20 here",
            "paths /p20",
        ]
    );
    let snapshot = stages.reports.board.snapshot();
    let retries = &snapshot.parts[&Component::Retries];
    assert!(retries.trouble_since.is_some());
    assert!(snapshot.parts[&Component::Cache].trouble_since.is_none());
    assert!(snapshot.remains_since.is_some(), "it counts as lag");
    let board = Arc::clone(&stages.reports.board);
    let journal = stages.end().await;
    let rest = &journal[journal.len() - 3..];
    assert_eq!(rest, ["retries away", "paths /p10", "checkpoint 20"]);
    let snapshot = board.snapshot();
    assert_eq!(snapshot.remains_since, None);
    assert_eq!(snapshot.parts[&Component::Retries].trouble_since, None);
    assert_eq!((snapshot.settling_batches, snapshot.settling_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_cannot_be_raised_keeps_no_key_and_keys_go_again_once_it_is() {
    let stages = Stages::start([0, 0, 0]);
    let mut guarded = batch(10);
    let (version, ttl) = (7, Duration::from_secs(60));
    let key = b"away:guard";
    guarded.act(&"r".into(), Action::RaiseGuard { key, version, ttl });
    stages.planned.send(guarded).await.unwrap();
    stages.planned.send(batch(20)).await.unwrap();
    let mut journal = stages.end().await;
    journal.retain(|line| !line.contains("cannot raise") && !line.starts_with("retries k10"));
    assert_eq!(
        journal,
        [
            "cache k10",
            "cache k20",
            "paths /p20",
            "retries raises away:guard to 7",
            "paths /p10",
            "checkpoint 20",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_scan_holds_up_its_own_path_and_all_positions_and_nothing_else() {
    let stages = Stages::start([0, 0, 0]);
    stages.planned.send(with_glob(10, b"slow:*")).await.unwrap();
    stages.planned.send(batch(20)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = ["cache k10", "scans all slow:*", "cache k20", "paths /p20"];
    let mut journal = stages.journal();
    journal.sort();
    let mut sorted = before.to_vec();
    sorted.sort_unstable();
    assert_eq!(journal, sorted);
    let journal = stages.end().await;
    assert_eq!(journal[4..], ["paths /p10", "checkpoint 20"]);
}

#[tokio::test(start_paused = true)]
async fn a_scan_does_for_all_that_were_asked_for_before_it_began() {
    let stages = Stages::start([0, 0, 0]);
    for offset in 1..=20 {
        let glob = with_glob(offset, b"slow:*");
        stages.planned.send(glob).await.unwrap();
    }
    let journal = stages.end().await;
    let scans = journal.iter().filter(|line| line.contains(" all "));
    assert_eq!(scans.count(), 2, "{journal:?}");
    assert_eq!(journal.last().unwrap(), "checkpoint 20");
}

#[tokio::test(start_paused = true)]
async fn what_remains_is_bounded() {
    let stages = Stages::start([0, 0, 0]);
    let key = |number: u64| [format!("away{number}").into_bytes(), vec![b'.'; 1 << 20]].concat();
    let mut taken = 0_u64;
    while tokio::time::timeout(
        AWAY / 100,
        stages.planned.send(with_key(taken, &key(taken))),
    )
    .await
    .is_ok()
    {
        taken += 1;
        assert!(taken < 40, "a megabyte each");
    }
    assert!(taken > 5, "{taken}");
    let journal = stages.end().await;
    let last = format!("checkpoint {}", taken - 1);
    assert_eq!(journal.last(), Some(&last));
}
