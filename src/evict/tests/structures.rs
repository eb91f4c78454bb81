//! Guards, fields, tag sets, globs and what is published: their order within a
//! batch.

use std::sync::Arc;
use std::time::Duration;

use super::fakes::{Stages, batch};
use crate::evict::batch::Batch;
use crate::evict::settling::Settling;
use crate::model::invalidation::{Action, Plan, Published};

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
            "scans all user:*",
            "paths /p10",
            "checkpoint 10"
        ]
    );
}

/// A batch with one structure of each kind.
fn structures(offset: u64) -> Batch {
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
    batch.act(&rule, Action::DeleteTagSet { key, member_prefix });
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
    batch
}

#[tokio::test(start_paused = true)]
async fn guards_go_before_keys_members_leave_after_theirs_and_messages_come_last() {
    let stages = Stages::settling([0, 0, 0], Settling::After(Duration::from_secs(1)));
    stages.planned.send(structures(10)).await.unwrap();
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
            // Keys that left their set are deleted again, nothing leaves, and no guard moves.
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
    let tagged = Action::DeleteTagSetsMatching {
        glob,
        member_prefix,
    };
    wide.act(&"r".into(), tagged);
    stages.planned.send(wide).await.unwrap();
    let journal = stages.end().await;
    let expected = [
        "cache k10",
        "scans m0",
        "scans takes m0 out of tag:",
        "scans m0",
        "scans m1",
    ];
    assert_eq!(journal[..5], expected, "{journal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_repeats_guards_and_keys_and_what_left_its_set_is_not_forgotten() {
    let stages = Stages::settling([3, 0, 0], Settling::After(Duration::from_secs(1)));
    stages.planned.send(structures(10)).await.unwrap();
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
