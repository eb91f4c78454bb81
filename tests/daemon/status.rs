//! What a daemon says about itself.

use evictd::binlog::connection::connector::{Connector, MysqlTarget};
use evictd::binlog::server::end::BinlogEnd;
use evictd::credentials::Password;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::asked::{Asked, exchange, strings};
use super::shop::{Shop, WITHIN, stop};
use crate::support::{EVICTD_PASSWORD, Evictd, MysqlOptions};

#[tokio::test]
async fn a_running_daemon_says_that_all_is_well() {
    let asked = Asked::open().await;
    let evictd = asked.config.start().await;
    asked.insert(1).await;
    asked.shop.done(&evictd).await;
    let status = asked
        .status_with("read and stored", |status| {
            status["lag_seconds"] == 0.0
                && status["lag_bytes"].is_u64()
                && status["checkpoint"]["age_seconds"].is_f64()
        })
        .await;
    assert_eq!(status["state"], "ok", "{status:#}");
    assert_eq!(
        (&status["connected"], &status["role"]),
        (&true.into(), &"all".into())
    );
    assert!(status["keys_deleted"].as_u64() >= Some(3), "{status:#}");
    assert_eq!(
        (&status["gaps"], &status["dead_letters"]),
        (&0.into(), &0.into())
    );
    assert!(
        status["position"]["file"]
            .as_str()
            .unwrap()
            .starts_with("mysql-bin.")
    );
    for (path, words) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let (code, body) = asked.get(path).await;
        assert_eq!(code, 200, "{path}: {body}");
        assert!(body.starts_with(words), "{body}");
    }
    let text = asked.command(&["status"]).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(
        text.stdout
            .starts_with(&format!("evictd {}: OK", asked.shop.database)),
        "{}",
        text.stdout
    );
    for words in [
        "source",
        "connected for",
        "lag",
        "checkpoint",
        "dead letters  0",
    ] {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }
    assert!(
        text.stdout.is_ascii() && !text.stdout.contains('\u{1b}'),
        "{}",
        text.stdout
    );
    let json = asked.status().await;
    assert_eq!(json["state"], "ok");
    for args in [&["health"][..], &["health", "--ready"]] {
        let health = asked.command(args).await;
        assert_eq!(health.code, Some(0), "{health:?}");
        assert_eq!(health.stdout.lines().count(), 1, "{health:?}");
    }
    stop(evictd).await;
}

#[tokio::test]
async fn metrics_tell_the_lag_and_how_long_deletions_took() {
    let asked = Asked::open().await;
    let evictd = asked.config.start().await;
    asked.insert(1).await;
    asked.shop.done(&evictd).await;
    let metrics = asked.get("/metrics").await.1;
    for line in [
        "# TYPE evictd_commit_to_deleted_seconds histogram",
        "evictd_commit_to_deleted_seconds_bucket{name=\"shop\",le=\"0.5\"}",
        "# TYPE evictd_commit_to_settled_seconds histogram",
        "evictd_lag_seconds{name=\"shop\"}",
        "evictd_lag_bytes{name=\"shop\"}",
        "evictd_cache_keys_total{name=\"shop\"}",
        "evictd_leader{name=\"shop\"} 1",
    ] {
        let line = line.replace("shop", &asked.shop.database);
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    stop(evictd).await;
}

#[tokio::test]
async fn what_is_no_question_is_refused_and_slow_clients_do_not_keep_others_waiting() {
    let asked = Asked::open().await;
    let evictd = asked.config.start().await;
    assert_eq!(asked.get("/nothing").await.0, 404);
    let post = b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let answer = exchange(asked.listen, post).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let mut long = b"GET /status HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
    long.resize(100_000, b'a');
    let mut stream = TcpStream::connect(asked.listen).await.unwrap();
    // The other end may hang up before it has read it all.
    stream.write_all(&long).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("200 OK"), "{answer}");
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(asked.listen).await.unwrap());
    }
    assert_eq!(asked.get("/healthz").await.0, 200);
    asked.insert(1).await;
    asked.shop.done(&evictd).await;
    drop(idle);
    stop(evictd).await;
}

