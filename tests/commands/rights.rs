//! `evictd check`: the permissions of the account in Redis, the directories, and the settings of the queue.

use std::path::Path;

use aws_sdk_sqs::types::QueueAttributeName;

use super::check::{found, json};
use crate::daemon::shop::{Config, Shop, USERS};
use crate::support::{EVICTD_PASSWORD, Redis, RedisOptions, shared_aws};

/// A rule's fields that make evictd use every kind of command of Redis.
const SHAPES: &str = r#"
tag_sets    = ["tag:user-{id}"]
hash_fields = [{ key = "users", field = "{id}" }]
guard       = { key = "user:{id}:guard", ttl = "1h" }
publish     = "shop.changes"
table_wide  = { keys = ["user:*"], generation = "gen:users" }
"#;

async fn account(shop: &Shop, rights: &str) -> Config {
    let mut conn = shop.redis.conn().await;
    // The environment of `check` holds the source's password.
    let password = format!(">{EVICTD_PASSWORD}");
    let _: () = redis::cmd("ACL")
        .arg(&["SETUSER", "evictd", "reset", "on", &password])
        .arg(rights.split_whitespace().collect::<Vec<_>>())
        .query_async(&mut conn)
        .await
        .unwrap();
    let mut config = shop
        .config()
        .redis("password = { env = \"EVICTD_SOURCE_PASSWORD\" }\nsettle_after = \"1s\"");
    config.redis_url = shop.redis.url().replace("redis://", "redis://evictd@");
    config
}

#[tokio::test]
async fn each_right_that_the_account_lacks_is_named_and_nothing_is_touched() {
    let shop = Shop::open().await;
    let kept = ["gen:users", "tag:user-1", "user:1:profile", "users"];
    shop.fill(&kept).await;
    let all = "+ping +unlink +scan +incr +eval +evalsha +get +set +pexpire +getrange +type +sscan +zscan +srem +zrem \
               +hdel +publish +info ~user:* ~tag:* ~mark:* ~users ~gen:users &shop.changes";
    let rules = format!("{USERS}{SHAPES}");
    let config = account(&shop, all).await.rest(&rules);
    let (code, report) = json(&config.options()).await;
    assert_eq!(code, Some(0), "{report}");
    assert!(
        found(&report, "ok", "redis").contains("may do what was tried"),
        "{report}"
    );
    assert_eq!(found(&report, "note", "redis"), "", "{report}");

    for (lacks, instead, words) in [
        ("+hdel", "", "may not HDEL users"),
        ("~users", "", "may not HDEL users"),
        (
            "~user:*",
            "~user:*:profile ~user:*:guard",
            "may not UNLINK user:",
        ),
        ("+zrem", "", "may not ZREM tag:user-"),
        ("+scan", "", "may not SCAN"),
        ("+pexpire", "", "may not PEXPIRE user:"),
        ("+evalsha", "", "may not EVALSHA user:"),
        ("+incr", "", "may not INCR gen:users"),
        ("~gen:users", "", "may not INCR gen:users"),
        ("&shop.changes", "", "may not PUBLISH shop.changes"),
    ] {
        let rights = all.replace(lacks, instead);
        let config = account(&shop, &rights).await.rest(&rules);
        let (code, report) = json(&config.options()).await;
        assert_eq!(code, Some(2), "{lacks}: {report}");
        let errors = found(&report, "error", "redis");
        assert!(errors.contains(words), "{lacks}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{lacks}: {errors}");
    }

    // Without scripts nothing says whether the account may add to a counter.
    let few = "+ping +unlink +scan +incr +info ~user:* ~mark:* ~gen:users";
    let generation = "table_wide = { generation = \"gen:users\" }";
    let config = account(&shop, few).await;
    let config = config.rest(&format!("{USERS}{generation}"));
    let (code, report) = json(&config.options()).await;
    assert_eq!(code, Some(0), "{report}");
    let notes = found(&report, "note", "redis");
    assert!(notes.contains("may INCR cannot be known"), "{notes}");
    assert_eq!(shop.redis.keys().await, kept);
}

#[tokio::test]
async fn a_redis_that_may_evict_guards_is_warned_of() {
    let shop = Shop::open().await;
    let config = shop.config().rest(&format!("{USERS}{SHAPES}"));
    shop.redis
        .configure("maxmemory-policy", "volatile-lru")
        .await;
    let (_, report) = json(&config.options()).await;
    assert!(
        found(&report, "ok", "redis").contains("maxmemory-policy is volatile-lru"),
        "{report}"
    );
    shop.redis.configure("maxmemory", "100mb").await;
    let (code, report) = json(&config.options()).await;
    assert_eq!(code, Some(0), "{report}");
    assert!(
        found(&report, "warning", "redis").contains("may evict guards"),
        "{report}"
    );
}

