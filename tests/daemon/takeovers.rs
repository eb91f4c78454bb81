//! What a process takes over from the one that led before: its configuration and its position, unless they are another
//! daemon's.

use super::leader::{leads, stand_by, takes_over};
use super::register::{IN_REDIS, stored};
use super::shop::{Config, Shop, USERS, WITHIN, start, stop};
use crate::support::{Evictd, MysqlOptions, Redis, RedisOptions, eventually};

async fn own() -> Shop {
    Shop::own(MysqlOptions::default()).await
}

fn with_rule(config: &Config) -> Config {
    config.clone().rest(&format!(
        "{USERS}[[rule]]\nname = \"added\"\ntables = [\"$db.users\"]\nkeys = [\"added:{{id}}\"]\n"
    ))
}

/// Two processes, of which the first leads. The file of both is replaced, and only the leader is told.
async fn reloaded_leader(shop: &Shop, file_of_standby: &str) -> (Evictd, Evictd) {
    let config = shop.config();
    let mut leader = config.start().await;
    let standby = stand_by(&config).await;
    let wanted = with_rule(&config).text();
    leader.rewrite(&wanted);
    leader.signal("HUP");
    leader
        .wait_for_line("loaded again and is in use", WITHIN)
        .await;
    shop.done(&leader).await;
    standby.rewrite(file_of_standby);
    (leader, standby)
}

#[tokio::test]
async fn a_standby_takes_over_with_the_file_that_the_leader_was_reloaded_with() {
    let shop = own().await;
    let wanted = with_rule(&shop.config()).text();
    let (mut leader, mut standby) = reloaded_leader(&shop, &wanted).await;
    let before = shop.checkpoint_at_end().await;
    leader.kill();
    takes_over(&standby, 0).await;
    let deleted = shop
        .deleted_by(
            &standby,
            &["added:1", "user:1:profile"],
            "INSERT INTO users (id) VALUES (1)",
        )
        .await;
    assert_eq!(deleted, ["added:1", "user:1:profile"]);
    standby
        .wait_for_line("loaded again and is in use", WITHIN)
        .await;
    let after = shop.checkpoint_at_end().await;
    assert_eq!(after["by"], before["by"]);
    assert_eq!(after["by"]["name"], shop.database);
    stop(standby).await;
}

#[tokio::test]
async fn a_standby_whose_file_is_refused_takes_over_with_what_it_had_and_says_so() {
    let shop = own().await;
    let (mut leader, mut standby) = reloaded_leader(&shop, "nonsense").await;
    leader.kill();
    takes_over(&standby, 0).await;
    let deleted = shop
        .deleted_by(
            &standby,
            &["added:1", "user:1:profile"],
            "INSERT INTO users (id) VALUES (1)",
        )
        .await;
    assert_eq!(deleted, ["user:1:profile"]);
    for words in [
        "the configuration was not loaded again",
        "running with an older configuration",
        "the evictd that led before had another configuration",
    ] {
        standby.wait_for_line(words, WITHIN).await;
    }
    stop(standby).await;
}

