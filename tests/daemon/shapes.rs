//! Tag sets as frameworks keep them, fields of hashes, and messages about what was deleted.

use std::time::Duration;

use futures_util::StreamExt;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::shop::{Shop, WITHIN, stop};
use crate::support::{RedisCluster, eventually};

const CHANGE: &str = "INSERT INTO users (id, slug) VALUES (7, 'ada')";

#[tokio::test]
async fn a_tag_of_symfony_takes_its_entries_along_and_no_others() {
    const RULES: &str = r#"
[[rule]]
name     = "users"
tables   = ["$db.users"]
tag_sets = ['shop:\x01tags\x01user-{id}']
"#;
    // Symfony's ids begin with the namespace, in the sets too; `key_prefix` may name it or not.
    for (key_prefix, rules) in [
        ("", RULES.to_owned()),
        ("shop:", RULES.replace("'shop:", "'")),
    ] {
        let mut shop = Shop::open().await;
        shop.key_prefix = key_prefix;
        let evictd = shop.config().rest(&rules).start().await;
        let mut conn = shop.redis.conn().await;
        let tag = "shop:\u{1}tags\u{1}user-7";
        let entries = ["shop:profile.7", "shop:page.ada"];
        let others = ["shop:page.grace", "shop:untagged"];
        shop.fill(&entries).await;
        shop.fill(&others).await;
        let _: () = conn.sadd(tag, &entries).await.unwrap();
        let _: () = conn
            .sadd("shop:\u{1}tags\u{1}user-70", others[0])
            .await
            .unwrap();
        shop.sql(CHANGE).await;
        shop.done(&evictd).await;
        let left = ["shop:\u{1}tags\u{1}user-70", others[0], others[1]];
        assert_eq!(shop.redis.keys().await, left, "with prefix {key_prefix:?}");
        stop(evictd).await;
    }
}

#[tokio::test]
async fn a_tag_of_laravel_takes_its_entries_along_and_no_others() {
    let mut shop = Shop::open().await;
    shop.key_prefix = "laravel_database_";
    let rules = r#"
[[rule]]
name     = "users"
tables   = ["$db.users"]
tag_sets = [{ key = "laravel_cache_tag:{slug}:entries", member_prefix = "laravel_cache_" }]
"#;
    let evictd = shop.config().rest(rules).start().await;
    let mut conn = shop.redis.conn().await;
    let prefix = "laravel_database_laravel_cache_";
    let key = |name: &str| format!("{prefix}{name}");
    shop.fill(&[
        key("1f:profile"),
        key("1f:page"),
        key("1f:other"),
        "1f:page".to_owned(),
    ])
    .await;
    // The score is when the entry expires; -1 is never.
    for (member, score) in [("1f:profile", -1), ("1f:page", 1_900_000_000)] {
        let _: () = conn
            .zadd(key("tag:ada:entries"), member, score)
            .await
            .unwrap();
    }
    shop.sql(CHANGE).await;
    shop.done(&evictd).await;
    let mut left = vec!["1f:page".to_owned(), key("1f:other")];
    left.sort();
    assert_eq!(shop.redis.keys().await, left);
    stop(evictd).await;
}

const TAGGED: &str = r#"
[[rule]]
name     = "users"
tables   = ["$db.users"]
tag_sets = ["tag:{id}"]
"#;

async fn members(conn: &mut MultiplexedConnection) -> Vec<String> {
    let mut members: Vec<String> = conn.smembers("tag:7").await.unwrap();
    members.sort();
    members
}

#[tokio::test]
async fn entries_that_are_stored_late_are_deleted_again_whether_they_are_in_the_set_or_not() {
    let shop = Shop::open().await;
    let config = shop.config().rest(TAGGED).redis("settle_after = \"5s\"");
    let evictd = config.start().await;
    let mut conn = shop.redis.conn().await;
    shop.fill(&["page:1", "page:2"]).await;
    let _: () = conn.sadd("tag:7", &["page:1", "page:2"]).await.unwrap();
    shop.sql(CHANGE).await;
    shop.gone(&["page:1", "page:2", "tag:7"], &evictd).await;
    // A reader that was slow since before the commit: its key left the set. Another one's entry is new.
    shop.fill(&["page:1", "page:3"]).await;
    let _: () = conn.sadd("tag:7", "page:3").await.unwrap();
    shop.gone(&["page:1", "page:3"], &evictd).await;
    // What the second deletion found may just have been stored again: it stays in the set, to be found by the
    // next change.
    assert_eq!(members(&mut conn).await, ["page:3"]);
    shop.fill(&["page:3"]).await;
    shop.sql("UPDATE users SET slug = 'x' WHERE id = 7").await;
    shop.gone(&["page:3", "tag:7"], &evictd).await;
    stop(evictd).await;
}

