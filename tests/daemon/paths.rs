//! Paths, from a row change to CloudFront.

use std::time::Duration;

use super::shop::{Config, Shop, WITHIN, start, stop};
use crate::support::{Aws, eventually, shared_aws};

const RULES: &str = r#"
[[path]]
pattern = "/stock/*"
class   = "short-ttl"

[[rule]]
name   = "users"
tables = ["$db.users"]
keys   = ["user:{id}:profile"]
paths  = ["/users/{slug}", "/api/users/{id}*", "/stock/{id}"]
"#;

fn config(shop: &Shop, buffer: &str, distribution: &str) -> Config {
    shop.config().rest(&format!(
        "[buffer]\n{buffer}\n[cloudfront]\nwindow = \"50ms\"\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"{distribution}\"\n{RULES}"
    ))
}

/// Waits until exactly these paths were sent, in any order and each as often as it takes.
async fn sent(aws: &Aws, distribution: &str, expected: &[&str]) {
    let mut expected: Vec<&str> = expected.to_vec();
    expected.sort_unstable();
    let mut paths = Vec::new();
    let deadline = std::time::Instant::now() + WITHIN;
    while paths != expected {
        assert!(
            std::time::Instant::now() < deadline,
            "{paths:?} and not {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        paths = aws.invalidated_paths(distribution).await;
        paths.dedup();
    }
}

#[tokio::test]
async fn changed_slugs_send_the_old_and_the_new_path_through_either_buffer() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let queue = aws.create_queue(&shop.database).await;
    let file = shop.dir.path().join("queue.redb");
    for buffer in [
        format!("kind = \"sqs\"\nqueue_url = \"{queue}\""),
        format!("kind = \"local\"\npath = \"{}\"", file.display()),
    ] {
        let distribution = aws.create_distribution(&buffer).await;
        shop.sql("DELETE FROM users").await;
        std::fs::remove_file(shop.checkpoint_file()).ok();
        let evictd = start(
            &config(&shop, &buffer, &distribution)
                .options()
                .envs(aws.env()),
        )
        .await;
        shop.sql("INSERT INTO users (id, slug) VALUES (1, 'ada')")
            .await;
        sent(aws, &distribution, &["/users/ada", "/api/users/1*"]).await;
        shop.sql("UPDATE users SET slug = 'zoë/b'").await;
        let mut all = vec!["/users/ada", "/users/zo%C3%AB/b", "/api/users/1*"];
        sent(aws, &distribution, &all).await;
        shop.sql("BEGIN; UPDATE users SET slug = 'never'; ROLLBACK; TRUNCATE TABLE users")
            .await;
        all.extend(["/users/*", "/api/users/*"]);
        sent(aws, &distribution, &all).await;
        stop(evictd).await;
    }
    assert_eq!(
        aws.queue_depth(&queue).await,
        (0, 0),
        "what was accepted leaves the queue"
    );
}

#[tokio::test]
async fn a_transaction_of_very_many_rows_sends_its_rules_wildcards() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let distribution = aws.create_distribution(&shop.database).await;
    let file = shop.dir.path().join("queue.redb");
    let buffer = format!("kind = \"local\"\npath = \"{}\"", file.display());
    let mut config = config(&shop, &buffer, &distribution);
    config.rest.push_str("bulk_threshold = 100\n");
    let evictd = start(&config.options().envs(aws.env())).await;
    let rows: Vec<String> = (1..=5_000).map(|id| format!("({id}, 'u{id}')")).collect();
    shop.sql(&format!(
        "INSERT INTO users (id, slug) VALUES {}",
        rows.join(", ")
    ))
    .await;
    let mut all = vec!["/users/*", "/api/users/*"];
    sent(aws, &distribution, &all).await;
    shop.sql("UPDATE users SET slug = 'ada' WHERE id = 7").await;
    all.extend(["/users/ada", "/users/u7", "/api/users/7*"]);
    sent(aws, &distribution, &all).await;
    stop(evictd).await;
}

#[tokio::test]
async fn paths_wait_until_their_keys_are_deleted() {
    let mut shop = Shop::open().await;
    let aws = shared_aws().await;
    let distribution = aws.create_distribution(&shop.database).await;
    let file = shop.dir.path().join("queue.redb");
    let buffer = format!("kind = \"local\"\npath = \"{}\"", file.display());
    let evictd = start(
        &config(&shop, &buffer, &distribution)
            .options()
            .envs(aws.env()),
    )
    .await;
    shop.redis.signal("STOP");
    shop.sql("INSERT INTO users (id, slug) VALUES (1, 'ada')")
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(aws.invalidated_paths(&distribution).await, [""; 0]);
    shop.redis.signal("CONT");
    sent(aws, &distribution, &["/users/ada", "/api/users/1*"]).await;
    stop(evictd).await;
}

#[tokio::test]
async fn tail_and_drain_may_be_two_processes() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let queue = aws.create_queue(&shop.database).await;
    let distribution = aws.create_distribution(&shop.database).await;
    let config = config(
        &shop,
        &format!("kind = \"sqs\"\nqueue_url = \"{queue}\""),
        &distribution,
    );
    let role = |role: &str| {
        config
            .options()
            .envs(aws.env())
            .args(&["run", "--role", role])
    };
    let tail = start(&role("tail")).await;
    shop.sql("INSERT INTO users (id, slug) VALUES (1, 'ada')")
        .await;
    eventually("the message waits", WITHIN, async || {
        (aws.queue_depth(&queue).await == (1, 0)).then_some(())
    })
    .await;
    assert_eq!(aws.invalidated_paths(&distribution).await, [""; 0]);
    let drain = crate::support::Evictd::start(&role("drain"));
    sent(aws, &distribution, &["/users/ada", "/api/users/1*"]).await;
    stop(tail).await;
    stop(drain).await;
}
