//! Guards: fills that are late by any amount are refused.

use std::time::Duration;

use redis::AsyncCommands;

use super::shop::{Config, Shop, WITHIN, stop};
use crate::support::MysqlOptions;

const RULES: &str = r#"
[[rule]]
name    = "users"
tables  = ["$db.users"]
version = "version"
keys    = ["user:{{{id}}}"]
guard   = { key = "user:{{{id}}}:guard", ttl = "1d" }
"#;

fn guarded(shop: &Shop) -> Config {
    shop.config().rest(RULES)
}

/// What a reader stores a row with: not below the guard, which it raises.
const FILL: &str = r"
    local held = redis.call('GET', KEYS[1])
    local version = ARGV[1]
    if held and (#version < #held or #version == #held and version < held) then return 0 end
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
    redis.call('SET', KEYS[1], version, 'PX', ARGV[4])
    return 1
";

/// Whether a reader that read this version of user 7 may store it.
async fn fill(shop: &Shop, version: &str) -> bool {
    let mut conn = shop.redis.conn().await;
    let stored: i64 = redis::cmd("EVAL")
        .arg(FILL)
        .arg(2)
        .arg(&["user:{7}:guard", "user:{7}"])
        .arg(&[version, &format!("row of {version}"), "60000", "86400000"])
        .query_async(&mut conn)
        .await
        .unwrap();
    stored == 1
}

async fn guard(shop: &Shop) -> Option<String> {
    shop.redis.conn().await.get("user:{7}:guard").await.unwrap()
}

#[tokio::test]
async fn a_fill_of_an_older_row_is_refused_however_late_and_one_of_the_newer_is_stored() {
    let shop = Shop::open().await;
    let evictd = guarded(&shop).start().await;
    shop.sql("INSERT INTO users (id) VALUES (7)").await;
    shop.done(&evictd).await;
    assert_eq!(guard(&shop).await.as_deref(), Some("1"));
    assert!(fill(&shop, "1").await);

    shop.sql("UPDATE users SET name = 'new', version = 2 WHERE id = 7")
        .await;
    shop.done(&evictd).await;
    assert_eq!(guard(&shop).await.as_deref(), Some("2"));
    assert_eq!(
        shop.redis.keys().await,
        ["user:{7}:guard"],
        "the entry is gone"
    );
    assert!(!fill(&shop, "1").await, "the old row came late");
    assert!(fill(&shop, "2").await);
    // Nine to ten, where text would sort the other way round.
    for version in 3..=10 {
        shop.sql(&format!(
            "UPDATE users SET version = {version} WHERE id = 7"
        ))
        .await;
    }
    shop.done(&evictd).await;
    assert!(!fill(&shop, "9").await);
    assert!(fill(&shop, "10").await);

    shop.sql("DELETE FROM users WHERE id = 7").await;
    shop.done(&evictd).await;
    assert!(!fill(&shop, "10").await, "the row is gone");
    assert_eq!(shop.redis.keys().await, ["user:{7}:guard"]);
    let ttl_ms: u64 = shop
        .redis
        .conn()
        .await
        .pttl("user:{7}:guard")
        .await
        .unwrap();
    assert!((86_000_000..=86_400_000).contains(&ttl_ms), "{ttl_ms}");
    stop(evictd).await;
}

#[tokio::test]
async fn a_crash_and_the_replay_after_it_lower_no_guard() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let mut evictd = guarded(&shop).start().await;
    shop.sql("INSERT INTO users (id) VALUES (7)").await;
    shop.done(&evictd).await;
    let before = std::fs::read(shop.checkpoint_file()).unwrap();
    shop.sql("UPDATE users SET version = 5 WHERE id = 7").await;
    shop.done(&evictd).await;
    assert_eq!(guard(&shop).await.as_deref(), Some("5"));
    evictd.kill();
    evictd.exit(WITHIN).await;
    // Changes while nobody looks; and the checkpoint is an old one, so that all of it is read again.
    std::fs::write(shop.checkpoint_file(), before).unwrap();
    shop.sql("UPDATE users SET version = 8 WHERE id = 7").await;
    assert!(fill(&shop, "5").await, "nobody has raised it yet");
    assert!(
        fill(&shop, "8").await,
        "a reader of the new row raises it itself"
    );
    let evictd = guarded(&shop).start().await;
    shop.done(&evictd).await;
    assert_eq!(guard(&shop).await.as_deref(), Some("8"));
    assert!(!fill(&shop, "5").await && !fill(&shop, "7").await);
    assert!(fill(&shop, "8").await);
    stop(evictd).await;
}

