//! Behind sentinels: the primary is whoever they say.

use std::time::Duration;

use evictd::cache::{Cache, Redis};
use evictd::credentials::Password;
use evictd::redis::{Layout, RedisTarget};
use redis::AsyncCommands;

use super::{delete, names, nothing_refused, set, target};
use crate::support::{RedisSentinels, eventually};

fn reached_by(sentinels: &RedisSentinels, master: &str) -> Redis {
    Redis::new(&RedisTarget {
        layout: Layout::Sentinel {
            master: master.to_owned(),
            urls: sentinels.urls(),
            password: None,
        },
        replicas: 1,
        // The sentinels know better.
        ..target("redis://nowhere.test/0".to_owned())
    })
    .unwrap()
}

#[tokio::test]
async fn a_killed_primary_is_replaced_by_the_one_that_sentinels_name() {
    let mut servers = RedisSentinels::start().await;
    let mut redis = reached_by(&servers, "shop");
    redis.check().await.unwrap();
    let keys = names("user:", 3_000);
    let mut conn = servers.primary.conn().await;
    for key in &keys {
        let _: () = conn.set(key, "x").await.unwrap();
    }
    servers.replicated().await;
    let (first, second) = keys.split_at(1_000);
    assert_eq!(
        redis.delete(&[&set(first)]).await.unwrap(),
        nothing_refused(1_000)
    );

    servers.primary.kill();
    // A lone survivor cannot acknowledge to anybody else.
    let mut alone = Redis::new(&RedisTarget {
        layout: Layout::Sentinel {
            master: "shop".to_owned(),
            urls: servers.urls(),
            password: None,
        },
        ..target("redis://nowhere.test/0".to_owned())
    })
    .unwrap();
    let failures = delete(&mut alone, &set(second)).await;
    assert!(!failures.is_empty(), "nobody noticed");
    let left = servers.replica.keys().await;
    assert_eq!(left, [""; 0]);

    // The old one comes back as a replica, and is not taken for the primary.
    servers.primary.start_again().await;
    eventually(
        "a replica acknowledges again",
        Duration::from_secs(60),
        async || redis.delete(&[&set(&keys)]).await.ok(),
    )
    .await;
}

#[tokio::test]
async fn a_primary_that_sentinels_do_not_know_is_refused() {
    let servers = RedisSentinels::start().await;
    let error = reached_by(&servers, "shpo").check().await.unwrap_err();
    assert_eq!(error.code(), "sentinel");
    assert!(
        error.to_string().contains("redis.sentinel.master"),
        "{error}"
    );
}

#[tokio::test]
async fn sentinels_are_asked_with_a_password_of_their_own() {
    let servers = RedisSentinels::start().await;
    for url in servers.urls() {
        let client = redis::Client::open(url).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await.unwrap();
        let mut protect = redis::cmd("ACL");
        protect.arg(&["SETUSER", "default", ">s3cret"]);
        let _: () = protect.query_async(&mut conn).await.unwrap();
    }
    let reached_with = |password: Option<&str>| {
        Redis::new(&RedisTarget {
            layout: Layout::Sentinel {
                master: "shop".to_owned(),
                urls: servers.urls(),
                password: password.map(Password::fixed),
            },
            ..target("redis://nowhere.test/0".to_owned())
        })
        .unwrap()
    };
    reached_with(Some("s3cret")).check().await.unwrap();
    for password in [None, Some("wr0ng")] {
        let error = reached_with(password).check().await.unwrap_err();
        assert_eq!(error.code(), "authentication", "{error}");
    }
}