#[tokio::test]
async fn with_redis_away_it_is_alive_and_says_since_when_and_is_not_ready_beyond_the_lag_allowed() {
    let mut asked = Asked::of(Shop::own(MysqlOptions::default()).await, "lag_max = \"1s\"");
    let evictd = asked.config.start().await;
    asked.shop.fill(&["user:1:profile"]).await;
    asked.shop.redis.kill();
    asked.insert(1).await;
    let status = asked
        .status_with("Redis is missed", |status| {
            status["lag_seconds"].as_f64() > Some(1.0) && status["state"] == "trouble"
        })
        .await;
    let cache = |status: &Value| {
        let problems = status["problems"].as_array().unwrap();
        problems
            .iter()
            .find(|problem| problem["part"] == "cache")
            .cloned()
    };
    let problem = cache(&status).unwrap_or_else(|| panic!("{status:#}"));
    assert!(problem["since"].is_string(), "{problem}");
    assert!(
        strings(&problem, "/text").contains("check redis.url"),
        "{problem}"
    );
    let (code, body) = asked.get("/healthz").await;
    assert_eq!(code, 200, "a restart brings no Redis back: {body}");
    let (code, body) = asked.get("/readyz").await;
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("behind"), "{body}");
    assert_eq!(asked.command(&["health"]).await.code, Some(0));
    let ready = asked.command(&["health", "--ready"]).await;
    assert_eq!(ready.code, Some(1), "{ready:?}");
    assert!(ready.stderr.contains("not ready"), "{ready:?}");
    let text = asked.command(&["status"]).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    for words in [
        "evictd shop: TROUBLE",
        "cache",
        "! for ",
        "since 20",
        "redis.url",
    ] {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }
    asked.shop.redis.start_again().await;
    let status = asked
        .status_with("Redis is back", |status| status["state"] == "ok")
        .await;
    assert!(cache(&status).is_none());
    let parts = status["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["part"] == "cache").unwrap();
    assert!(
        part["last_error"].is_string() && part["trouble_since"].is_null(),
        "{part}"
    );
    assert_eq!(asked.get("/readyz").await.0, 200);
    stop(evictd).await;
}

#[tokio::test]
async fn with_mysql_away_it_is_alive_and_not_ready() {
    let mut asked = Asked::own().await;
    let evictd = asked.config.start().await;
    asked.shop.mysql_mut().stop().await;
    let status = asked
        .status_with("MySQL is missed", |status| {
            status["connected"] == false
                && status["state"] == "trouble"
                && status["lag_seconds"].as_f64() > Some(0.0)
        })
        .await;
    assert!(
        strings(&status, "/problems/0/part").contains("source"),
        "{status:#}"
    );
    assert_eq!(asked.get("/healthz").await.0, 200);
    let (code, body) = asked.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains("not connected"), "{body}");
    asked.shop.mysql_mut().start_again().await;
    asked
        .status_with("MySQL is back", |status| status["state"] == "ok")
        .await;
    stop(evictd).await;
}

#[tokio::test]
async fn without_a_daemon_the_status_is_from_disk_and_health_fails() {
    let asked = Asked::open().await;
    let none = asked.command(&["status"]).await;
    assert_eq!(none.code, Some(3), "{none:?}");
    assert!(none.stdout.contains("NO DAEMON ANSWERS"), "{none:?}");
    assert!(none.stdout.contains("checkpoint    none"), "{none:?}");
    stop(asked.config.start().await).await;
    let status = asked.command(&["status", "--json"]).await;
    assert_eq!(status.code, Some(3), "{status:?}");
    assert!(status.stderr.contains("no daemon answers at"), "{status:?}");
    let json: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(json["state"], "no-daemon");
    let stored = asked.shop.checkpoint().unwrap();
    assert_eq!(json["checkpoint"]["position"]["offset"], stored["offset"]);
    let health = asked.command(&["health"]).await;
    assert_eq!(health.code, Some(1), "{health:?}");
    let unconfigured = asked.shop.config().options().args(&["health"]);
    let health = Evictd::finish(&unconfigured, WITHIN).await;
    assert_eq!(health.code, Some(1), "{health:?}");
    assert!(health.stderr.contains("set metrics.listen"), "{health:?}");
}

#[tokio::test]
async fn the_bytes_not_read_are_counted_over_several_files() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let mut end = BinlogEnd::new(Connector::new(MysqlTarget {
        host: "127.0.0.1".to_owned(),
        port: shop.mysql().port(),
        user: "evictd".to_owned(),
        password: Some(Password::fixed(EVICTD_PASSWORD)),
        tls: None,
    }));
    let (file, offset, _) = shop.end().await;
    assert_eq!(end.bytes_after(&file, offset).await.unwrap(), Some(0));
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    let (_, after, _) = shop.end().await;
    assert_eq!(
        end.bytes_after(&file, offset).await.unwrap(),
        Some(after - offset)
    );
    shop.sql("FLUSH BINARY LOGS; FLUSH BINARY LOGS").await;
    let sizes: Vec<(String, u64, String)> = shop.mysql().rows("SHOW BINARY LOGS").await;
    let all: u64 = sizes.iter().map(|(_, size, _)| size).sum();
    assert_eq!(sizes.len(), 3);
    assert_eq!(
        end.bytes_after(&file, offset).await.unwrap(),
        Some(all - offset)
    );
    assert_eq!(end.bytes_after("mysql-bin.000099", 4).await.unwrap(), None);
}
