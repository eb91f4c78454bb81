//! Servers that lack commands, or close connections whose answers are too large.

use evictd::cache::{Cache, Redis};

use super::{names, nothing_refused, set, target, until_done};
use crate::support::{Redis as Server, RedisOptions};

async fn server(extra: &[&str]) -> Server {
    Server::start(RedisOptions {
        extra: extra.iter().map(ToString::to_string).collect(),
        ..RedisOptions::default()
    })
    .await
}

async fn fill(server: &Server, keys: &[String]) {
    let entries: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    let mut command = redis::cmd("MSET");
    for (key, value) in entries {
        command.arg(key).arg(value);
    }
    let _: () = command.query_async(&mut server.conn().await).await.unwrap();
}

#[tokio::test]
async fn without_unlink_keys_are_deleted_all_the_same() {
    let server = server(&["--rename-command", "UNLINK", ""]).await;
    let keys = names("user:", 2_500);
    fill(&server, &keys).await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    assert_eq!(
        redis.delete(&[&set(&keys)]).await.unwrap(),
        nothing_refused(2_500)
    );
    fill(&server, &keys).await;
    let outcome = redis.delete_matching(b"user:*").await.unwrap();
    assert_eq!(outcome, nothing_refused(2_500));
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_command_that_the_server_does_not_know_is_named_and_no_grant_is_asked_for() {
    let server = server(&[
        "--rename-command",
        "SCAN",
        "",
        "--rename-command",
        "HDEL",
        "",
    ])
    .await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    let error = redis.delete_matching(b"user:*").await.unwrap_err();
    assert_eq!(error.code(), "unknown-command");
    let text = error.to_string();
    for part in ["'SCAN'", "rename-command", "no grant helps"] {
        assert!(text.contains(part), "{text}");
    }
    let mut fields = evictd::model::PairSet::default();
    fields.insert(b"users", b"1");
    let error = redis.delete_fields(&fields).await.unwrap_err();
    assert!(error.to_string().contains("'HDEL'"), "{error}");
}

#[tokio::test]
async fn a_scan_whose_answers_are_too_large_for_the_server_asks_for_less() {
    let server = server(&["--client-output-buffer-limit", "normal 65536 0 0"]).await;
    let keys: Vec<String> = names("user:", 3_000)
        .iter()
        .map(|name| format!("{name}:{}", "k".repeat(1_000)))
        .collect();
    fill(&server, &keys).await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    let (_, failures) = until_done(async || redis.delete_matching(b"user:*").await).await;
    assert!((1..20).contains(&failures.len()), "{failures:?}");
    let mut conn = server.conn().await;
    let left: u64 = redis::cmd("DBSIZE").query_async(&mut conn).await.unwrap();
    assert_eq!(left, 0);
}