#[tokio::test]
async fn a_standby_with_a_checkpoint_file_of_its_own_invalidates_everything_when_it_takes_over() {
    let shop = own().await;
    let config = shop.config();
    let mut leader = config.start().await;
    let elsewhere = shop.dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let other = config
        .clone()
        .checkpoint_file(&elsewhere.join("shop.checkpoint.json"));
    let mut standby = stand_by(&other).await;
    let line = standby
        .wait_for_line("taking over will be a gap", WITHIN)
        .await;
    assert!(line.contains("store = \"redis\""), "{line}");
    shop.done(&leader).await;
    leader.signal("STOP");
    shop.fill(&["user:1:profile", "other"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    leader.kill();
    takes_over(&standby, 0).await;
    shop.gone(&["user:1:profile"], &standby).await;
    let line = standby.wait_for_line("changes are lost", WITHIN).await;
    assert!(line.contains("stores its position elsewhere"), "{line}");
    shop.done(&standby).await;
    assert_eq!(shop.redis.keys().await, ["other"]);
    stop(standby).await;
}

/// Of another name, but with the checkpoint of this one.
fn renamed(shop: &Shop, config: &Config) -> crate::support::EvictdOptions {
    let mut options = config.options();
    let name = format!("name = \"{}\"", shop.database);
    options.config = options.config.replacen(&name, "name = \"other\"", 1);
    options
}

#[tokio::test]
async fn a_position_of_a_daemon_of_another_name_is_refused_and_left_alone() {
    let shop = own().await;
    for config in [shop.config().checkpoint(IN_REDIS), shop.config()] {
        let mut evictd = config.start().await;
        shop.done(&evictd).await;
        if config.text().contains(IN_REDIS) {
            let before =
                eventually("it is stored", WITHIN, async || stored(&shop.redis).await).await;
            let second = Evictd::finish(&renamed(&shop, &config), WITHIN).await;
            assert_eq!(second.code, Some(2), "{}", second.stderr);
            for words in [
                "called \"other\"",
                &shop.database,
                "checkpoint.key",
                "set P",
            ] {
                assert!(second.stderr.contains(words), "{words}: {}", second.stderr);
            }
            assert_eq!(stored(&shop.redis).await.unwrap().epoch, before.epoch);
        }
        evictd.kill();
        let second = Evictd::finish(&renamed(&shop, &config), WITHIN).await;
        assert_eq!(second.code, Some(2), "{}", second.stderr);
        stop(config.start().await).await;
        // Who was renamed says so.
        let set = renamed(&shop, &config).args(&["checkpoint", "set", "current"]);
        let set = Evictd::finish(&set, WITHIN).await;
        assert_eq!(set.code, Some(0), "{}", set.stderr);
        stop(start(&renamed(&shop, &config)).await).await;
    }
}

#[tokio::test]
async fn a_position_without_a_name_is_read_and_gets_one() {
    let shop = own().await;
    stop(shop.config().start().await).await;
    let mut before = shop.checkpoint().unwrap();
    before.as_object_mut().unwrap().remove("by").unwrap();
    std::fs::write(shop.checkpoint_file(), before.to_string()).unwrap();
    let evictd = shop.config().start().await;
    shop.done(&evictd).await;
    let stored = shop.checkpoint_at_end().await;
    assert_eq!(stored["by"]["name"], shop.database);
    stop(evictd).await;
}

/// One that leads, with its checkpoint in a Redis that the other uses too.
async fn on_two_sources(gtid: bool) -> ([Shop; 2], [Config; 2], Redis) {
    let shop = || {
        Shop::own(MysqlOptions {
            gtid,
            ..MysqlOptions::default()
        })
    };
    let shops = [shop().await, shop().await];
    let common = Redis::start(RedisOptions::default()).await;
    let configs = shops.each_ref().map(|shop| {
        let mut config = shop.config().checkpoint(IN_REDIS);
        config.redis_url = common.url();
        config
    });
    (shops, configs, common)
}

/// The lock is on the source, so that each would lead, skip to the end of its own source, and invalidate everything,
/// whenever the other has stored.
#[tokio::test]
async fn one_name_on_a_second_source_is_refused_before_it_leads() {
    let ([_one, two], [first, second], common) = on_two_sources(true).await;
    two.sql("INSERT INTO unrelated (note) VALUES ('x')").await;
    let evictd = first.start().await;
    let before = eventually("it is stored", WITHIN, async || stored(&common).await).await;
    let newcomer = Evictd::finish(&second.options(), WITHIN).await;
    assert_eq!(newcomer.code, Some(2), "{}", newcomer.stderr);
    for words in [
        "of the same name",
        "source.url",
        "checkpoint.key",
        "checkpoint set P",
    ] {
        assert!(
            newcomer.stderr.contains(words),
            "{words}: {}",
            newcomer.stderr
        );
    }
    assert_eq!(stored(&common).await.unwrap().epoch, before.epoch);
    assert_eq!(leads(&evictd), 1);
    stop(evictd).await;
    // The source of before is gone, and the second one takes its place.
    let set = second.options().args(&["checkpoint", "set", "current"]);
    let set = Evictd::finish(&set, WITHIN).await;
    assert_eq!(set.code, Some(0), "{}", set.stderr);
    stop(second.start().await).await;
}

/// It cannot be told from the successor of the first source.
#[tokio::test]
async fn one_name_on_two_sources_without_gtids_ends_with_one_of_them_refused() {
    let (shops, [first, second], _common) = on_two_sources(false).await;
    let mut daemons = [first.start().await, second.start().await];
    let refused = eventually("one is refused", WITHIN + WITHIN, async || {
        for shop in &shops {
            shop.sql("INSERT INTO unrelated (note) VALUES ('x')").await;
        }
        let ended = daemons.iter_mut().map(|evictd| evictd.exited().is_some());
        ended
            .enumerate()
            .find(|(_, ended)| *ended)
            .map(|(at, _)| at)
    })
    .await;
    let mut refused_one = daemons;
    let code = refused_one[refused].exit(WITHIN).await.code();
    assert_eq!(code, Some(2), "{}", refused_one[refused].tail());
    let line = refused_one[refused]
        .lines()
        .into_iter()
        .find(|line| line.contains("evictd: error:"))
        .unwrap();
    for words in ["of the same name", "source.url", "checkpoint.key"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    let other = &refused_one[1 - refused];
    let before = leads(other);
    assert!(before <= 5, "{}", other.tail());
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(leads(other), before, "{}", other.tail());
}
