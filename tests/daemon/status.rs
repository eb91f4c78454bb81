//! What is on record, and what a daemon says about itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use evictd::binlog::connection::connector::{Connector, MysqlTarget};
use evictd::binlog::server::end::BinlogEnd;
use evictd::credentials::Password;
use mysql_async::prelude::Queryable;
use redis::AsyncCommands;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::shop::{Config, Shop, USERS, WITHIN, start, stop};
use crate::support::{
    EVICTD_PASSWORD, Evictd, EvictdOptions, Finished, MysqlOptions, eventually, free_port,
};

/// A shop whose daemon answers at an address.
struct Asked {
    shop: Shop,
    config: Config,
    listen: SocketAddr,
}

impl Asked {
    async fn open() -> Self {
        Self::of(Shop::open().await, "")
    }

    async fn own() -> Self {
        Self::of(Shop::own(MysqlOptions::default()).await, "")
    }

    /// `metrics` are more lines of `[metrics]`.
    fn of(shop: Shop, metrics: &str) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let rest = format!("[metrics]\nlisten = \"{listen}\"\n{metrics}\n{USERS}");
        let config = shop.config().rest(&rest);
        Self {
            shop,
            config,
            listen,
        }
    }

    fn options(&self, args: &[&str]) -> EvictdOptions {
        let mut options = self.config.options().args(args);
        // A command line for people needs no password.
        options
            .env
            .retain(|(name, _)| name != "EVICTD_SOURCE_PASSWORD");
        options
    }

    /// Another command beside the daemon.
    async fn command(&self, args: &[&str]) -> Finished {
        Evictd::finish(&self.options(args), WITHIN).await
    }

    /// What `evictd status --json` says.
    async fn status(&self) -> Value {
        let finished = self.command(&["status", "--json"]).await;
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {finished:?}"))
    }

    /// Waits until the status is as it should be.
    async fn status_with(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        eventually(what, WITHIN, async || {
            let status: Value = serde_json::from_str(&self.get("/status").await.1).unwrap();
            holds(&status).then_some(status)
        })
        .await
    }

    /// The code and the body of an answer.
    async fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evictd\r\n\r\n");
        let answer = exchange(self.listen, request.as_bytes()).await;
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (code, body)
    }

    fn ledger(&self, kind: &str) -> PathBuf {
        let file = format!("{}.{kind}.jsonl", self.shop.database);
        self.shop.dir.path().join(file)
    }

    /// The records of a file.
    fn records(&self, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.ledger(kind)).unwrap_or_default();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn insert(&self, id: u32) {
        self.shop
            .sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
    }

    /// What a stopped daemon left is a checkpoint whose next change is gone.
    async fn gapped(&self) {
        stop(self.config.start().await).await;
        self.insert(1).await;
        self.shop.purge_first_file().await;
        self.shop.fill(&["user:1:profile", "other"]).await;
    }

    /// Cuts the daemon off, and makes what is committed then unreadable for it.
    async fn lose_changes(&self) {
        let mysql = self.shop.mysql();
        // One that is killed may send what comes until it notices.
        let mut killed = 0;
        eventually("nobody reads the binlog", WITHIN, async || {
            let dumps: Vec<u64> = mysql
                .rows("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
                .await;
            for id in &dumps {
                // It may be gone by now.
                let kill = format!("KILL {id}");
                mysql.conn().await.query_drop(kill).await.ok();
                killed += 1;
            }
            (killed > 0 && dumps.is_empty()).then_some(())
        })
        .await;
        self.insert(1).await;
        self.shop.purge_first_file().await;
    }

    /// Waits until Redis has seen that a killed daemon is gone, and with that has done all that it had asked.
    async fn forgotten(&self) {
        eventually("only the test is connected to Redis", WITHIN, async || {
            let mut conn = self.shop.redis.conn().await;
            let clients: String = redis::cmd("CLIENT")
                .arg("LIST")
                .query_async(&mut conn)
                .await
                .unwrap();
            (clients.lines().count() == 1).then_some(())
        })
        .await;
    }

    /// An account that may not touch `user:9:profile`.
    async fn with_account(mut self) -> Self {
        let mut conn = self.shop.redis.conn().await;
        let _: () = redis::cmd("ACL")
            .arg(&["SETUSER", "limited", "on", "nopass", "+@all"])
            .arg(&["~user:1:*", "~user:9:v*", "~mark:*"])
            .query_async(&mut conn)
            .await
            .unwrap();
        let limited = format!("redis://limited@127.0.0.1:{}/0", self.shop.redis.port());
        self.config.redis_url = limited;
        self.config.redis = format!(
            "password = {{ env = \"REDIS_PASSWORD\" }}\n{}",
            self.config.redis
        );
        self
    }
}

pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn strings(value: &Value, path: &str) -> String {
    value
        .pointer(path)
        .map(ToString::to_string)
        .unwrap_or_default()
}

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
async fn a_gap_is_on_record_from_its_beginning_to_its_end_and_after_a_restart() {
    let asked = Asked::own().await;
    asked.gapped().await;
    let before = asked.shop.checkpoint().unwrap();
    let evictd = asked.config.start().await;
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    let status = asked
        .status_with("the gap is closed", |status| {
            status["recent_gaps"][0]["done_at"].is_string()
        })
        .await;
    assert_eq!(
        (&status["gaps"], &status["state"]),
        (&1.into(), &"ok".into())
    );
    assert_eq!(status["widenings"]["gap"], 2, "two rules: {status:#}");
    stop(evictd).await;
    let records = asked.records("gaps");
    let events: Vec<_> = records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["begun", "done"]);
    let gap = &records[0];
    assert_eq!(gap["from"]["file"], before["file"]);
    assert_eq!(gap["from"]["offset"], before["offset"]);
    assert_eq!(gap["from"]["gtid"], before["gtid_set"]);
    assert_eq!(gap["to"]["file"], "mysql-bin.000002");
    assert_ne!(gap["to"]["gtid"], before["gtid_set"], "{gap}");
    assert!(strings(gap, "/reason").contains("purged"), "{gap}");

    let evictd = asked.config.start().await;
    let status = asked.status().await;
    assert_eq!(
        (&status["gaps"], &status["widenings"]["gap"]),
        (&1.into(), &Value::Null)
    );
    stop(evictd).await;
    let text = asked.command(&["status"]).await.stdout;
    assert!(text.contains("everything invalidated within"), "{text}");
}

#[tokio::test]
async fn a_kill_while_a_gap_is_invalidated_repeats_all_of_it() {
    let mut asked = Asked::own().await;
    let mut evictd = asked.config.start().await;
    asked.shop.checkpoint_at_end().await;
    let before = std::fs::read(asked.shop.checkpoint_file()).unwrap();
    asked.shop.fill(&["other"]).await;
    // Frozen, so that it meets the gap only once Redis answers no more.
    evictd.signal("STOP");
    asked.lose_changes().await;
    asked.shop.redis.signal("STOP");
    evictd.signal("CONT");
    eventually("the gap is on record", WITHIN, async || {
        (asked.records("gaps").len() == 1).then_some(())
    })
    .await;
    asked
        .status_with("it is under way", |status| {
            let problems = status["problems"].as_array().unwrap();
            problems.iter().any(|problem| problem["part"] == "gap")
        })
        .await;
    evictd.kill();
    let after = std::fs::read(asked.shop.checkpoint_file()).unwrap();
    assert_eq!(after, before, "the checkpoint did not pass");
    asked.shop.redis.signal("CONT");
    asked.forgotten().await;
    asked.shop.fill(&["user:1:profile", "user:2:profile"]).await;
    let evictd = asked.config.start().await;
    asked
        .shop
        .gone(&["user:1:profile", "user:2:profile"], &evictd)
        .await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    asked.shop.checkpoint_at_end().await;
    asked
        .status_with("the gap is closed", |status| status["state"] == "ok")
        .await;
    stop(evictd).await;
    let text = asked.command(&["status"]).await.stdout;
    assert!(text.contains("interrupted, and begun anew"), "{text}");
    let records = asked.records("gaps");
    let events: Vec<_> = records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["begun", "begun", "done"]);
    assert_eq!(records[1]["id"], records[2]["id"]);
}

