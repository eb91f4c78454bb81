//! A cluster that stands still: every key is found where it is.

use std::collections::HashSet;

use evictd::cache::{Cache, CacheError, Redis};
use evictd::redis::{Layout, RedisTarget};
use redis::AsyncCommands;

use super::{names, nothing_refused, set, target};
use crate::support::{Redis as Server, RedisCluster, RedisOptions};

pub(super) fn reached_by(url: String) -> Redis {
    Redis::new(&RedisTarget {
        layout: Layout::Cluster,
        ..target(url)
    })
    .unwrap()
}

#[tokio::test]
async fn keys_of_all_slots_are_deleted_and_no_others() {
    let cluster = RedisCluster::start().await;
    let mut keys = names("user:", 20_000);
    keys.extend(names("{tenant:7}:user:", 2_500));
    keys.extend(["{}odd", "{open", "}close{", "{a}{b}"].map(str::to_owned));
    let slots: HashSet<_> = keys
        .iter()
        .map(|key| format!("{:?}", redis::cluster_routing::Slot::for_key(key)))
        .collect();
    assert!(slots.len() > 10_000, "{}", slots.len());
    cluster.fill(&keys).await;
    cluster.fill(&["stays", "user:stays"]).await;

    // Any node knows the others, a replica too.
    for url in cluster.urls() {
        let mut redis = reached_by(url);
        redis.check().await.unwrap();
        assert_eq!(
            redis.delete(&[&set(&keys[..100])]).await.unwrap().refused,
            []
        );
    }
    let mut redis = reached_by(cluster.urls().remove(0));
    let outcome = redis.delete(&[&set(&keys[..50]), &set(&keys)]).await;
    assert_eq!(outcome.unwrap(), nothing_refused(keys.len() - 100));
    assert_eq!(cluster.keys().await, ["stays", "user:stays"]);
}

#[tokio::test]
async fn a_glob_reaches_the_keys_on_every_primary() {
    let cluster = RedisCluster::start().await;
    cluster.fill(&names("user:", 5_000)).await;
    cluster.fill(&["stays"]).await;
    let mut redis = reached_by(cluster.urls().remove(0));
    let outcome = redis.delete_matching(b"user:*").await.unwrap();
    assert_eq!(outcome, nothing_refused(5_000));
    assert_eq!(cluster.keys().await, ["stays"]);
}

#[tokio::test]
async fn generations_begin_wherever_their_counter_is() {
    let cluster = RedisCluster::start().await;
    let mut redis = reached_by(cluster.urls().remove(0));
    let mut conn = cluster.conn().await;
    for counter in names("generation:", 20) {
        assert_eq!(
            redis.increment(counter.as_bytes()).await.unwrap(),
            nothing_refused(0)
        );
        assert_eq!(conn.get::<_, u64>(&counter).await.unwrap(), 1, "{counter}");
    }
}

#[tokio::test]
async fn what_is_not_as_configured_is_refused_with_what_to_do() {
    let cluster = RedisCluster::start().await;
    let alone = Server::start(RedisOptions::default()).await;
    let node = cluster.urls().remove(0);
    for (mut redis, code, remedy) in [
        (
            Redis::new(&target(node)).unwrap(),
            "cluster",
            "set redis.cluster = true",
        ),
        (
            reached_by(alone.url()),
            "no-cluster",
            "leave redis.cluster out",
        ),
    ] {
        let error = redis.check().await.unwrap_err();
        assert!(matches!(error, CacheError::Refused { .. }), "{error}");
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[tokio::test]
async fn a_deletion_counts_only_once_replicas_have_it_if_that_is_asked_for() {
    let mut cluster = RedisCluster::start().await;
    let replicated = |replicas| {
        Redis::new(&RedisTarget {
            layout: Layout::Cluster,
            replicas,
            ..target(cluster.urls().remove(0))
        })
        .unwrap()
    };
    cluster.fill(&["a", "b", "c"]).await;
    let mut redis = replicated(1);
    let outcome = redis.delete(&[&set(&["a", "b", "c"])]).await.unwrap();
    assert_eq!(outcome, nothing_refused(3));

    let error = replicated(2).delete(&[&set(&["a"])]).await.unwrap_err();
    assert_eq!(error.code(), "replicas");
    assert!(error.to_string().contains("1 of 2 replicas"), "{error}");

    let owner = cluster.owner("a").await;
    let replica = cluster.replicas(owner).await[0];
    cluster.nodes[replica].signal("STOP");
    // There is nothing to acknowledge of a key that was not there.
    cluster.fill(&["a"]).await;
    let error = redis.delete(&[&set(&["a"])]).await.unwrap_err();
    assert_eq!(error.code(), "replicas");
    cluster.nodes[replica].signal("CONT");
}
