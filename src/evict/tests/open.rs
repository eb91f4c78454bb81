//! Keys that were deleted before it was known whether their rows are visible.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fakes::{GTIDS, Stages, batch};
use crate::evict::batch::Batch;
use crate::evict::settling::Settling;
use crate::model::invalidation::{Action, Plan};
use crate::progress::board::Component;

const SETTLE: Settling = Settling::After(Duration::from_secs(1));

/// Longer than deletions wait for a server that says nothing.
const SILENT: Duration = Duration::from_secs(60);

fn with_gtids(offset: u64) -> Batch {
    let mut batch = batch(offset);
    batch.read.gtids = GTIDS.parse().unwrap();
    batch
}

/// The journal so far, without the answers of the server.
fn done(stages: &Stages) -> Vec<String> {
    let mut journal = stages.journal();
    journal.retain(|line| !line.ends_with(GTIDS));
    journal
}

#[tokio::test(start_paused = true)]
async fn they_are_deleted_again_once_their_rows_are_visible_and_settle_from_then() {
    let began = Instant::now();
    let settle_after = Duration::from_secs(5);
    let stages = Stages::unseen(SILENT, Settling::After(settle_after));
    stages.planned.send(with_gtids(10)).await.unwrap();
    sleep(Duration::from_secs(9)).await;
    assert_eq!(done(&stages), [""; 0]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(done(&stages), ["cache k10", "second k10"]);
    let trouble = |stages: &Stages| {
        let parts = stages.reports.board.snapshot().parts;
        parts[&Component::Unseen].trouble_since.is_some()
    };
    assert!(trouble(&stages));
    // It is asked about once a second.
    tokio::time::sleep_until(began + SILENT + Duration::from_secs(2)).await;
    assert_eq!(done(&stages)[2..], ["second k10"]);
    assert!(!trouble(&stages));
    sleep(settle_after).await;
    assert_eq!(
        done(&stages)[3..],
        ["second k10", "paths /p10", "checkpoint 10"]
    );
    stages.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_settling_they_are_deleted_once_more() {
    let stages = Stages::unseen(SILENT, Settling::Off);
    stages.planned.send(with_gtids(10)).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(done(&stages), ["cache k10"]);
    let mut journal = stages.end().await;
    journal.retain(|line| !line.ends_with(GTIDS));
    assert_eq!(journal[1..], ["second k10", "paths /p10", "checkpoint 10"]);
}

#[tokio::test(start_paused = true)]
async fn only_their_paths_and_their_position_wait() {
    let stages = Stages::unseen(SILENT, SETTLE);
    stages.planned.send(with_gtids(10)).await.unwrap();
    for offset in [20, 30] {
        stages.planned.send(batch(offset)).await.unwrap();
    }
    sleep(Duration::from_secs(30)).await;
    let mut journal = done(&stages);
    journal.sort_unstable();
    assert_eq!(
        journal,
        [
            "cache k10",
            "cache k20",
            "cache k30",
            "paths /p20",
            "paths /p30",
            "second k10",
            "second k20",
            "second k30",
        ]
    );
    let journal = stages.end().await;
    assert_eq!(
        journal[journal.len() - 2..],
        ["paths /p10", "checkpoint 30"]
    );
}

/// The server is another one, which never has their transactions.
#[tokio::test(start_paused = true)]
async fn a_gap_takes_their_place_and_settles_by_itself() {
    let stages = Stages::unseen(Duration::from_secs(1_000_000), SETTLE);
    stages.planned.send(with_gtids(10)).await.unwrap();
    let mut gap = batch(20);
    gap.act(&"r".into(), Action::DeleteMatching { glob: b"*" });
    let ledger = stages.reports.ledger.clone();
    gap.covers_gap(ledger.gap_begun(Default::default(), Default::default(), "reset"));
    stages.planned.send(gap).await.unwrap();
    let began = Instant::now();
    let journal = stages.end().await;
    assert!(began.elapsed() < Duration::from_secs(15));
    let at = |line: &str| journal.iter().rposition(|other| other == line).unwrap();
    // Each waits for its own keys.
    for (path, deleted) in [("/p10", "second k10"), ("/p20", "scans all *")] {
        let sent = journal.iter().position(|line| line.contains(path)).unwrap();
        assert!(at(deleted) < sent, "{journal:?}");
    }
    let scans = journal.iter().filter(|line| *line == "scans all *");
    assert_eq!(scans.count(), 2, "{journal:?}");
    assert_eq!(journal.last().unwrap(), "checkpoint 20");
    assert!(!ledger.summary().recent_gaps[0].is_open());
}

#[tokio::test(start_paused = true)]
async fn too_many_of_them_become_everything_and_deletions_go_on() {
    let stages = Stages::unseen(Duration::from_secs(3_600), SETTLE);
    let big = |offset: u64| {
        let mut batch = with_gtids(offset);
        for n in 0..16 {
            let key = format!("{}{offset}:{n}", "k".repeat(64 << 10));
            let key = key.as_bytes();
            batch.act(&"r".into(), Action::Delete { key, settles: true });
        }
        batch
    };
    for offset in 1..=20 {
        stages.planned.send(big(offset)).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        let held = stages.reports.board.snapshot().settling_bytes;
        assert!(held < 16 << 20, "{held} bytes after {offset}");
    }
    let deleted = done(&stages);
    let deleted = deleted.iter().filter(|line| line.starts_with("cache k"));
    assert_eq!(deleted.count(), 20, "nothing waits");
    let journal = stages.end().await;
    assert_eq!(journal.last().unwrap(), "checkpoint 20");
}
