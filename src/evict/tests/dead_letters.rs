//! Keys that are refused for good, and gaps on record.

use std::time::Duration;

use super::fakes::{Stages, batch};
use crate::evict::settling::Settling;
use crate::model::invalidation::{Action, Plan};
use crate::progress::board::Reports;

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
