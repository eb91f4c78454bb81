//! Keys that are refused for good, among others that are not.

use evictd::cache::{Cache, CacheError, Redis, Refused};
use evictd::credentials::Password;
use evictd::redis::{Layout, RedisTarget};
use redis::AsyncCommands;

use super::{names, nothing_refused, set, target};
use crate::support::{Redis as Server, RedisCluster, RedisOptions, RedisSentinels};

/// An account with these rights.
pub(super) async fn account(server: &Server, rights: &[&str]) {
    let mut conn = server.conn().await;
    let _: () = redis::cmd("ACL")
        .arg(&["SETUSER", "evictd", "reset", "on", ">s3cret"])
        .arg(rights)
        .query_async(&mut conn)
        .await
        .unwrap();
}

pub(super) fn as_evictd(url: &str) -> RedisTarget {
    RedisTarget {
        password: Some(Password::fixed("s3cret")),
        ..target(url.replace("redis://", "redis://evictd@"))
    }
}

fn refused_keys(refused: &[Refused]) -> Vec<String> {
    let mut keys: Vec<_> = refused
        .iter()
        .map(|refused| String::from_utf8(refused.key.clone()).unwrap())
        .collect();
    keys.sort();
    keys
}

const ALL: [&str; 5] = ["+ping", "+unlink", "+scan", "+incr", "~user:*"];

#[tokio::test]
async fn keys_that_the_account_may_not_touch_are_named_and_all_others_deleted() {
    let server = Server::start(RedisOptions::default()).await;
    account(&server, &ALL).await;
    let mut conn = server.conn().await;
    let allowed = names("user:", 2_500);
    let forbidden = ["order:1", "order:2", "secret"];
    let mut all: Vec<&str> = allowed.iter().map(String::as_str).collect();
    // In the midst of a command, at its beginning, and in a later one.
    for (at, key) in [500, 1_000, 2_400].into_iter().zip(forbidden) {
        all.insert(at, key);
    }
    for key in &all {
        let _: () = conn.set(*key, "x").await.unwrap();
    }
    let mut redis = Redis::new(&as_evictd(&server.url())).unwrap();
    redis.check().await.unwrap();
    let outcome = redis.delete(&[&set(&all)]).await.unwrap();
    assert_eq!(outcome.existed, 2_500);
    assert_eq!(refused_keys(&outcome.refused), forbidden);
    for it in &outcome.refused {
        assert_eq!(it.code, "no-permission");
        assert!(it.reason.contains("permission"), "{}", it.reason);
    }
    assert_eq!(server.keys().await, forbidden);
}

#[tokio::test]
async fn a_glob_names_at_most_a_thousand_refused_keys_and_stands_for_the_others() {
    let server = Server::start(RedisOptions::default()).await;
    account(&server, &ALL).await;
    let mut conn = server.conn().await;
    for key in names("order:", 1_500).iter().chain(&names("user:", 100)) {
        let _: () = conn.set(key, "x").await.unwrap();
    }
    let mut redis = Redis::new(&as_evictd(&server.url())).unwrap();
    let outcome = redis.delete_matching(b"*").await.unwrap();
    assert_eq!(outcome.existed, 100);
    assert_eq!(outcome.refused.len(), 1_000);
    assert_eq!(outcome.refused[999].key, b"*");
    assert_eq!(server.keys().await.len(), 1_500);
}

#[tokio::test]
async fn an_account_that_may_not_delete_at_all_is_an_error_and_no_keys_fault() {
    let server = Server::start(RedisOptions::default()).await;
    account(&server, &["+ping", "~*"]).await;
    let mut redis = Redis::new(&as_evictd(&server.url())).unwrap();
    let error = redis.delete(&[&set(&["user:1"])]).await.unwrap_err();
    assert_eq!(error.code(), "no-permission");
    assert!(matches!(error, CacheError::Refused { .. }), "{error}");
    let error = redis.increment(b"generation").await.unwrap_err();
    assert_eq!(error.code(), "no-permission");

    // Put right, it goes on.
    account(&server, &ALL).await;
    assert_eq!(
        redis.delete(&[&set(&["user:1"])]).await.unwrap(),
        nothing_refused(0)
    );
}

#[tokio::test]
async fn a_generation_that_is_no_number_is_refused_for_good() {
    let server = Server::start(RedisOptions::default()).await;
    let mut conn = server.conn().await;
    let _: () = conn.set("text", "x").await.unwrap();
    let _: () = conn.set("last", i64::MAX).await.unwrap();
    let _: () = conn.rpush("list", "x").await.unwrap();
    let mut redis = Redis::new(&target(server.url())).unwrap();
    for (key, code) in [
        ("text", "not-an-integer"),
        ("last", "not-an-integer"),
        ("list", "wrong-type"),
    ] {
        let outcome = redis.increment(key.as_bytes()).await.unwrap();
        let [refused] = outcome.refused.as_slice() else {
            panic!("{key}: {outcome:?}");
        };
        assert_eq!(
            (refused.key.as_slice(), refused.code),
            (key.as_bytes(), code)
        );
    }
    assert_eq!(redis.increment(b"new").await.unwrap(), nothing_refused(0));
}

