//! A shard of a cluster that is away, and globs over many keys: neither holds up the deletion of other rows.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::shop::{Shop, USERS, WITHIN, stop};
use crate::support::{MysqlOptions, Redis, RedisCluster, RedisOptions, eventually};

/// Far less than a node that does not answer is waited for.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn exists(conn: &mut MultiplexedConnection, key: &str) -> bool {
    conn.exists(key).await.unwrap()
}

/// Changes a row and returns how long its key stays.
async fn key_stays(shop: &Shop, redis: &Redis, sql: &str, key: &str) -> Duration {
    let mut conn = redis.conn().await;
    let _: () = conn.set(key, "x").await.unwrap();
    shop.sql(sql).await;
    let committed = Instant::now();
    while exists(&mut conn, key).await {
        assert!(committed.elapsed() < WITHIN, "{key} stays");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    committed.elapsed()
}

#[tokio::test]
async fn a_shard_that_is_away_holds_up_no_deletion_on_the_others_and_the_position_waits_for_it() {
    const COUNT: u32 = 300;
    let shop = Shop::own(MysqlOptions::default()).await;
    let mut cluster = RedisCluster::start_with(RedisOptions {
        extra: ["--cluster-require-full-coverage", "no"]
            .map(str::to_owned)
            .to_vec(),
        ..RedisOptions::default()
    })
    .await;
    let keys: Vec<String> = (0..COUNT).map(|id| format!("user:{id}:profile")).collect();
    cluster.fill(&keys).await;
    let primaries = cluster.primaries().await;
    let [away, healthy, ..] = primaries[..] else {
        panic!("three primaries");
    };
    let replica = cluster.replicas(away).await[0];
    let mut config = shop
        .config()
        .redis("cluster = true\nsettle_after = \"500ms\"");
    config.redis_url = cluster.nodes[healthy].url();
    let mut evictd = config.start().await;
    shop.sql("INSERT INTO orders (id) VALUES (1)").await;
    let before = shop.checkpoint_at_end().await;
    let mut own = Vec::new();
    for id in COUNT.. {
        if own.len() == 20 {
            break;
        }
        let key = format!("user:{id}:profile");
        if cluster.owner(&key).await == healthy {
            own.push((id, key));
        }
    }
    for node in [away, replica] {
        cluster.nodes[node].signal("STOP");
    }
    for id in 0..COUNT {
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
    }
    eventually("the other shards' keys go", WITHIN, async || {
        let mut left = 0;
        for node in primaries.iter().filter(|node| **node != away) {
            left += cluster.nodes[*node].keys().await.len();
        }
        (left == 0).then_some(())
    })
    .await;
    // It is known by now. A row of another shard does not wait for it, and is settled.
    for (id, key) in &own {
        let insert = format!("INSERT INTO users (id) VALUES ({id})");
        let node = &cluster.nodes[healthy];
        let stays = key_stays(&shop, node, &insert, key).await;
        assert!(stays < AT_ONCE, "{key} stays for {stays:?}");
        let _: () = node.conn().await.set(key, "late").await.unwrap();
    }
    eventually("late fills go", WITHIN, async || {
        let left = cluster.nodes[healthy].keys().await;
        left.is_empty().then_some(())
    })
    .await;
    let line = evictd
        .wait_for_line("a part of the cache does not answer", WITHIN)
        .await;
    let port = cluster.nodes[away].port().to_string();
    assert!(line.contains(&port), "{line}");
    assert_eq!(
        shop.checkpoint().unwrap()["offset"],
        before["offset"],
        "the position waits"
    );
    // A restart copes with what the running daemon did.
    evictd.kill();
    let mut evictd = config.start().await;
    evictd
        .wait_for_line("a part of the cluster does not answer", WITHIN)
        .await;
    let (id, key) = &own[0];
    let update = format!("UPDATE users SET name = 'new' WHERE id = {id}");
    key_stays(&shop, &cluster.nodes[healthy], &update, key).await;
    for node in [away, replica] {
        cluster.nodes[node].signal("CONT");
    }
    shop.checkpoint_at_end().await;
    cluster.healthy().await;
    assert_eq!(cluster.keys().await, [""; 0], "{}", evictd.tail());
    stop(evictd).await;
}

const ORDERS: &str = r#"
[[rule]]
name    = "orders"
tables  = ["$db.orders"]
keys    = ["order:{id}:{total}"]
table_wide = { keys = ["order:*"] }
"#;

/// So many orders in the cache, and as many entries that no rule is about.
async fn fill_orders(redis: &Redis, count: u32) {
    let script = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('SET', 'order:' .. i .. ':5', 'x') redis.call('SET', 'other:' .. i, 'x') end";
    let mut conn = redis.conn().await;
    for first in (0..count).step_by(10_000) {
        let _: () = redis::cmd("EVAL")
            .arg(script)
            .arg(0)
            .arg(first)
            .arg(first + 9_999)
            .query_async(&mut conn)
            .await
            .unwrap();
    }
}

/// The time that the server has spent on the commands of scans, in microseconds.
async fn scanning(redis: &Redis) -> u64 {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut redis.conn().await)
        .await
        .unwrap();
    let usec = |command: &str| {
        let line = stats
            .lines()
            .find(|line| line.starts_with(&format!("cmdstat_{command}:")))?;
        let (_, usec) = line.split_once(",usec=")?;
        usec.split(',').next()?.parse::<u64>().ok()
    };
    ["scan", "unlink", "ping"]
        .iter()
        .filter_map(|command| usec(command))
        .sum()
}

#[tokio::test]
async fn a_whole_table_of_many_keys_holds_up_no_other_row_and_leaves_the_server_to_others() {
    const COUNT: u32 = 400_000;
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = shop
        .config()
        .rest(&format!("{USERS}{ORDERS}"))
        .start()
        .await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.checkpoint_at_end().await;
    fill_orders(&shop.redis, COUNT).await;
    let busy_before = scanning(&shop.redis).await;
    let mut conn = shop.redis.conn().await;
    shop.sql("TRUNCATE orders").await;
    let began = Instant::now();
    let mut stays = Vec::new();
    let mut id = 2;
    let mut latencies = Vec::new();
    while shop.redis_size(&mut conn).await > u64::from(COUNT) + 1 {
        assert!(began.elapsed() < 4 * WITHIN, "{}", evictd.tail());
        let insert = format!("INSERT INTO users (id) VALUES ({id})");
        let key = format!("user:{id}:profile");
        stays.push(key_stays(&shop, &shop.redis, &insert, &key).await);
        id += 1;
        for _ in 0..50 {
            let asked = Instant::now();
            let _: Option<String> = conn.get("other:1").await.unwrap();
            latencies.push(asked.elapsed());
        }
    }
    let took = began.elapsed();
    let busy = scanning(&shop.redis).await - busy_before;
    stays.sort();
    latencies.sort();
    let share = busy as f64 / 1e6 / took.as_secs_f64();
    println!(
        "{} rows meanwhile: median {:?}, longest {:?}; GET p50 {:?} p99 {:?}; scanned for {took:?}, busy {share:.2}",
        stays.len(),
        stays[stays.len() / 2],
        stays[stays.len() - 1],
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
    );
    assert!(stays.len() >= 5, "{stays:?}");
    assert!(
        stays[stays.len() / 2] < Duration::from_millis(100),
        "{stays:?}"
    );
    assert!(share < 0.4, "the server scans for {share:.2} of the time");
    shop.checkpoint_at_end().await;
    assert_eq!(shop.redis_size(&mut conn).await, u64::from(COUNT));
    stop(evictd).await;
}
