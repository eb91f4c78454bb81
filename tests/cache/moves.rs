//! A cluster whose slots move while keys are deleted.

use evictd::cache::Cache;

use super::cluster::reached_by;
use super::{delete, names, nothing_refused, set, until_done};
use crate::support::RedisCluster;

/// Who has the slot of `key`, and a primary that has not.
async fn owner_and_other(cluster: &RedisCluster, key: &str) -> (usize, usize) {
    let owner = cluster.owner(key).await;
    let others = cluster.primaries().await;
    (owner, others.into_iter().find(|it| *it != owner).unwrap())
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

/// A key that goes to a primary which was scanned already, with the slot's owner the same all the time.
#[tokio::test]
async fn a_glob_reaches_keys_that_move_while_it_scans() {
    let cluster = RedisCluster::start().await;
    let (owner, other) = owner_and_other(&cluster, "{moving}").await;
    let keys = names("{moving}:", 40);
    cluster.fill(&keys).await;
    // Enough to be scanned for a while.
    cluster.fill(&names("user:", 30_000)).await;
    cluster.begin_move("{moving}", other).await;

    let mut redis = reached_by(cluster.urls().remove(owner));
    let scanning = async {
        let (outcome, _) = until_done(async || redis.delete_matching(b"*moving*").await).await;
        outcome
    };
    let moving = async {
        for key in &keys {
            cluster.move_keys(&[key], other).await;
        }
    };
    let (outcome, ()) = tokio::join!(scanning, moving);
    assert_eq!(outcome.refused, []);
    cluster.finish_move("{moving}", other).await;
    let mut left = cluster.keys().await;
    left.retain(|key| key.contains("moving"));
    assert_eq!(left, [""; 0]);
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