#[tokio::test]
async fn what_is_filled_again_right_after_a_gap_is_deleted_once_more() {
    let mut asked = Asked::own().await;
    asked.config = asked.config.clone().redis("settle_after = \"3s\"");
    asked.gapped().await;
    let evictd = asked.config.start().await;
    asked.shop.gone(&["user:1:profile"], &evictd).await;
    // A reader that read the row before the gap was met.
    asked.shop.fill(&["user:1:profile"]).await;
    asked.shop.gone(&["user:1:profile"], &evictd).await;
    asked
        .status_with("the gap is closed", |status| {
            status["recent_gaps"][0]["done_at"].is_string()
        })
        .await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_gap_that_halts_is_on_record_once_however_often_it_is_started() {
    let asked = Asked::own().await;
    asked.gapped().await;
    let config = asked.config.clone().source("on_gap = \"halt\"");
    for _ in 0..2 {
        let ended = config.finish().await;
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        assert!(ended.stderr.contains("source.on_gap"), "{}", ended.stderr);
    }
    let records = asked.records("gaps");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["event"], "halted");
    assert_eq!(records[0]["to"], Value::Null);
    let text = asked.command(&["status"]).await.stdout;
    assert!(text.contains("halted; set source.on_gap"), "{text}");
}

#[tokio::test]
async fn a_key_that_redis_refuses_is_a_dead_letter_and_the_rest_of_its_batch_goes_on() {
    let asked = Asked::own().await.with_account().await;
    let options = asked.config.options().env("REDIS_PASSWORD", "any");
    let evictd = start(&options).await;
    let keys = ["user:1:profile", "user:9:profile"];
    asked.shop.fill(&keys).await;
    asked
        .shop
        .sql("INSERT INTO users (id) VALUES (1), (9)")
        .await;
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["user:9:profile"]);
    let status = asked
        .status_with("the letter is counted", |status| {
            status["dead_letters"] == 1
        })
        .await;
    let letter = &status["recent_dead_letters"][0];
    assert_eq!(letter["key"], "user:9:profile");
    assert_eq!(letter["rules"], serde_json::json!(["users"]));
    for field in [
        "/at",
        "/reason",
        "/detail",
        "/remedy",
        "/position/file",
        "/position/gtid",
    ] {
        assert!(
            letter.pointer(field).is_some_and(Value::is_string),
            "{field}: {letter}"
        );
    }
    assert_eq!(status["state"], "ok", "everything else works");
    assert_eq!(asked.records("dead-letters"), std::slice::from_ref(letter));
    let metrics = asked.get("/metrics").await.1;
    let reason = letter["reason"].as_str().unwrap();
    let line = format!("evictd_dead_letters_total{{name=\"shop\",reason=\"{reason}\"}} 1");
    assert!(metrics.contains(&line), "{line}\n{metrics}");
    asked.shop.checkpoint_at_end().await;
    stop(evictd).await;

    let evictd = start(&options).await;
    let text = asked.command(&["status"]).await.stdout;
    for words in [
        "dead letters  1",
        "key user:9:profile",
        "delete the key by hand",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let _: i64 = asked
        .shop
        .redis
        .conn()
        .await
        .del("user:9:profile")
        .await
        .unwrap();
    stop(evictd).await;
}

#[tokio::test]
async fn rows_that_cannot_be_decoded_are_a_dead_letter_and_widen_their_table() {
    let asked = Asked::open().await;
    let evictd = asked.config.start().await;
    // The rule names the column, and fits the table no longer.
    asked
        .shop
        .sql("ALTER TABLE users RENAME COLUMN version TO revision")
        .await;
    asked.shop.done(&evictd).await;
    asked.shop.fill(&["user:9:profile", "other"]).await;
    for id in 1..4 {
        asked.insert(id).await;
    }
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    let status = asked.status().await;
    assert_eq!(status["dead_letters"], 1, "once a minute: {status:#}");
    let letter = &status["recent_dead_letters"][0];
    assert_eq!(letter["reason"], "undecodable");
    assert_eq!(letter["table"], format!("{}.users", asked.shop.database));
    assert_eq!(letter["rules"], serde_json::json!(["users"]));
    assert!(strings(letter, "/detail").contains("version"), "{letter}");
    assert!(
        status["widenings"]["undecodable"].as_u64() >= Some(1),
        "{status:#}"
    );
    stop(evictd).await;
    assert_eq!(asked.records("dead-letters").len(), 1);
}

