//! What Redis can be: a cluster that fails over, a server with TLS, one that sentinels know, and one with accounts.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::faults::load;
use super::shop::{Config, Shop, USERS, WITHIN, stop};
use crate::support::{
    Evictd, MysqlOptions, Redis, RedisCluster, RedisOptions, RedisSentinels, certificates,
    eventually, free_port,
};

/// The shop's rules, with another Redis.
fn config(shop: &Shop, url: String, lines: &str) -> Config {
    let mut config = shop.config().redis(lines);
    config.redis_url = url;
    config
}

/// Changes a user and waits until its key is gone.
async fn works(shop: &Shop, config: &Config, redis: &Redis) {
    let mut conn = redis.conn().await;
    let _: () = redis::AsyncCommands::set(&mut conn, "user:1:profile", "x")
        .await
        .unwrap();
    let evictd = config.start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    gone(redis, &evictd).await;
    stop(evictd).await;
}

async fn gone(redis: &Redis, evictd: &Evictd) {
    let mut left = Vec::new();
    for _ in 0..3_000 {
        left = redis.keys().await;
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{left:?} stay\n{}", evictd.tail());
}

#[tokio::test]
async fn a_killed_primary_of_a_cluster_loses_no_deletion_under_load() {
    const COUNT: u32 = 6_000;
    let shop = Shop::own(MysqlOptions::default()).await;
    let mut cluster = RedisCluster::start().await;
    let keys: Vec<String> = (0..COUNT).map(|id| format!("user:{id}:profile")).collect();
    cluster.fill(&keys).await;
    let primary = cluster.primaries().await[0];
    let url = cluster.urls().remove(primary);
    let lines = "cluster = true\nreplicas = 1\nsettle_after = \"off\"";
    let mut evictd = config(&shop, url, lines).start().await;
    let load = load(shop.mysql(), 0..COUNT, 500);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.fail_over(primary).await;
    cluster.start_again(primary).await;
    load.await.unwrap();
    shop.checkpoint_at_end().await;
    assert_eq!(cluster.keys().await, [""; 0], "{}", evictd.tail());
    evictd
        .wait_for_line("the cache answers again", WITHIN)
        .await;
    stop(evictd).await;
}

/// Slots move to a primary, which is killed then: the deletions go to three nodes one after the other.
#[tokio::test]
async fn slots_that_move_and_a_primary_that_dies_lose_no_deletion_under_load() {
    const COUNT: u32 = 20_000;
    const SLOTS: usize = 600;
    let shop = Shop::own(MysqlOptions::default()).await;
    let mut cluster = RedisCluster::start().await;
    let keys: Vec<String> = (0..COUNT).map(|id| format!("user:{id}:profile")).collect();
    cluster.fill(&keys).await;
    let [from, to, ..] = cluster.primaries().await[..] else {
        panic!("three primaries");
    };
    let url = cluster.urls().remove(from);
    let lines = "cluster = true\nreplicas = 1\nsettle_after = \"off\"";
    let mut evictd = config(&shop, url, lines).start().await;
    let mut load = Box::pin(load(shop.mysql(), 0..COUNT, 400));
    let disturbed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.reshard(SLOTS, from, to).await;
        cluster.fail_over(to).await;
        cluster.start_again(to).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    // As many as there is time for, at least until all is over.
    let ended = tokio::select! {
        biased;
        _ = &mut load => None,
        () = disturbed => Some(()),
    };
    assert!(ended.is_some(), "the load goes on all the time");
    load.abort();
    load.await.ok();
    let rows: Vec<u32> = shop.mysql().rows("SELECT id FROM shop.users").await;
    assert!(rows.len() > 1_000, "{} rows", rows.len());
    shop.checkpoint_at_end().await;
    let changed: std::collections::HashSet<String> =
        rows.iter().map(|id| format!("user:{id}:profile")).collect();
    let left: Vec<String> = cluster.keys().await;
    let stale: Vec<&String> = left.iter().filter(|key| changed.contains(*key)).collect();
    assert!(
        stale.is_empty(),
        "{} stay, such as {:?}\n{}",
        stale.len(),
        stale.first(),
        evictd.tail()
    );
    assert_eq!(left.len() + rows.len(), keys.len(), "no others went");
    evictd
        .wait_for_line("the cache answers again", WITHIN)
        .await;
    stop(evictd).await;
}

#[tokio::test]
async fn keys_that_redis_refuses_for_good_are_logged_and_hold_nothing_up() {
    let shop = Shop::open().await;
    let mut conn = shop.redis.conn().await;
    let rights = "SETUSER evictd reset on >s3cret +ping +unlink ~user:*:profile ~mark:*";
    let _: () = redis::cmd("ACL")
        .arg(rights.split(' ').collect::<Vec<_>>())
        .query_async(&mut conn)
        .await
        .unwrap();
    shop.fill(&["user:1:v1", "user:1:profile"]).await;
    let url = shop.redis.url().replace("redis://", "redis://evictd@");
    let lines = "password = { env = \"REDIS_PASSWORD\" }\nsettle_after = \"off\"";
    let metrics = format!("127.0.0.1:{}", free_port());
    let options = config(&shop, url, lines)
        .rest(&format!("[metrics]\nlisten = \"{metrics}\"\n{USERS}"))
        .options()
        .env("REDIS_PASSWORD", "s3cret");
    let mut evictd = super::shop::start(&options).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.sql("UPDATE users SET version = 2 WHERE id = 1").await;
    let line = evictd.wait_for_line("refuses keys for good", WITHIN).await;
    for word in ["ERROR", "user:1:v1", "no-permission"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, ["user:1:v1"]);

    let mut stream = tokio::net::TcpStream::connect(metrics).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: evictd\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let counted = page
        .lines()
        .find(|line| line.starts_with("evictd_cache_keys_refused_total{"));
    let counted = counted.unwrap_or_else(|| panic!("{page}"));
    assert!(counted.contains("error=\"no-permission\""), "{counted}");
    let count: u64 = counted.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(count >= 1, "{counted}");
    stop(evictd).await;
}

#[tokio::test]
async fn redis_is_reached_with_the_configured_certificates() {
    let certificates = certificates();
    let redis = Redis::start(RedisOptions {
        tls: Some(certificates.server.clone()),
        extra: ["--tls-auth-clients", "yes"].map(str::to_owned).to_vec(),
        ..RedisOptions::default()
    })
    .await;
    let shop = Shop::open().await;
    let lines = format!(
        "tls = {{ ca_file = \"{}\", cert_file = \"{}\", key_file = \"{}\" }}\nsettle_after = \"off\"",
        certificates.ca.display(),
        certificates.client.certificate.display(),
        certificates.client.key.display(),
    );
    works(&shop, &config(&shop, redis.tls_url(), &lines), &redis).await;
}

#[tokio::test]
async fn redis_is_found_through_sentinels_and_again_after_a_failover() {
    let mut servers = RedisSentinels::start().await;
    let shop = Shop::open().await;
    let urls = servers.urls().join("\", \"");
    let lines =
        format!("sentinel = {{ master = \"shop\", urls = [\"{urls}\"] }}\nsettle_after = \"off\"");
    let config = config(&shop, "redis://nowhere.test/0".to_owned(), &lines);
    works(&shop, &config, &servers.primary).await;

    let evictd = config.start().await;
    let mut conn = servers.primary.conn().await;
    let _: () = redis::AsyncCommands::set(&mut conn, "user:2:profile", "x")
        .await
        .unwrap();
    servers.replicated().await;
    servers.primary.kill();
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    let client = redis::Client::open(servers.replica.url()).unwrap();
    eventually("the replica's key goes", WITHIN, async || {
        // Sentinels close the connections to a server that they promote.
        let mut conn = client.get_multiplexed_async_connection().await.ok()?;
        let size = redis::cmd("DBSIZE");
        let keys: u64 = size.query_async(&mut conn).await.ok()?;
        (keys == 0).then_some(())
    })
    .await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_configured_as_one_is_refused_before_anything_is_touched() {
    let shop = Shop::open().await;
    let cluster = RedisCluster::start().await;
    let off = "settle_after = \"off\"";
    for (url, lines, remedy) in [
        (
            cluster.urls().remove(0),
            off.to_owned(),
            "set redis.cluster = true",
        ),
        (
            shop.redis.url(),
            format!("cluster = true\n{off}"),
            "leave redis.cluster out",
        ),
    ] {
        let ended = config(&shop, url, &lines).finish().await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(remedy), "{}", ended.stderr);
        assert_eq!(shop.checkpoint(), None);
    }
}
