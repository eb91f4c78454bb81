//! The checkpoint in Redis.

use redis::AsyncCommands;
use serde_json::Value;

use super::shop::{Config, Shop, USERS, WITHIN, start, stop};
use crate::support::{
    Evictd, Finished, MysqlOptions, Redis, RedisCluster, RedisSentinels, eventually, free_port,
    scratch,
};

/// The lines of `[checkpoint]`. Everything else works without a directory too.
pub const IN_REDIS: &str = "store = \"redis\"\nkey = \"the checkpoint\"";

const KEY: &str = "the checkpoint";

/// What Redis holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub epoch: u64,
    pub document: Value,
}

impl Stored {
    /// Within one file, as all of these tests are.
    pub fn offset(&self) -> u64 {
        self.document["offset"].as_u64().unwrap_or_default()
    }
}

/// What a server holds, if it holds a position.
pub async fn stored(redis: &Redis) -> Option<Stored> {
    let mut conn = redis.conn().await;
    let (epoch, document): (Option<u64>, Option<String>) =
        conn.hmget(KEY, &["epoch", "value"]).await.unwrap();
    Some(Stored {
        epoch: epoch?,
        document: serde_json::from_str(&document?).ok()?,
    })
}

pub async fn set_epoch(redis: &Redis, epoch: u64) {
    let mut conn = redis.conn().await;
    let _: () = conn.hset(KEY, "epoch", epoch).await.unwrap();
}

/// Every key of the cache.
pub async fn cached_keys(shop: &Shop) -> Vec<String> {
    let mut keys = shop.redis.keys().await;
    keys.retain(|key| key != KEY);
    keys
}

fn config(shop: &Shop) -> Config {
    shop.config().checkpoint(IN_REDIS)
}

async fn command(config: &Config, args: &[&str]) -> Finished {
    Evictd::finish(&config.options().args(args), WITHIN).await
}

async fn set(config: &Config, position: &str) {
    let set = command(config, &["checkpoint", "set", position]).await;
    assert_eq!(set.code, Some(0), "{}", set.stderr);
}

/// Waits until the stored position is the server's end.
pub async fn at_end(shop: &Shop, redis: &Redis) -> Stored {
    let (file, offset, gtids) = shop.end().await;
    eventually("the position is at the end", WITHIN, async || {
        let stored = stored(redis).await?;
        let document = &stored.document;
        let at_end = document["file"] == file.as_str()
            && document["offset"] == offset
            && document["gtid_set"] == gtids.as_str();
        at_end.then_some(stored)
    })
    .await
}

async fn own() -> Shop {
    Shop::own(MysqlOptions::default()).await
}

fn says(evictd: &Evictd, words: &str) -> bool {
    evictd.lines().iter().any(|line| line.contains(words))
}

