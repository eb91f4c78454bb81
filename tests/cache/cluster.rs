//! A cluster that stands still: every key is found where it is.

use std::collections::HashSet;

use evictd::cache::{Cache, CacheError, Outcome, Redis};
use evictd::redis::{Layout, RedisTarget};
use redis::AsyncCommands;

use super::{names, nothing_refused, set, target};
use crate::support::{Redis as Server, RedisCluster, RedisOptions, free_port};

pub(super) fn reached_by(url: String) -> Redis {
    Redis::new(&RedisTarget {
        layout: Layout::Cluster,
        ..target(url)
    })
    .unwrap()
    .insisting()
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

    let outcome = replicated(2).delete(&[&set(&["a"])]).await.unwrap();
    let error = outcome.whole().unwrap_err();
    assert_eq!(error.code(), "replicas");
    assert!(error.to_string().contains("1 of 2 replicas"), "{error}");

    let owner = cluster.owner("a").await;
    let replica = cluster.replicas(owner).await[0];
    cluster.nodes[replica].signal("STOP");
    // There is nothing to acknowledge of a key that was not there.
    cluster.fill(&["a"]).await;
    let outcome = redis.delete(&[&set(&["a"])]).await.unwrap();
    let error = outcome.whole().unwrap_err();
    assert_eq!(error.code(), "replicas");
    cluster.nodes[replica].signal("CONT");
}

/// Ends every connection of clients to the nodes that still run.
async fn cut_clients(cluster: &RedisCluster) {
    for node in cluster.nodes.iter().filter(|node| node.is_running()) {
        let mut cut = redis::cmd("CLIENT");
        cut.arg(&["KILL", "TYPE", "normal"]);
        let _: u64 = cut.query_async(&mut node.conn().await).await.unwrap();
    }
}

async fn deleted(redis: &mut Redis, key: &str) {
    let within = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut attempt = async || redis.delete(&[&set(&[key])]).await.and_then(Outcome::whole);
    while let Err(error) = attempt().await {
        assert!(tokio::time::Instant::now() < within, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A cluster of one node, which serves every slot and has `key`.
async fn another_cluster(port: u16, key: &str) -> Server {
    let options = RedisOptions {
        extra: ["--cluster-enabled", "yes"].map(str::to_owned).to_vec(),
        ..RedisOptions::default()
    };
    let server = Server::start_at(port, options).await;
    let mut conn = server.conn().await;
    let mut slots = redis::cmd("CLUSTER");
    slots.arg(&["ADDSLOTSRANGE", "0", "16383"]);
    let _: () = slots.query_async(&mut conn).await.unwrap();
    let within = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while conn.set::<_, _, ()>(key, "x").await.is_err() {
        assert!(tokio::time::Instant::now() < within, "it serves its slots");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server
}

/// A key that is not on the first node, and the node that it is on.
async fn elsewhere(cluster: &RedisCluster) -> (String, usize) {
    let mut n = 0;
    loop {
        let key = format!("user:{n}");
        let owner = cluster.owner(&key).await;
        if owner != 0 {
            cluster.fill(&[&key]).await;
            cluster.replicated(owner).await;
            return (key, owner);
        }
        n += 1;
    }
}

#[tokio::test]
async fn another_clusters_node_at_the_address_of_one_that_died_is_left_alone() {
    let mut cluster = RedisCluster::start().await;
    let mut redis = reached_by(cluster.urls().remove(0));
    deleted(&mut redis, "any").await;
    let (key, owner) = elsewhere(&cluster).await;
    cluster.fail_over(owner).await;
    let other = another_cluster(cluster.nodes[owner].port(), &key).await;
    // Each node that is known is asked for the others once.
    for _ in 0..8 {
        deleted(&mut redis, &key).await;
        assert_eq!(other.keys().await, [key.as_str()]);
        cut_clients(&cluster).await;
    }
    assert_eq!(cluster.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_node_that_the_others_still_take_for_one_of_theirs_is_left_alone_too() {
    let mut cluster = RedisCluster::start().await;
    let mut redis = reached_by(cluster.urls().remove(0));
    deleted(&mut redis, "any").await;
    let (key, owner) = elsewhere(&cluster).await;
    cluster.nodes[owner].kill();
    let other = another_cluster(cluster.nodes[owner].port(), &key).await;
    let mut failures = Vec::new();
    for _ in 0..60 {
        failures.extend(redis.delete(&[&set(&[&key])]).await.err());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(other.keys().await, [key.as_str()], "{failures:?}");
}

#[tokio::test]
async fn another_cluster_at_the_configured_address_is_used() {
    let mut before = another_cluster(free_port(), "user:1").await;
    let mut redis = reached_by(before.url());
    deleted(&mut redis, "user:1").await;
    before.kill();
    let after = another_cluster(before.port(), "user:1").await;
    deleted(&mut redis, "user:1").await;
    assert_eq!(after.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_cluster_that_names_its_nodes_without_hosts_says_what_to_set() {
    let extra = [
        "--cluster-enabled",
        "yes",
        "--cluster-preferred-endpoint-type",
        "hostname",
    ];
    let server = Server::start(RedisOptions {
        extra: extra.map(str::to_owned).to_vec(),
        ..RedisOptions::default()
    })
    .await;
    let mut slots = redis::cmd("CLUSTER");
    slots.arg(&["ADDSLOTSRANGE", "0", "16383"]);
    let _: () = slots.query_async(&mut server.conn().await).await.unwrap();
    let error = reached_by(server.url())
        .check()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("without a host"), "{error}");
    assert!(error.contains("cluster-announce-hostname"), "{error}");
}
