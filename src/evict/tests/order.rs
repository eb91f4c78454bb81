//! Keys, then paths, then the position, whatever fails in between.

use std::time::Duration;

use tokio::time::Instant;

use super::fakes::{Stages, batch, committed, mark};
use crate::evict::batch::Batch;
use crate::progress::board::Component;

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

/// Cached entries must not stay stale because the edge's queue does not answer.
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
async fn the_board_tells_what_is_in_trouble_and_how_old_the_oldest_change_is() {
    let stages = Stages::start([u32::MAX, 0, 0]);
    let mut old = batch(10);
    old.oldest = committed(Duration::from_secs(30));
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
    let oldest = snapshot.deletes_since.unwrap().age();
    assert!(oldest >= Duration::from_secs(30), "{oldest:?}");
}