#[tokio::test]
async fn what_passes_is_an_error_to_be_repeated() {
    let options = RedisOptions {
        extra: ["--maxmemory", "1", "--maxmemory-policy", "noeviction"]
            .map(str::to_owned)
            .to_vec(),
        ..RedisOptions::default()
    };
    let server = Server::start(options).await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    let outcome = redis.increment(b"generation").await.unwrap();
    assert_eq!(outcome.refused, []);
    let error = outcome.whole().unwrap_err();
    assert_eq!(error.code(), "out-of-memory");
    assert!(error.to_string().contains("OOM"), "{error}");
    // Deletions need no memory.
    assert_eq!(
        redis.delete(&[&set(&["a"])]).await.unwrap(),
        nothing_refused(0)
    );
}

/// A replica answers SCAN, and there may be no key to delete.
#[tokio::test]
async fn a_glob_is_not_done_where_nothing_can_be_deleted() {
    let server = Server::start(RedisOptions::default()).await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    let replicate = async |of: &[&str]| {
        let mut conn = server.conn().await;
        let _: () = redis::cmd("REPLICAOF")
            .arg(of)
            .query_async(&mut conn)
            .await
            .unwrap();
    };
    replicate(&["127.0.0.1", "1"]).await;
    let error = redis.delete_matching(b"user:*").await.unwrap_err();
    assert_eq!(error.code(), "read-only");
    replicate(&["NO", "ONE"]).await;
    assert_eq!(
        redis.delete_matching(b"user:*").await.unwrap(),
        nothing_refused(0)
    );
}

#[tokio::test]
async fn a_cluster_names_its_refused_keys_too() {
    let cluster = RedisCluster::start().await;
    for node in &cluster.nodes {
        account(node, &["+ping", "+unlink", "+cluster", "~user:*"]).await;
    }
    let mut keys = names("user:", 1_000);
    keys.extend(names("order:", 10));
    cluster.fill(&keys).await;
    let mut redis = Redis::new(&RedisTarget {
        layout: Layout::Cluster,
        ..as_evictd(&cluster.urls()[0])
    })
    .unwrap();
    let outcome = redis.delete(&[&set(&keys)]).await.unwrap();
    assert_eq!(outcome.existed, 1_000);
    assert_eq!(refused_keys(&outcome.refused), names("order:", 10));
    assert_eq!(cluster.keys().await, names("order:", 10));
}

#[tokio::test]
async fn the_rights_that_the_manual_lists_are_enough_for_a_cluster() {
    let rights =
        "+ping +unlink +scan +incr +cluster|slots +cluster|nodes +asking +wait ~user:* ~{user:*";
    let cluster = RedisCluster::start().await;
    for node in &cluster.nodes {
        account(node, &rights.split(' ').collect::<Vec<_>>()).await;
    }
    let keys = names("{user:1}:", 10);
    cluster.fill(&keys).await;
    // One slot is open, so that ASKING is needed too.
    let owner = cluster.owner(&keys[0]).await;
    let others = cluster.primaries().await;
    let other = others.into_iter().find(|node| *node != owner).unwrap();
    cluster.begin_move(&keys[0], other).await;
    let moved: Vec<&str> = keys[..5].iter().map(String::as_str).collect();
    cluster.move_keys(&moved, other).await;

    let mut redis = Redis::new(&RedisTarget {
        layout: Layout::Cluster,
        replicas: 1,
        ..as_evictd(&cluster.urls()[0])
    })
    .unwrap();
    redis.check().await.unwrap();
    assert_eq!(
        redis.delete(&[&set(&keys[..6])]).await.unwrap(),
        nothing_refused(6)
    );
    assert_eq!(
        redis.increment(b"user:generation").await.unwrap(),
        nothing_refused(0)
    );
    assert_eq!(
        redis.delete_matching(b"*user:*").await.unwrap(),
        nothing_refused(5)
    );
    assert_eq!(cluster.keys().await, [""; 0]);
}

#[tokio::test]
async fn the_rights_that_the_manual_lists_are_enough_behind_sentinels() {
    let servers = RedisSentinels::start().await;
    account(&servers.primary, &["+ping", "+unlink", "+role", "~user:*"]).await;
    let mut redis = Redis::new(&RedisTarget {
        layout: Layout::Sentinel {
            master: "shop".to_owned(),
            urls: servers.urls(),
            password: None,
        },
        ..as_evictd("redis://nowhere.test/0")
    })
    .unwrap();
    redis.check().await.unwrap();
    assert_eq!(
        redis.delete(&[&set(&["user:1"])]).await.unwrap(),
        nothing_refused(0)
    );
}