#[tokio::test]
async fn a_version_that_goes_back_refuses_fills_of_the_row_before_and_is_logged() {
    let shop = Shop::open().await;
    let rules = r#"
[[rule]]
name    = "users"
tables  = ["$db.users"]
version = "version"
keys    = ["user:{id}:v{version}"]
guard   = { key = "user:{{{id}}}:guard", ttl = "1d" }
"#;
    let config = shop.config().rest(rules).redis("settle_after = \"5s\"");
    let mut evictd = config.start().await;
    shop.sql("INSERT INTO users (id, version) VALUES (7, 5)")
        .await;
    shop.done(&evictd).await;
    let keys = ["user:7:v3", "user:7:v4", "user:7:v5", "user:7:v6"];
    shop.fill(&keys).await;
    shop.sql("UPDATE users SET version = 3 WHERE id = 7").await;
    shop.gone(&["user:7:v3", "user:7:v5"], &evictd).await;
    let line = evictd.wait_for_line("went backwards", WITHIN).await;
    assert!(line.contains('5') && line.contains('3'), "{line}");
    assert_eq!(guard(&shop).await.as_deref(), Some("6"));
    assert!(!fill(&shop, "5").await);
    // Both are deleted again: a fill can be on its way to either.
    shop.fill(&["user:7:v3", "user:7:v5"]).await;
    shop.gone(&["user:7:v3", "user:7:v5"], &evictd).await;
    let left = shop.redis.keys().await;
    assert!(
        left.contains(&keys[1].to_owned()) && left.contains(&keys[3].to_owned()),
        "{left:?}"
    );
    stop(evictd).await;
}

