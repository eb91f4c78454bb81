//! `examples/php` as an application has it: it reads and fills, evictd deletes.

use std::path::{Path, PathBuf};
use std::process::Command;

use redis::AsyncCommands;
use serde_json::{Value, json};

use super::shop::{Shop, WITHIN, stop};
use crate::support::{Process, eventually, php};

const ENTRY: &str = "user:{7}:profile";
const GUARD: &str = "user:{7}:guard";

/// The rule for the keys that the example uses.
const RULE: &str = r#"
[[rule]]
name    = "users"
tables  = ["$db.users"]
version = "version"
keys    = ["user:{{{id}}}:profile"]
guard   = { key = "user:{{{id}}}:guard", ttl = "1d" }
"#;

/// A PHP process of the application.
fn application(shop: &Shop, script: &str, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let mut command = Command::new(php());
    command.arg("-d").arg("display_errors=stderr");
    command.arg(script).args(arguments);
    let (port, database) = (shop.mysql().port(), &shop.database);
    command
        .env(
            "SHOP_DSN",
            format!("mysql:host=127.0.0.1;port={port};dbname={database};charset=utf8mb4"),
        )
        .env("SHOP_DB_USER", "root")
        .env("SHOP_REDIS_PORT", shop.redis.port().to_string());
    command
}