#[tokio::test]
async fn a_position_in_redis_is_resumed_from_and_no_directory_is_needed() {
    let shop = own().await;
    set(&config(&shop), "current").await;
    shop.fill(&["user:1:profile", "user:2:profile"]).await;
    let evictd = config(&shop).start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.done(&evictd).await;
    let first = at_end(&shop, &shop.redis).await;
    stop(evictd).await;
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    shop.fill(&["user:1:profile"]).await;

    let evictd = config(&shop).start().await;
    shop.gone(&["user:2:profile"], &evictd).await;
    shop.done(&evictd).await;
    assert_eq!(cached_keys(&shop).await, ["user:1:profile"]);
    assert!(!says(&evictd, "changes are lost"), "{}", evictd.tail());
    let second = at_end(&shop, &shop.redis).await;
    assert!(second.epoch > first.epoch);
    assert_eq!(second.document["epoch"], second.epoch);
    stop(evictd).await;
    assert_eq!(std::fs::read_dir(shop.dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_position_that_redis_lost_is_a_gap() {
    let shop = own().await;
    set(&config(&shop), "current").await;
    stop(config(&shop).start().await).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    let _: () = shop.redis.conn().await.flushdb().await.unwrap();
    shop.fill(&["user:1:profile", "user:2:profile", "other"])
        .await;

    let halted = config(&shop).source("on_gap = \"halt\"").finish().await;
    assert_eq!(halted.code, Some(4), "{}", halted.stderr);
    for words in ["there is no checkpoint", "evictd checkpoint set current"] {
        assert!(halted.stderr.contains(words), "{words}: {}", halted.stderr);
    }
    assert_eq!(cached_keys(&shop).await.len(), 3);

    // Killed before what it deleted is settled, it leaves the gap to its successor.
    let slow = config(&shop).redis("settle_after = \"20s\"");
    let mut evictd = Evictd::start(&slow.options());
    shop.gone(&["user:1:profile", "user:2:profile"], &evictd)
        .await;
    evictd.kill();
    assert_eq!(stored(&shop.redis).await, None);
    shop.fill(&["user:3:profile"]).await;

    let evictd = config(&shop).start().await;
    shop.gone(&["user:3:profile"], &evictd).await;
    assert!(says(&evictd, "changes are lost"), "{}", evictd.tail());
    shop.done(&evictd).await;
    at_end(&shop, &shop.redis).await;
    assert_eq!(cached_keys(&shop).await, ["other"]);
    stop(evictd).await;

    // Told that nothing has to be invalidated, it believes it.
    let _: () = shop.redis.conn().await.flushdb().await.unwrap();
    set(&config(&shop), "current").await;
    shop.fill(&["user:4:profile"]).await;
    let evictd = config(&shop).start().await;
    shop.done(&evictd).await;
    assert_eq!(cached_keys(&shop).await, ["user:4:profile"]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_position_that_is_flushed_or_set_back_under_a_leader_is_stored_anew() {
    let shop = own().await;
    set(&config(&shop), "current").await;
    let mut evictd = config(&shop).start().await;
    shop.done(&evictd).await;
    let before = at_end(&shop, &shop.redis).await;
    let _: () = shop.redis.conn().await.flushdb().await.unwrap();
    shop.done(&evictd).await;
    let again = at_end(&shop, &shop.redis).await;
    assert_eq!(again.epoch, before.epoch);
    let line = evictd
        .wait_for_line("the stored position was lost", WITHIN)
        .await;
    assert!(line.contains("ERROR") && line.contains(KEY), "{line}");
    // As a replica would that took over and had not heard of this leader.
    set_epoch(&shop.redis, before.epoch - 1).await;
    shop.done(&evictd).await;
    assert_eq!(at_end(&shop, &shop.redis).await.epoch, before.epoch);
    assert!(!says(&evictd, "changes are lost"), "{}", evictd.tail());
    stop(evictd).await;
}

#[tokio::test]
async fn a_redis_that_restarts_keeps_the_position_and_holds_up_nothing_for_good() {
    let mut shop = own().await;
    set(&config(&shop), "current").await;
    let mut evictd = config(&shop).start().await;
    shop.done(&evictd).await;
    let before = at_end(&shop, &shop.redis).await;
    shop.redis.kill();
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    evictd.wait_for_line("does not answer", WITHIN).await;
    shop.redis.start_again().await;
    shop.done(&evictd).await;
    let after = at_end(&shop, &shop.redis).await;
    assert_eq!(after.epoch, before.epoch);
    assert!(!says(&evictd, "position was lost"), "{}", evictd.tail());
    stop(evictd).await;
}

#[tokio::test]
async fn a_replica_that_sentinels_promote_has_the_position() {
    let mut servers = RedisSentinels::start().await;
    let shop = own().await;
    let urls = servers.urls().join("\", \"");
    let mut config = config(&shop).redis(&format!(
        "sentinel = {{ master = \"shop\", urls = [\"{urls}\"] }}\nreplicas = 1\nsettle_after = \"off\""
    ));
    config.redis_url = "redis://nowhere.test/0".to_owned();
    set(&config, "current").await;
    let evictd = config.start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    let before = at_end(&shop, &servers.primary).await;
    stop(evictd).await;
    servers.primary.kill();
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    // Nobody is left to acknowledge anything.
    config.redis = config.redis.replace("replicas = 1", "replicas = 0");
    // Sentinels take their time, and a start does not wait for them.
    let client = redis::Client::open(servers.replica.url()).unwrap();
    eventually("the replica is promoted", WITHIN, async || {
        let mut conn = client.get_multiplexed_async_connection().await.ok()?;
        let role: Value = {
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut conn).await.ok()?;
            format!("{role:?}").contains("master").into()
        };
        role.as_bool()?.then_some(())
    })
    .await;
    let evictd = eventually("evictd starts", WITHIN, async || {
        let mut evictd = Evictd::start(&config.options());
        loop {
            if evictd.exited().is_some() {
                return None;
            }
            if says(&evictd, "reading the binlog") {
                return Some(evictd);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(!says(&evictd, "changes are lost"), "{}", evictd.tail());
    let after = at_end(&shop, &servers.replica).await;
    assert!(after.epoch > before.epoch);
    stop(evictd).await;
}

#[tokio::test]
async fn a_cluster_that_fails_over_under_a_leader_keeps_the_position() {
    let shop = own().await;
    let mut cluster = RedisCluster::start().await;
    let owner = cluster.owner(KEY).await;
    let mut config = config(&shop).redis("cluster = true\nreplicas = 1\nsettle_after = \"off\"");
    config.redis_url = cluster.urls().remove((owner + 1) % 3);
    set(&config, "current").await;
    let evictd = config.start().await;
    let load = super::faults::load(shop.mysql(), 0..1_500, 500);
    let promoted = cluster.fail_over(owner).await;
    cluster.start_again(owner).await;
    load.await.unwrap();
    let after = at_end(&shop, &cluster.nodes[promoted]).await;
    assert!(!says(&evictd, "position was lost"), "{}", evictd.tail());
    stop(evictd).await;

    let evictd = config.start().await;
    assert!(!says(&evictd, "changes are lost"), "{}", evictd.tail());
    let again = eventually("the next leader stores", WITHIN, async || {
        let found = stored(&cluster.nodes[promoted]).await?;
        (found.epoch > after.epoch).then_some(found)
    })
    .await;
    assert_eq!(again.document["gtid_set"], after.document["gtid_set"]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_position_in_redis_is_shown_set_and_cleared_unless_a_daemon_leads() {
    let shop = Shop::open().await;
    let config = config(&shop);
    let none = command(&config, &["checkpoint", "show"]).await;
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("takes it as lost"), "{}", none.stderr);
    set(&config, "current").await;

    let evictd = config.start().await;
    shop.done(&evictd).await;
    let before = stored(&shop.redis).await.unwrap();
    let lock = format!("evictd:{}", shop.database);
    let show = ["checkpoint", "show", "--format", "json"];
    // A configuration of another name has the leader's key too.
    for name in [shop.database.as_str(), "other"] {
        let mut options = config.options();
        let own = format!("name = \"{}\"", shop.database);
        options.config = options
            .config
            .replacen(&own, &format!("name = \"{name}\""), 1);
        for args in [
            &["checkpoint", "set", "current"][..],
            &["checkpoint", "clear"],
        ] {
            let refused = Evictd::finish(&options.clone().args(args), WITHIN).await;
            assert_eq!(refused.code, Some(2), "{name}: {args:?}");
            assert!(refused.stderr.contains(&lock), "{}", refused.stderr);
        }
        let shown = Evictd::finish(&options.args(&show), WITHIN).await;
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(shown["in_use"], true);
        assert!(shown["path"].as_str().unwrap().starts_with(KEY), "{shown}");
    }
    stop(evictd).await;

    let shown = command(&config, &show).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["in_use"], false);
    assert_eq!(shown["stored"], stored(&shop.redis).await.unwrap().document);
    assert!(stored(&shop.redis).await.unwrap().epoch >= before.epoch);

    let cleared = command(&config, &["checkpoint", "clear"]).await;
    assert_eq!(cleared.code, Some(0), "{}", cleared.stderr);
    assert_eq!(stored(&shop.redis).await, None);
    let again = command(&config, &["checkpoint", "clear"]).await;
    assert!(again.stdout.contains("there was none"), "{}", again.stdout);

    // What is no checkpoint is refused, and can be replaced.
    let mut conn = shop.redis.conn().await;
    let _: () = conn.hset(KEY, "value", "nonsense").await.unwrap();
    let refused = config.finish().await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("cannot be understood"),
        "{}",
        refused.stderr
    );
    set(&config, "current").await;
    stop(start(&config.options()).await).await;
}

#[tokio::test]
async fn a_standby_that_cannot_lead_is_in_trouble_until_it_does() {
    let mut shop = own().await;
    let config = config(&shop);
    set(&config, "current").await;
    let mut leader = config.start().await;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let options = config
        .clone()
        .rest(&format!("{USERS}\n[metrics]\nlisten = \"{listen}\""))
        .options();
    let mut standby = Evictd::start(&options);
    standby.wait_for_line("standing by until", WITHIN).await;
    let asked =
        async |command: &str| Evictd::finish(&options.clone().args(&[command]), WITHIN).await;
    let status = asked("status").await.stdout;
    assert!(status.contains("STANDBY"), "{status}");
    shop.redis.signal("STOP");
    leader.kill();
    let line = standby.wait_for_line("cannot lead", WITHIN).await;
    assert!(line.contains("ERROR"), "{line}");
    let status = eventually("the trouble is shown", WITHIN, async || {
        let status = asked("status").await.stdout;
        status.contains("cannot lead").then_some(status)
    })
    .await;
    assert!(status.contains("TROUBLE"), "{status}");
    assert!(!status.contains("another process leads"), "{status}");
    shop.redis.signal("CONT");
    standby.wait_for_line("reading the binlog", WITHIN).await;
    eventually("the trouble is over", WITHIN, async || {
        let status = asked("status").await.stdout;
        (!status.contains("TROUBLE")).then_some(())
    })
    .await;
    stop(standby).await;
}

#[tokio::test]
async fn a_redis_that_is_full_takes_the_position_all_the_same() {
    let shop = own().await;
    let config = config(&shop);
    set(&config, "current").await;
    let mut evictd = config.start().await;
    shop.done(&evictd).await;
    shop.fill(&["user:1:profile", "user:2:profile"]).await;
    shop.redis.limit_memory(1).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.gone(&["user:1:profile"], &evictd).await;
    at_end(&shop, &shop.redis).await;
    evictd.kill();
    let evictd = config.start().await;
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    shop.gone(&["user:2:profile"], &evictd).await;
    at_end(&shop, &shop.redis).await;
    shop.redis.limit_memory(0).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_key_that_is_overwritten_under_a_leader_is_stored_anew() {
    let shop = own().await;
    set(&config(&shop), "current").await;
    let mut evictd = config(&shop).start().await;
    shop.done(&evictd).await;
    let before = at_end(&shop, &shop.redis).await;
    let mut conn = shop.redis.conn().await;
    let _: () = conn.hset(KEY, "epoch", "soon").await.unwrap();
    shop.done(&evictd).await;
    let line = evictd
        .wait_for_line("the stored position was lost", WITHIN)
        .await;
    assert_eq!(at_end(&shop, &shop.redis).await.epoch, before.epoch);
    assert!(
        line.contains("soon") && line.contains("overwrites"),
        "{line}"
    );
    let _: () = conn.set(KEY, "an application's").await.unwrap();
    shop.done(&evictd).await;
    eventually("the position is back", WITHIN, async || {
        let kind: String = redis::cmd("TYPE")
            .arg(KEY)
            .query_async(&mut conn)
            .await
            .ok()?;
        (kind == "hash").then_some(())
    })
    .await;
    assert_eq!(at_end(&shop, &shop.redis).await.epoch, before.epoch);
    evictd.wait_for_line("another type", WITHIN).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_damaged_key_is_mended_by_set_and_clear_and_refused_by_a_start_where_it_is_not_a_position()
 {
    let shop = own().await;
    let config = config(&shop);
    set(&config, "current").await;
    let mut conn = shop.redis.conn().await;
    // The position itself is whole, and the epoch is counted anew.
    let _: () = conn.hset(KEY, "epoch", "soon").await.unwrap();
    let evictd = config.start().await;
    shop.done(&evictd).await;
    assert!(!says(&evictd, "changes are lost"), "{}", evictd.tail());
    stop(evictd).await;
    for args in [
        &["checkpoint", "set", "current"][..],
        &["checkpoint", "clear"],
    ] {
        for other in ["type", "soon", "1.5e300"] {
            let _: () = conn.del(KEY).await.unwrap();
            if other == "type" {
                let _: () = conn.rpush(KEY, "an application's").await.unwrap();
                let refused = config.finish().await;
                assert_eq!(refused.code, Some(2), "{}", refused.stderr);
                for words in ["checkpoint.key", "evictd checkpoint"] {
                    assert!(refused.stderr.contains(words), "{}", refused.stderr);
                }
            } else {
                let _: () = conn.hset(KEY, "epoch", other).await.unwrap();
            }
            let mended = command(&config, args).await;
            assert_eq!(mended.code, Some(0), "{args:?}: {}", mended.stderr);
            stop(config.start().await).await;
        }
    }
}

#[tokio::test]
async fn a_key_that_holds_something_else_is_named_by_check_and_show_as_by_a_start() {
    let shop = own().await;
    let config = config(&shop);
    let mut conn = shop.redis.conn().await;
    let checked = async |level: &str| {
        let (code, json) = crate::commands::check::json(&config.options()).await;
        (
            code,
            crate::commands::check::found(&json, level, "checkpoint"),
        )
    };
    let (code, said) = checked("note").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no position yet"), "{said}");
    for foreign in ["list", "text", "fields", "value"] {
        let _: () = conn.del(KEY).await.unwrap();
        let remedy = match foreign {
            "list" => conn.rpush(KEY, "theirs").await.map(|()| "checkpoint clear"),
            "text" => conn.set(KEY, "theirs").await.map(|()| "checkpoint clear"),
            "fields" => conn.hset(KEY, "a", "b").await.map(|()| "checkpoint clear"),
            _ => conn
                .hset(KEY, "value", "b")
                .await
                .map(|()| "checkpoint set"),
        };
        let remedy = remedy.unwrap();
        let names = match foreign {
            "list" => "holds a list",
            "text" => "holds a string",
            "fields" => "holds a hash with other fields",
            _ => "cannot be understood",
        };
        let refused = config.finish().await;
        let shown = command(&config, &["checkpoint", "show"]).await;
        let (code, said) = checked("error").await;
        for (code, said) in [
            (refused.code, &refused.stderr),
            (shown.code, &shown.stderr),
            (code, &said),
        ] {
            assert_eq!(code, Some(2), "{foreign}: {said}");
            assert!(
                said.contains(KEY) && said.contains(remedy) && said.contains(names),
                "{foreign}: {said}"
            );
            assert!(!said.contains("does not answer"), "{foreign}: {said}");
        }
        let cleared = command(&config, &["checkpoint", "clear"]).await;
        assert_eq!(cleared.code, Some(0), "{foreign}: {}", cleared.stderr);
        let left: Option<String> = conn.hget(KEY, "a").await.unwrap();
        assert_eq!(left, None, "{foreign}");
    }
    set(&config, "current").await;
    let (code, said) = checked("ok").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("holds the position"), "{said}");
}

/// What goes beside the checkpoint elsewhere has its place here too, if one is named.
#[tokio::test]
async fn what_is_put_on_record_has_a_directory_only_if_one_is_named() {
    let shop = Shop::open().await;
    let dir = scratch("ledger");
    let rest = format!("[ledger]\ndir = \"{}\"\n{USERS}", dir.path().display());
    let evictd = config(&shop).rest(&rest).start().await;
    shop.done(&evictd).await;
    stop(evictd).await;
    let gaps = dir.path().join(format!("{}.gaps.jsonl", shop.database));
    let text = std::fs::read_to_string(gaps).unwrap();
    assert!(text.contains("there is no checkpoint"), "{text}");
}