/// Readers have what the server converts the text to. A key of the stored bytes would be nobody's.
#[tokio::test]
async fn text_that_cannot_be_converted_exactly_widens_its_table_and_no_key_of_its_bytes_is_made() {
    const RULES: &str = "[[rule]]\nname = \"slugs\"\ntables = [\"$db.users\"]\nkeys = [\"slug:{slug}\"]\n\
        [[rule]]\nname = \"orders\"\ntables = [\"$db.orders\"]\nkeys = [\"order:{id}\"]\n";
    let mut asked = Asked::open().await;
    asked
        .shop
        .sql("ALTER TABLE users MODIFY slug VARCHAR(50) CHARACTER SET dec8, MODIFY name VARCHAR(50) CHARACTER SET hp8")
        .await;
    let rest = asked.config.rest.replace(USERS, RULES);
    asked.config = asked.config.rest(&rest);
    let mut evictd = asked.config.start().await;
    let keys = ["slug:tea", "slug:thé", "slug:pot", "order:1"];

    // ASCII is the same in it, and nobody reads the name.
    let deleted = asked.shop.deleted_by(
        &evictd,
        &keys,
        "INSERT INTO users (id, slug, name) VALUES (1, 'tea', 'Zoë')",
    );
    assert_eq!(deleted.await, ["slug:tea"]);
    let widenings = format!(
        "evictd_widenings_total{{name=\"{}\",reason=\"undecodable\"}}",
        asked.shop.database
    );
    assert!(
        !asked
            .get("/metrics")
            .await
            .1
            .contains(&format!("{widenings} 1"))
    );

    let deleted =
        asked
            .shop
            .deleted_by(&evictd, &keys, "UPDATE users SET slug = 'thé' WHERE id = 1");
    assert_eq!(deleted.await, ["slug:tea", "slug:thé", "slug:pot"]);
    evictd
        .wait_for_line("column slug: its text cannot be converted", WITHIN)
        .await;
    let metrics = asked.get("/metrics").await.1;
    assert!(metrics.contains(&format!("{widenings} 1")), "{metrics}");
    let letter = &asked.status().await["recent_dead_letters"][0];
    assert_eq!(letter["rules"], serde_json::json!(["slugs"]), "{letter}");
    stop(evictd).await;
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_holds_nothing_up_and_is_not_silent() {
    let asked = Asked::own().await;
    asked.gapped().await;
    std::fs::remove_file(asked.ledger("gaps")).ok();
    std::os::unix::fs::symlink("/dev/full", asked.ledger("gaps")).unwrap();
    let mut evictd = asked.config.start().await;
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    asked.shop.checkpoint_at_end().await;
    evictd
        .wait_for_line("the ledger cannot be written", WITHIN)
        .await;
    let status = asked
        .status_with("the ledger is in trouble", |status| {
            status["problems"][0]["part"] == "ledger"
        })
        .await;
    assert_eq!(status["state"], "trouble", "{status:#}");
    assert!(strings(&status, "/problems/0/text").contains("No space left"));
    let metrics = asked.get("/metrics").await.1;
    assert!(
        metrics.contains("evictd_ledger_failures_total{name=\"shop\",ledger=\"gaps\"}"),
        "{metrics}"
    );
    std::fs::remove_file(asked.ledger("gaps")).unwrap();
    asked
        .status_with("the ledger is written", |status| status["state"] == "ok")
        .await;
    // What waited behind the first record is written right after it.
    eventually("both records that waited", WITHIN, async || {
        let records = asked.records("gaps");
        let events = records.iter().map(|record| record["event"].clone());
        (events.collect::<Vec<_>>() == ["begun", "done"]).then_some(())
    })
    .await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_ledger_in_no_directory_is_refused_before_anything_is_touched() {
    let asked = Asked::open().await;
    let rest = format!("[ledger]\ndir = \"/nonexistent/evictd\"\n{USERS}");
    let ended = asked.shop.config().rest(&rest).finish().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("ledger.dir"), "{}", ended.stderr);
    assert!(asked.shop.checkpoint().is_none());
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