/// Far more than one step of a scan, and more than a batch keeps for its second deletion.
#[tokio::test]
async fn a_large_tag_set_goes_in_pieces_and_settles() {
    let shop = Shop::open().await;
    let config = shop.config().rest(TAGGED).redis("settle_after = \"10s\"");
    let mut evictd = config.start().await;
    let mut conn = shop.redis.conn().await;
    let pages: Vec<String> = (0..30_000).map(|n| format!("page:{n:0200}")).collect();
    shop.fill(&pages).await;
    shop.fill(&["other"]).await;
    for chunk in pages.chunks(1_000) {
        let _: () = conn.sadd("tag:7", chunk).await.unwrap();
    }
    shop.sql(CHANGE).await;
    let only_the_set = async || {
        // All names of 30,000 keys at once would take longer than a connection waits.
        let mut conn = shop.redis.conn().await;
        let keys: usize = redis::cmd("DBSIZE").query_async(&mut conn).await.unwrap();
        if keys > 2 {
            return None;
        }
        let mut left = shop.redis.keys().await;
        left.retain(|key| key != "tag:7");
        (left == ["other"]).then_some(())
    };
    eventually("all pages are gone", WITHIN, only_the_set).await;
    // Fills that were slow, of members that left the set and of others that did not.
    let late: Vec<String> = pages.iter().step_by(10).cloned().collect();
    shop.fill(&late).await;
    eventually("they are gone again", WITHIN, only_the_set).await;
    evictd.terminate();
    evictd.exit(WITHIN).await;
}

#[tokio::test]
async fn a_crash_between_two_deletions_finds_the_members_again() {
    let shop = Shop::open().await;
    let config = shop.config().rest(TAGGED).redis("settle_after = \"5s\"");
    let mut evictd = config.start().await;
    let mut conn = shop.redis.conn().await;
    shop.fill(&["page:1"]).await;
    let _: () = conn.sadd("tag:7", "page:1").await.unwrap();
    shop.sql(CHANGE).await;
    shop.gone(&["page:1", "tag:7"], &evictd).await;
    evictd.kill();
    // As Symfony does it: first the entry, then the set.
    shop.fill(&["page:1"]).await;
    let _: () = conn.sadd("tag:7", "page:1").await.unwrap();
    let evictd = config.start().await;
    shop.gone(&["page:1"], &evictd).await;
    stop(evictd).await;
}

const HASHES: &str = r#"
[[rule]]
name        = "users"
tables      = ["$db.users"]
hash_fields = [{ key = "users", field = "{id}" }, { key = "page:{slug}", field = "head" }]
"#;