#[tokio::test]
async fn directories_that_cannot_hold_files_are_errors_that_name_the_field() {
    let shop = Shop::open().await;
    let here = shop.dir.path().display().to_string();
    let (code, report) = json(&shop.config().options()).await;
    assert_eq!(code, Some(0), "{report}");
    let ok = found(&report, "ok", "checkpoint");
    assert!(ok.contains(&format!("{here} can be written to")), "{ok}");

    let rest = format!("{USERS}\n[ledger]\ndir = \"{here}/missing\"");
    // No file can be created there.
    let config = shop
        .config()
        .checkpoint_file(Path::new("/proc/shop.checkpoint.json"))
        .rest(&rest);
    let (code, report) = json(&config.options()).await;
    assert_eq!(code, Some(2), "{report}");
    let errors = found(&report, "error", "checkpoint");
    assert!(
        errors.contains("/proc cannot be written to") && errors.contains("checkpoint.path"),
        "{errors}"
    );
    let errors = found(&report, "error", "ledger");
    assert!(
        errors.contains("missing is not a directory") && errors.contains("ledger.dir"),
        "{errors}"
    );

    let evictd = shop.config().start().await;
    let (_, report) = json(&shop.config().options()).await;
    let notes = found(&report, "note", "checkpoint");
    assert!(notes.contains("is in use"), "{report}");
    crate::daemon::shop::stop(evictd).await;
}

#[tokio::test]
async fn a_queue_that_forgets_or_gives_up_too_soon_is_warned_of() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let distribution = aws.create_distribution("rights").await;
    let attributes = [
        (QueueAttributeName::VisibilityTimeout, "5"),
        (QueueAttributeName::MessageRetentionPeriod, "600"),
    ];
    let forgetful = aws.create_queue_with("rights-forgetful", &attributes).await;
    let (hasty, _) = aws.create_queue_with_dead_letters("rights-hasty", 5).await;
    let (right, _) = aws.create_queue_with_dead_letters("rights", 50).await;
    let warnings = async |queue: &str| {
        let config = shop.config().rest(&format!(
            "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n[[cloudfront.distribution]]\nname = \"main\"\n\
             id = \"{distribution}\"\n{USERS}"
        ));
        let (code, report) = json(&config.options().envs(aws.env())).await;
        assert_eq!(code, Some(0), "{report}");
        found(&report, "warning", "sqs")
    };
    let of_forgetful = warnings(&forgetful).await;
    for words in [
        "has no dead-letter queue",
        "visibility timeout is 5 s",
        "drops messages after 600 s",
    ] {
        assert!(of_forgetful.contains(words), "{words}: {of_forgetful}");
    }
    let of_hasty = warnings(&hasty).await;
    assert!(of_hasty.contains("after 5 receives"), "{of_hasty}");
    assert_eq!(warnings(&right).await, "");
}

#[tokio::test]
async fn commands_that_the_server_does_not_know_are_no_missing_rights() {
    let shop = Shop::open().await;
    let renamed = |commands: &[&str]| {
        let rename = |command: &&str| {
            ["--rename-command", command, ""]
                .map(str::to_owned)
                .into_iter()
        };
        RedisOptions {
            extra: commands.iter().flat_map(rename).collect(),
            ..RedisOptions::default()
        }
    };
    let rules = format!("{USERS}{SHAPES}");
    let report = async |commands: &[&str]| {
        let redis = Redis::start(renamed(commands)).await;
        let mut config = shop.config().redis("settle_after = \"1s\"").rest(&rules);
        config.redis_url = redis.url();
        json(&config.options()).await
    };
    let (code, without_unlink) = report(&["UNLINK"]).await;
    assert_eq!(code, Some(0), "{without_unlink}");
    let warnings = found(&without_unlink, "warning", "redis");
    assert!(
        warnings.contains("UNLINK: keys are deleted with DEL"),
        "{warnings}"
    );

    let absent = ["UNLINK", "DEL", "SCAN", "HDEL", "INCR", "EVALSHA"];
    let (code, without) = report(&absent).await;
    assert_eq!(code, Some(2), "{without}");
    let errors = found(&without, "error", "redis");
    for command in absent {
        let named = format!("{command}: ");
        let line = errors.lines().find(|line| line.contains(&named));
        let line = line.unwrap_or_else(|| panic!("{command}: {errors}"));
        assert!(line.contains("no grant helps"), "{line}");
    }
    assert!(!errors.contains("grant it"), "{errors}");
}
