//! A cluster whose primaries fail while keys are deleted.

use evictd::cache::{Cache, Redis};
use evictd::redis::{Layout, RedisTarget};

use super::cluster::reached_by;
use super::{delete, names, set, target, until_done};
use crate::support::RedisCluster;

/// Keys by batches, each for as long as it takes, and the failures on the way.
async fn delete_all(redis: &mut Redis, keys: &[String]) -> usize {
    let mut failures = 0;
    for batch in keys.chunks(100) {
        failures += delete(redis, &set(batch)).await.len();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    failures
}

#[tokio::test]
async fn a_killed_primary_loses_no_deletion_that_a_replica_had_to_acknowledge() {
    let mut cluster = RedisCluster::start().await;
    let keys = names("user:", 20_000);
    cluster.fill(&keys).await;
    let primary = cluster.primaries().await[0];
    // Reached through the one that dies.
    let mut redis = Redis::new(&RedisTarget {
        layout: Layout::Cluster,
        replicas: 1,
        ..target(cluster.urls().remove(primary))
    })
    .unwrap()
    .insisting();
    let (first, second) = keys.split_at(keys.len() / 2);
    delete_all(&mut redis, first).await;
    let (failures, ()) = tokio::join!(delete_all(&mut redis, second), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        cluster.fail_over(primary).await;
        // Until then the new primary has nobody to acknowledge.
        cluster.start_again(primary).await;
    });
    assert!(failures > 0, "nobody noticed");
    assert_eq!(cluster.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_switch_over_loses_no_deletion_and_the_old_primary_is_not_asked_for_ever() {
    let mut cluster = RedisCluster::start().await;
    let keys = names("user:", 10_000);
    cluster.fill(&keys).await;
    let primary = cluster.primaries().await[0];
    let mut redis = reached_by(cluster.urls().remove(primary));
    let (_, successor) = tokio::join!(delete_all(&mut redis, &keys), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        cluster.switch_over(primary).await
    });
    assert_eq!(cluster.keys().await, [""; 0]);
    assert_eq!(cluster.primaries().await.len(), 3);

    // The seed is a replica by now, and then not there at all.
    cluster.fill(&keys).await;
    delete_all(&mut redis, &keys[..1_000]).await;
    cluster.nodes[primary].kill();
    delete_all(&mut redis, &keys).await;
    assert_eq!(cluster.keys().await, [""; 0]);
    cluster.start_again(primary).await;
    assert_eq!(cluster.replicas(successor).await, [primary]);
}

#[tokio::test]
async fn a_glob_reaches_every_key_though_a_primary_dies_meanwhile() {
    let mut cluster = RedisCluster::start().await;
    let keys = names("user:", 12_000);
    cluster.fill(&keys).await;
    let [primary, seed, ..] = cluster.primaries().await[..] else {
        panic!("three primaries");
    };
    let mut redis = reached_by(cluster.urls().remove(seed));
    let scanning = until_done(async || redis.delete_matching(b"user:*").await);
    let (_, _) = tokio::join!(scanning, async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        cluster.fail_over(primary).await
    });
    // What the dead one had deleted last may not have reached its replica.
    let left = cluster.keys().await;
    until_done(async || redis.delete_matching(b"user:*").await).await;
    assert!(left.len() < 1_000, "{}", left.len());
    assert_eq!(cluster.keys().await, [""; 0]);
}

/// As when its machine is cut off: nothing says that it is gone.
#[tokio::test]
async fn a_primary_that_goes_silent_is_given_up_for_its_successor() {
    let mut cluster = RedisCluster::start().await;
    let keys = names("user:", 3_000);
    cluster.fill(&keys).await;
    let primary = cluster.primaries().await[0];
    let mut redis = reached_by(cluster.urls().remove(primary));
    delete_all(&mut redis, &["elsewhere".to_owned()]).await;
    cluster.nodes[primary].signal("STOP");
    let failures = delete(&mut redis, &set(&keys)).await;
    assert!(!failures.is_empty(), "nobody noticed");
    assert!(
        failures.iter().all(|failure| matches!(
            failure.code(),
            "timeout" | "cluster-down" | "connection" | "connection-refused"
        )),
        "{failures:?}"
    );
    cluster.nodes[primary].signal("CONT");
    cluster.healthy().await;
    assert_eq!(cluster.keys().await, [""; 0]);
}