#[tokio::test]
async fn fields_of_a_hash_are_deleted_twice_and_its_others_stay() {
    let shop = Shop::open().await;
    let config = shop.config().rest(HASHES).redis("settle_after = \"5s\"");
    let evictd = config.start().await;
    let mut conn = shop.redis.conn().await;
    let store = [("7", "x"), ("70", "x")];
    let _: () = conn.hset_multiple("users", &store).await.unwrap();
    let _: () = conn
        .hset_multiple("page:ada", &[("head", "x"), ("body", "x")])
        .await
        .unwrap();
    shop.sql(CHANGE).await;
    let fields =
        async |key: &str| -> Vec<String> { shop.redis.conn().await.hkeys(key).await.unwrap() };
    let gone = async || {
        eventually("the fields are gone", WITHIN, async || {
            let gone = fields("users").await == ["70"] && fields("page:ada").await == ["body"];
            gone.then_some(())
        })
        .await;
    };
    gone().await;
    // A fill that was late.
    let _: () = conn.hset("users", "7", "late").await.unwrap();
    gone().await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_key_of_another_type_is_reported_and_the_rest_goes_on() {
    let shop = Shop::open().await;
    let rules = format!(
        "{}\ntag_sets = [\"tag:{{id}}\"]\nkeys = [\"user:{{id}}\"]",
        HASHES.trim_end()
    );
    let mut evictd = shop.config().rest(&rules).start().await;
    let mut conn = shop.redis.conn().await;
    shop.fill(&["users", "tag:7", "user:7", "user:8", "page:8"])
        .await;
    let _: () = conn.hset("page:ada", "head", "x").await.unwrap();
    let _: () = conn.sadd("tag:8", "page:8").await.unwrap();
    shop.sql("INSERT INTO users (id, slug) VALUES (7, 'ada'), (8, 'grace')")
        .await;
    shop.gone(
        &["user:7", "user:8", "page:ada", "page:8", "tag:8"],
        &evictd,
    )
    .await;
    let line = evictd.wait_for_line("refuses keys for good", WITHIN).await;
    assert!(line.contains("wrong-type"), "{line}");
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, ["tag:7", "users"]);
    shop.checkpoint_passes_the_end(&evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_whole_table_takes_its_tag_sets_and_hashes_along() {
    let shop = Shop::open().await;
    // The glob over the keys matches the sets as well: they are read before.
    let rules = format!(
        "{}\ntag_sets = [\"tag:{{id}}\"]\nkeys = [\"tag:{{id}}:{{slug}}\", \"tag:1\"]",
        HASHES.trim_end()
    );
    let evictd = shop.config().rest(&rules).start().await;
    let mut conn = shop.redis.conn().await;
    // Of a tag set's name, and none.
    shop.fill(&["page", "entry:1", "entry:2", "tag:cloud"])
        .await;
    let _: () = conn.hset("users", "7", "x").await.unwrap();
    let _: () = conn.hset("page:ada", "head", "x").await.unwrap();
    let _: () = conn.sadd("tag:1", "entry:1").await.unwrap();
    let _: () = conn.zadd("tag:2", "entry:2", 1).await.unwrap();
    shop.sql("TRUNCATE users").await;
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, ["page", "tag:cloud"]);
    let log = evictd.lines().join("\n");
    assert!(!log.contains("refuses keys"), "{log}");
    stop(evictd).await;
}

#[tokio::test]
async fn subscribers_hear_what_was_deleted_once_it_is() {
    let shop = Shop::open().await;
    let rules = r#"
[[rule]]
name        = "users"
tables      = ["$db.users"]
version     = "version"
keys        = ["user:{id}:v{version}", "user:{id}"]
tag_sets    = ["tag:{id}"]
hash_fields = [{ key = "users", field = "{id}" }]
publish     = "shop.changes"
"#;
    let config = shop.config().rest(rules).redis("settle_after = \"1s\"");
    let evictd = config.start().await;
    let mut conn = shop.redis.conn().await;
    let mut subscriber = shop.redis.client().get_async_pubsub().await.unwrap();
    subscriber.subscribe("shop.changes").await.unwrap();
    let mut messages = subscriber.on_message();
    let mut next = async || -> serde_json::Value {
        let message = tokio::time::timeout(WITHIN, messages.next()).await;
        let text: String = message.expect("in time").unwrap().get_payload().unwrap();
        serde_json::from_str(&text).unwrap()
    };
    shop.fill(&["user:7", "page:7"]).await;
    let _: () = conn.sadd("tag:7", "page:7").await.unwrap();
    shop.sql(CHANGE).await;
    let first = next().await;
    assert_eq!(
        first,
        serde_json::json!({
            "v": 1,
            "keys": ["user:7:v1", "user:7", "page:7"],
            "fields": [["users", "7"]],
        })
    );
    let left = shop.redis.keys().await;
    assert_eq!(left, [""; 0], "they are gone before it is said");
    let again = next().await;
    assert_eq!(
        again,
        serde_json::json!({
            "v": 1,
            "keys": ["user:7:v1", "user:7", "page:7"],
            "fields": [["users", "7"]],
        })
    );
    shop.sql("TRUNCATE users").await;
    for _ in 0..2 {
        let wide = next().await;
        assert_eq!(wide["keys"], serde_json::json!([]));
        assert_eq!(
            wide["globs"],
            serde_json::json!(["user:*", "user:*:v*", "users"])
        );
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop(evictd).await;
}

/// Members are in other slots than their sets, and the guard in that of its entries.
#[tokio::test]
async fn guards_tag_sets_and_fields_of_a_cluster_are_reached_wherever_they_are() {
    let cluster = RedisCluster::start().await;
    let shop = Shop::open().await;
    let rules = format!(
        "{}\ntag_sets = [\"tag:{{id}}\"]\nkeys = [\"user:{{{{{{id}}}}}}\"]\nversion = \"version\"\n\
         guard = {{ key = \"user:{{{{{{id}}}}}}:guard\", ttl = \"1d\" }}",
        HASHES.trim_end()
    );
    let mut config = shop.config().rest(&rules);
    config.redis = "cluster = true\nsettle_after = \"5s\"".to_owned();
    config.redis_url = cluster.urls().remove(0);
    let evictd = config.start().await;
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let mut conn = client.get_async_connection().await.unwrap();
    let pages: Vec<String> = (0..300).map(|n| format!("page:{n}")).collect();
    cluster.fill(&pages).await;
    cluster.fill(&["user:{7}", "other"]).await;
    let _: () = conn.sadd("tag:7", &pages).await.unwrap();
    let _: () = conn.hset("users", "7", "x").await.unwrap();
    let left = async |expected: &[&str]| {
        eventually("only these keys are left", WITHIN, async || {
            (cluster.keys().await == expected).then_some(())
        })
        .await;
    };
    shop.sql(CHANGE).await;
    left(&["other", "user:{7}:guard"]).await;
    // Late fills of what left the set, which is gone.
    cluster.fill(&pages[..10]).await;
    left(&["other", "user:{7}:guard"]).await;
    let held: String = conn.get("user:{7}:guard").await.unwrap();
    assert_eq!(held, "1");
    let _: () = conn.sadd("tag:8", "page:8").await.unwrap();
    cluster.fill(&["page:8", "user:{8}"]).await;
    shop.sql("TRUNCATE users").await;
    left(&["other", "user:{7}:guard"]).await;
    stop(evictd).await;
}
