//! A cluster whose slots move while keys are deleted.

use evictd::cache::Cache;

use super::cluster::reached_by;
use super::{delete, names, nothing_refused, set, until_done};
use crate::support::RedisCluster;

/// Who has the slot of `key`, and a primary that has not.
async fn owner_and_other(cluster: &RedisCluster, key: &str) -> (usize, usize) {
    let owner = cluster.owner(key).await;
    let others = cluster.primaries().await;
    (
        owner,
        others.into_iter().find(|node| *node != owner).unwrap(),
    )
}

#[tokio::test]
async fn keys_of_a_slot_that_is_half_moved_are_deleted_on_both_sides() {
    let cluster = RedisCluster::start().await;
    let keys = names("{moving}:", 10);
    cluster.fill(&keys).await;
    let mut redis = reached_by(cluster.urls().remove(0));
    // So that it knows the cluster as it was.
    redis.delete(&[&set(&["elsewhere"])]).await.unwrap();

    let (_, other) = owner_and_other(&cluster, &keys[0]).await;
    cluster.begin_move(&keys[0], other).await;
    let moved: Vec<&str> = keys[..5].iter().map(String::as_str).collect();
    cluster.move_keys(&moved, other).await;
    // All of them in one command: the owner answers TRYAGAIN for as long as the slot is open.
    assert_eq!(
        redis.delete(&[&set(&keys)]).await.unwrap(),
        nothing_refused(10)
    );
    assert_eq!(cluster.keys().await, [""; 0]);

    cluster.finish_move(&keys[0], other).await;
    cluster.fill(&keys).await;
    assert_eq!(
        redis.delete(&[&set(&keys)]).await.unwrap(),
        nothing_refused(10)
    );
}

#[tokio::test]
async fn resharding_under_load_loses_no_deletion() {
    let cluster = RedisCluster::start().await;
    let keys = names("user:", 8_000);
    cluster.fill(&keys).await;
    let [from, to, ..] = cluster.primaries().await[..] else {
        panic!("three primaries");
    };
    let mut redis = reached_by(cluster.urls().remove(from));
    let batches: Vec<_> = keys.chunks(100).map(set).collect();
    let deleting = async {
        for batch in &batches {
            delete(&mut redis, batch).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let ((), ()) = tokio::join!(deleting, cluster.reshard(400, from, to));
    assert_eq!(cluster.keys().await, [""; 0]);
}

/// Keys that go to a primary which was scanned already, from one that was not yet, with the slot's owner the same
/// all the time.
#[tokio::test]
async fn a_glob_reaches_keys_that_move_while_it_scans() {
    let cluster = RedisCluster::start().await;
    let [first, second, third] = cluster.primaries().await[..] else {
        panic!("three primaries");
    };
    let tag_on = async |node| {
        for tag in names("tag", 1_000) {
            if cluster.owner(&tag).await == node {
                return tag;
            }
        }
        panic!("no tag is on node {node}");
    };
    let moving = names(&format!("{{{}}}:", tag_on(third).await), 10);
    let held = format!("{{{}}}:held", tag_on(second).await);
    cluster.fill(&moving).await;
    cluster.fill(&[&held]).await;
    cluster.begin_move(&moving[0], first).await;

    // The scan finds a key on the second primary and cannot delete it for now.
    cluster.hold_writes(second).await;
    let mut redis = reached_by(cluster.urls().remove(third));
    let moves = async {
        cluster.scanned(second).await;
        let keys: Vec<&str> = moving.iter().map(String::as_str).collect();
        cluster.move_keys(&keys, first).await;
        cluster.let_writes_go(second).await;
    };
    let (outcome, ()) = tokio::join!(redis.delete_matching(b"{tag*"), moves);
    assert_eq!(outcome.unwrap(), nothing_refused(11));
    assert_eq!(cluster.keys().await, [""; 0]);
    cluster.finish_move(&moving[0], first).await;
}

#[tokio::test]
async fn a_glob_reaches_every_key_while_slots_change_hands() {
    let cluster = RedisCluster::start().await;
    let keys = names("user:", 12_000);
    cluster.fill(&keys).await;
    let [from, to, ..] = cluster.primaries().await[..] else {
        panic!("three primaries");
    };
    let mut redis = reached_by(cluster.urls().remove(from));
    let scanning = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        until_done(async || redis.delete_matching(b"user:*").await).await
    };
    let (_, ()) = tokio::join!(scanning, cluster.reshard(400, from, to));
    assert_eq!(cluster.keys().await, [""; 0]);
}