#[tokio::test]
async fn a_guard_that_cannot_be_raised_is_reported_and_holds_nothing_up() {
    let shop = Shop::open().await;
    let mut evictd = guarded(&shop).start().await;
    let mut conn = shop.redis.conn().await;
    let _: () = conn.hset("user:{7}:guard", "some", "hash").await.unwrap();
    shop.fill(&["user:{7}", "user:{8}"]).await;
    shop.sql("INSERT INTO users (id) VALUES (7), (8)").await;
    shop.gone(&["user:{7}", "user:{8}"], &evictd).await;
    let line = evictd.wait_for_line("refuses keys for good", WITHIN).await;
    assert!(
        line.contains("user:{7}:guard") && line.contains("wrong-type"),
        "{line}"
    );
    shop.done(&evictd).await;
    let other: String = conn.get("user:{8}:guard").await.unwrap();
    assert_eq!(other, "1");
    shop.checkpoint_passes_the_end(&evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_whole_table_goes_and_its_guards_stay() {
    let shop = Shop::open().await;
    let rules = RULES.replace(
        "keys    = [\"user:{{{id}}}\"]",
        "keys = [\"user:{{{id}}}\", \"user:{id}{name}\"]",
    );
    let evictd = shop.config().rest(&rules).start().await;
    shop.sql("INSERT INTO users (id, version) VALUES (7, 4)")
        .await;
    shop.done(&evictd).await;
    // Of the guard's name, and no guard.
    shop.fill(&["user:{7}", "user:{8}:guard", "user:x"]).await;
    shop.sql("TRUNCATE users").await;
    shop.gone(&["user:{7}", "user:{8}:guard", "user:x"], &evictd)
        .await;
    assert_eq!(guard(&shop).await.as_deref(), Some("4"));
    assert!(!fill(&shop, "3").await);
    stop(evictd).await;
}

/// Raising a guard needs memory, and deleting does not.
#[tokio::test]
async fn a_full_redis_keeps_no_key_and_its_guards_are_raised_once_there_is_memory() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let orders = "\n[[rule]]\nname = \"orders\"\ntables = [\"$db.orders\"]\nkeys = [\"order:{id}\"]\ntable_wide = { keys = [\"order:*\"], generation = \"orders\" }\n";
    let mut evictd = shop
        .config()
        .rest(&format!("{RULES}{orders}"))
        .start()
        .await;
    shop.sql("INSERT INTO users (id) VALUES (7)").await;
    shop.checkpoint_at_end().await;
    assert!(fill(&shop, "1").await);
    shop.fill(&["order:1", "order:2"]).await;
    shop.redis.limit_memory(1).await;
    let before = shop.checkpoint();
    shop.sql("UPDATE users SET version = 2 WHERE id = 7").await;
    shop.gone(&["user:{7}"], &evictd).await;
    shop.sql("INSERT INTO orders (id) VALUES (1)").await;
    shop.gone(&["order:1"], &evictd).await;
    let line = evictd.wait_for_line("out-of-memory", WITHIN).await;
    assert!(line.contains("ERROR") && line.contains("OOM"), "{line}");
    // A counter needs memory, too.
    shop.sql("TRUNCATE orders").await;
    shop.sql("INSERT INTO orders (id) VALUES (2)").await;
    shop.gone(&["order:2"], &evictd).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shop.checkpoint(), before, "it waits for the guard");
    assert_eq!(guard(&shop).await.as_deref(), Some("1"));

    shop.redis.limit_memory(0).await;
    // The old row may be stored until the guard is raised, and is deleted then.
    fill(&shop, "1").await;
    shop.checkpoint_at_end().await;
    assert_eq!(guard(&shop).await.as_deref(), Some("2"));
    assert_eq!(shop.redis.keys().await, ["orders", "user:{7}:guard"]);
    assert!(!fill(&shop, "1").await);
    stop(evictd).await;
}

#[tokio::test]
async fn an_account_that_may_run_no_script_keeps_no_key_and_its_guards_are_raised_once_it_may() {
    // GET is what the script needs.
    for right in ["eval", "evalsha", "get"] {
        let shop = Shop::own(MysqlOptions::default()).await;
        let mut evictd = shop.config().rest(RULES).start().await;
        shop.sql("INSERT INTO users (id) VALUES (7)").await;
        shop.checkpoint_at_end().await;
        let may = async |sign: &str| {
            for command in [
                &["SCRIPT", "FLUSH"][..],
                &["ACL", "SETUSER", "default", &format!("{sign}{right}")],
            ] {
                let mut asked = redis::cmd(command[0]);
                asked.arg(&command[1..]);
                let _: () = asked
                    .query_async(&mut shop.redis.conn().await)
                    .await
                    .unwrap();
            }
        };
        shop.fill(&["user:{7}"]).await;
        may("-").await;
        let before = shop.checkpoint();
        shop.sql("UPDATE users SET version = 2 WHERE id = 7").await;
        shop.gone(&["user:{7}"], &evictd).await;
        let line = evictd.wait_for_line("no-permission", WITHIN).await;
        assert!(line.contains("grant the ACL user"), "{line}");
        shop.done(&evictd).await;
        assert_eq!(shop.checkpoint(), before, "it waits for the guard");
        may("+").await;

        shop.checkpoint_at_end().await;
        assert_eq!(guard(&shop).await.as_deref(), Some("2"), "{right}");
        stop(evictd).await;
    }
}