/// Runs it to its end.
fn run(shop: &Shop, arguments: &[&str]) -> String {
    let output = application(shop, "examples/php/bin/user.php", arguments)
        .output()
        .expect("PHP can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{arguments:?}: {stderr}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn find(shop: &Shop, id: &str) -> Value {
    serde_json::from_str(&run(shop, &["find", id])).unwrap()
}

fn ada(version: &str, name: &str) -> Value {
    json!({ "id": 7, "version": version, "name": name, "slug": "ada" })
}

async fn cached(shop: &Shop, key: &str) -> Option<String> {
    shop.redis.conn().await.get(key).await.unwrap()
}

#[tokio::test]
async fn a_php_application_reads_what_it_wrote_and_invalidates_nothing_itself() {
    let shop = Shop::open().await;
    shop.sql("INSERT INTO users (id, name, slug) VALUES (7, 'Ada', 'ada')")
        .await;
    let evictd = shop.config().rest(RULE).start().await;

    // A miss and a fill.
    assert_eq!(find(&shop, "7"), ada("1", "Ada"));
    let entry = cached(&shop, ENTRY).await.unwrap();
    assert!(entry.contains("Ada"), "{entry}");
    assert_eq!(cached(&shop, GUARD).await.unwrap(), "1");
    // A hit: what is cached is what is given.
    let other = entry.replace("Ada", "from the cache");
    let _: () = shop.redis.conn().await.set(ENTRY, other).await.unwrap();
    assert_eq!(find(&shop, "7"), ada("1", "from the cache"));

    run(&shop, &["rename", "7", "Ada Lovelace"]);
    shop.gone(&[ENTRY], &evictd).await;
    assert_eq!(find(&shop, "7"), ada("2", "Ada Lovelace"));
    assert_eq!(cached(&shop, GUARD).await.unwrap(), "2");

    // The script is loaded by now, and again after the server forgot it.
    for forget in [false, true] {
        let mut conn = shop.redis.conn().await;
        if forget {
            let _: () = redis::cmd("SCRIPT")
                .arg("FLUSH")
                .query_async(&mut conn)
                .await
                .unwrap();
        }
        let _: () = conn.del(ENTRY).await.unwrap();
        assert_eq!(find(&shop, "7"), ada("2", "Ada Lovelace"));
        assert!(cached(&shop, ENTRY).await.is_some(), "forget: {forget}");
    }
    stop(evictd).await;
}

#[tokio::test]
async fn a_user_who_does_not_exist_yet_is_found_once_inserted() {
    let shop = Shop::open().await;
    let evictd = shop.config().rest(RULE).start().await;
    assert_eq!(find(&shop, "7"), Value::Null);
    assert_eq!(cached(&shop, ENTRY).await.unwrap(), "null");
    shop.sql("INSERT INTO users (id, name, slug) VALUES (7, 'Ada', 'ada')")
        .await;
    shop.gone(&[ENTRY], &evictd).await;
    assert_eq!(find(&shop, "7"), ada("1", "Ada"));
    stop(evictd).await;
}

/// A PHP process that has read the row and is about to fill.
struct HeldReader {
    process: Process,
    release: PathBuf,
}

impl HeldReader {
    async fn start(shop: &Shop) -> Self {
        let (held, release) = (
            shop.dir.path().join("held"),
            shop.dir.path().join("release"),
        );
        let mut command = application(shop, "tests/daemon/php/held_reader.php", &["find", "7"]);
        command.env("HELD", &held).env("RELEASE", &release);
        let process = Process::spawn("php", &command, shop.dir.path());
        eventually("the reader has read the row", WITHIN, async || {
            held.exists().then_some(())
        })
        .await;
        Self { process, release }
    }

    /// Lets it fill, and returns what it found.
    async fn finish(mut self) -> Value {
        std::fs::write(&self.release, "").unwrap();
        let status = self.process.wait(WITHIN).await.expect("the reader ends");
        assert!(status.success(), "{}", self.process.tail());
        serde_json::from_str(&self.process.stdout()).unwrap()
    }
}

#[tokio::test]
async fn a_php_reader_that_read_the_old_row_and_fills_after_the_deletion_is_refused() {
    let shop = Shop::open().await;
    shop.sql("INSERT INTO users (id, name, slug) VALUES (7, 'Ada', 'ada')")
        .await;
    let evictd = shop.config().rest(RULE).start().await;
    let slow = HeldReader::start(&shop).await;
    // An entry that tells when evictd has deleted it.
    shop.fill(&[ENTRY]).await;
    run(&shop, &["rename", "7", "Ada Lovelace"]);
    shop.gone(&[ENTRY], &evictd).await;

    // It answers with what it read, and leaves nothing behind.
    assert_eq!(slow.finish().await, ada("1", "Ada"));
    assert_eq!(cached(&shop, ENTRY).await, None);
    assert_eq!(cached(&shop, GUARD).await.unwrap(), "2");
    assert_eq!(find(&shop, "7"), ada("2", "Ada Lovelace"));
    stop(evictd).await;
}

#[tokio::test]
async fn a_php_reader_that_found_no_row_and_fills_after_the_insert_is_refused() {
    let shop = Shop::open().await;
    let evictd = shop.config().rest(RULE).start().await;
    let slow = HeldReader::start(&shop).await;
    shop.fill(&[ENTRY]).await;
    shop.sql("INSERT INTO users (id, name, slug) VALUES (7, 'Ada', 'ada')")
        .await;
    shop.gone(&[ENTRY], &evictd).await;

    assert_eq!(slow.finish().await, Value::Null);
    assert_eq!(cached(&shop, ENTRY).await, None);
    assert_eq!(find(&shop, "7"), ada("1", "Ada"));
    stop(evictd).await;
}

#[tokio::test]
async fn a_php_reader_whose_cache_is_full_or_gone_still_answers() {
    let mut shop = Shop::open().await;
    shop.sql("INSERT INTO users (id, name, slug) VALUES (7, 'Ada', 'ada')")
        .await;
    let answers = |shop: &Shop, logged: &str| {
        let mut command = application(shop, "examples/php/bin/user.php", &["find", "7"]);
        let output = command.output().expect("PHP can be run");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found, ada("1", "Ada"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(logged), "{stderr}");
    };
    shop.redis.configure("maxmemory", "1").await;
    answers(&shop, "OOM");
    shop.redis.kill();
    answers(&shop, "Connection refused");
}
