//! A Redis that has entries again that were deleted: it began anew from an earlier snapshot, or a server took over that
//! was behind.

use std::time::Duration;

use redis::AsyncCommands;

use super::shop::{Config, Shop, WITHIN, stop};
use crate::support::{Cut, Evictd, Redis, RedisOptions, Relay};

/// Several looks of evictd's at the server.
const LOOKED: Duration = Duration::from_secs(5);

const GUARDED: &str = r#"
[[rule]]
name    = "users"
tables  = ["$db.users"]
version = "version"
keys    = ["user:{id}:profile"]
guard   = { key = "user:{id}:guard", ttl = "1d" }
"#;

/// A server that saves snapshots when it is asked to, and loads the last one when it begins.
async fn saving() -> Redis {
    let options = RedisOptions {
        extra: ["--save", "3600 1000000"].map(str::to_owned).to_vec(),
        ..RedisOptions::default()
    };
    Redis::start(options).await
}

fn config(shop: &Shop, redis: &Redis) -> Config {
    let mut config = shop.config().rest(GUARDED);
    config.redis_url = redis.url();
    config
}

async fn fill(redis: &Redis, keys: &[&str]) {
    let mut conn = redis.conn().await;
    for key in keys {
        let _: () = conn.set(key, "old").await.unwrap();
    }
}

async fn save(redis: &Redis) {
    let _: () = redis::cmd("SAVE")
        .query_async(&mut redis.conn().await)
        .await
        .unwrap();
}

async fn gone(redis: &Redis, key: &str, evictd: &Evictd) {
    let deadline = tokio::time::Instant::now() + WITHIN;
    while redis.keys().await.iter().any(|left| left == key) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{key} stays\n{}",
            evictd.tail()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn guard(redis: &Redis) -> Option<u64> {
    redis.conn().await.get("user:1:guard").await.unwrap()
}

#[tokio::test]
async fn what_an_earlier_snapshot_brings_back_is_deleted_again_and_nothing_else() {
    let shop = Shop::open().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    let mut redis = saving().await;
    let mut evictd = config(&shop, &redis).start().await;
    tokio::time::sleep(LOOKED).await;
    fill(&redis, &["user:1:profile", "user:2:profile"]).await;
    save(&redis).await;
    tokio::time::sleep(LOOKED).await;
    shop.sql("UPDATE users SET version = 2 WHERE id = 1").await;
    gone(&redis, "user:1:profile", &evictd).await;
    tokio::time::sleep(LOOKED).await;

    redis.kill();
    redis.start_again().await;
    gone(&redis, "user:1:profile", &evictd).await;
    evictd
        .wait_for_line("the binlog is read again", WITHIN)
        .await;
    assert_eq!(redis.keys().await, ["user:1:guard", "user:2:profile"]);
    assert_eq!(guard(&redis).await, Some(2), "the guard is raised again");

    // Once more, from the same snapshot.
    redis.kill();
    redis.start_again().await;
    gone(&redis, "user:1:profile", &evictd).await;
    assert_eq!(redis.keys().await, ["user:1:guard", "user:2:profile"]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_snapshot_of_which_nothing_is_known_invalidates_everything_that_rules_cover() {
    let shop = Shop::open().await;
    let mut redis = saving().await;
    fill(&redis, &["user:1:profile", "user:2:profile", "session:1"]).await;
    save(&redis).await;
    let mut evictd = config(&shop, &redis).start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    gone(&redis, "user:1:profile", &evictd).await;
    tokio::time::sleep(LOOKED).await;
    redis.kill();
    redis.start_again().await;
    gone(&redis, "user:1:profile", &evictd).await;
    gone(&redis, "user:2:profile", &evictd).await;
    evictd
        .wait_for_line("invalidating everything that any rule covers", WITHIN)
        .await;
    assert!(redis.keys().await.contains(&"session:1".to_owned()));
    stop(evictd).await;
}

#[tokio::test]
async fn a_snapshot_that_redis_began_from_while_evictd_was_away_is_noticed_at_the_next_start() {
    let shop = Shop::open().await;
    let mut redis = saving().await;
    fill(&redis, &["user:1:profile"]).await;
    save(&redis).await;
    let evictd = config(&shop, &redis).start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    gone(&redis, "user:1:profile", &evictd).await;
    tokio::time::sleep(LOOKED).await;
    stop(evictd).await;
    redis.kill();
    redis.start_again().await;
    assert!(redis.keys().await.contains(&"user:1:profile".to_owned()));
    let evictd = config(&shop, &redis).start().await;
    gone(&redis, "user:1:profile", &evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn what_a_server_that_was_behind_brings_back_is_deleted_again() {
    let shop = Shop::open().await;
    let (redis, behind) = (saving().await, saving().await);
    fill(&redis, &["user:1:profile"]).await;
    fill(&behind, &["user:1:profile"]).await;
    let evictd = config(&shop, &redis).start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    gone(&redis, "user:1:profile", &evictd).await;
    tokio::time::sleep(LOOKED).await;

    // It takes over what the other one has, and is a primary again.
    let mut conn = redis.conn().await;
    let mut replica_of = async |host: &str, port: &str| {
        let mut command = redis::cmd("REPLICAOF");
        let _: () = command
            .arg(host)
            .arg(port)
            .query_async(&mut conn)
            .await
            .unwrap();
    };
    replica_of("127.0.0.1", &behind.port().to_string()).await;
    let deadline = tokio::time::Instant::now() + WITHIN;
    while !redis.keys().await.contains(&"user:1:profile".to_owned()) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it does not replicate"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    replica_of("NO", "ONE").await;
    gone(&redis, "user:1:profile", &evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_redis_that_begins_empty_has_nothing_to_invalidate() {
    let shop = Shop::open().await;
    let mut redis = Redis::start(RedisOptions::default()).await;
    let evictd = config(&shop, &redis).start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    tokio::time::sleep(LOOKED).await;
    redis.kill();
    redis.start_again().await;
    fill(&redis, &["user:1:profile", "user:2:profile"]).await;
    tokio::time::sleep(LOOKED).await;
    assert_eq!(redis.keys().await, ["user:1:profile", "user:2:profile"]);
    stop(evictd).await;
}

/// As behind a name or a virtual IP that moves on. It began as empty as the first, and applications have filled it since.
#[tokio::test]
async fn another_redis_that_was_there_all_along_invalidates_everything_that_rules_cover() {
    for away in [false, true] {
        let shop = Shop::open().await;
        let first = Redis::start(RedisOptions::default()).await;
        let second = Redis::start(RedisOptions::default()).await;
        let relay = Relay::to(first.port()).await;
        let mut config = config(&shop, &first);
        config.redis_url = format!("redis://127.0.0.1:{}/0", relay.port());
        let mut evictd = config.start().await;
        fill(&second, &["user:1:profile", "other"]).await;
        shop.sql("INSERT INTO users (id) VALUES (1)").await;
        tokio::time::sleep(LOOKED).await;
        if away {
            evictd.kill();
        }
        relay.lead_to(second.port());
        relay.cut(Cut::All);
        if away {
            evictd = config.start().await;
        }
        gone(&second, "user:1:profile", &evictd).await;
        evictd
            .wait_for_line("invalidating everything", WITHIN)
            .await;
        assert_eq!(second.keys().await, ["other"]);
        stop(evictd).await;
    }
}
