//! Several daemons of one name: one leads, the others stand by.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::faults::load;
use super::register::{IN_REDIS, Stored, cached_keys, stored};
use super::shop::{Config, Shop, USERS, WITHIN, start, stop};
use crate::support::{Evictd, MysqlOptions, eventually, free_port};

/// What the server waits for a leader that says nothing, with room for a busy machine. A leader whose connection ends
/// is followed at once, and never as late as this.
const LEASE: Duration = Duration::from_secs(10);

async fn own() -> Shop {
    Shop::own(MysqlOptions::default()).await
}

/// Starts one that has to wait.
pub async fn stand_by(config: &Config) -> Evictd {
    let mut evictd = Evictd::start(&config.options());
    evictd.wait_for_line("standing by until", WITHIN).await;
    evictd
}

/// How many turns it has begun.
pub fn leads(evictd: &Evictd) -> usize {
    let lines = evictd.lines();
    let begun = lines.iter().filter(|line| line.contains(" starting "));
    begun.count()
}

/// Waits until it leads once more than `before` times.
pub async fn takes_over(evictd: &Evictd, before: usize) {
    eventually("the standby leads", WITHIN, async || {
        (leads(evictd) > before).then_some(())
    })
    .await;
}

/// Changes each user once, and kills the leader three times meanwhile. Every key goes.
async fn kill_leaders(shop: &Shop, config: &Config) {
    const COUNT: u32 = 4_000;
    let mut leader = config.start().await;
    let mut standby = stand_by(config).await;
    // What the first start deletes everything for.
    shop.done(&leader).await;
    let keys: Vec<String> = (0..COUNT).map(|id| format!("user:{id}:profile")).collect();
    shop.fill(&keys).await;
    let load = load(shop.mysql(), 0..COUNT, 400);
    let mut took = Vec::new();
    for kill in 1..=3 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(!load.is_finished(), "kill {kill} comes in the midst of it");
        let before = leads(&standby);
        leader.kill();
        let killed_at = Instant::now();
        takes_over(&standby, before).await;
        let left = cached_keys(shop).await.len();
        eventually("the standby deletes", WITHIN, async || {
            (cached_keys(shop).await.len() < left).then_some(())
        })
        .await;
        took.push(killed_at.elapsed());
        leader = standby;
        standby = stand_by(config).await;
    }
    println!("from the kill of a leader to a deletion by its successor: {took:?}");
    assert!(took.iter().all(|took| *took < LEASE), "{took:?}");
    load.await.unwrap();
    shop.done(&leader).await;
    assert_eq!(cached_keys(shop).await, [""; 0], "{}", leader.tail());
    stop(standby).await;
    stop(leader).await;
}

#[tokio::test]
async fn a_leader_that_is_killed_again_and_again_is_followed_and_nothing_is_lost() {
    let shop = own().await;
    kill_leaders(&shop, &shop.config()).await;
    assert!(shop.checkpoint_at_end().await["epoch"].as_u64().unwrap() > 1_700_000_000_000);
}

#[tokio::test]
async fn leaders_without_a_disk_follow_each_other_and_nothing_is_lost() {
    let shop = own().await;
    let config = shop.config().checkpoint(IN_REDIS);
    kill_leaders(&shop, &config).await;
    let (file, offset, gtids) = shop.end().await;
    let Stored { epoch, document } = stored(&shop.redis).await.unwrap();
    assert!(epoch > 1_700_000_000_000);
    assert_eq!(document["file"], file.as_str());
    assert_eq!(document["offset"], offset);
    assert_eq!(document["gtid_set"], gtids.as_str());
}

/// The server ends the paused leader's lock, and the standby leads. What the old one does once it goes on is in vain.
#[tokio::test]
async fn a_paused_leader_cannot_move_the_checkpoint_and_stands_by_once_it_goes_on() {
    let shop = own().await;
    let config = shop.config().checkpoint(IN_REDIS);
    let mut old = config.start().await;
    let mut new = stand_by(&config).await;
    shop.done(&old).await;
    // In the midst of work, so that it has something to store when it goes on.
    let load = load(shop.mysql(), 0..400, 400);
    tokio::time::sleep(Duration::from_millis(300)).await;
    old.signal("STOP");
    let before = stored(&shop.redis).await.unwrap();
    load.await.unwrap();
    takes_over(&new, 0).await;
    shop.done(&new).await;
    let after = eventually("the new leader stores", WITHIN, async || {
        let found = stored(&shop.redis).await?;
        (found.epoch > before.epoch && found.offset() > before.offset()).then_some(found)
    })
    .await;

    old.signal("CONT");
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let found = stored(&shop.redis).await.unwrap();
        assert_eq!(found.epoch, after.epoch);
        assert!(found.offset() >= after.offset(), "{found:?}");
    }
    old.wait_for_line("stands by", WITHIN).await;
    assert_eq!((leads(&old), leads(&new)), (1, 1), "{}", old.tail());

    // It is a standby like any other.
    new.kill();
    takes_over(&old, 1).await;
    shop.done(&old).await;
    assert!(stored(&shop.redis).await.unwrap().epoch > after.epoch);
    stop(old).await;
}

/// A file stays with the process that has it: nobody writes there beside a leader that is only paused.
#[tokio::test]
async fn a_paused_leader_keeps_its_file_until_it_ends_or_knows_better() {
    let shop = own().await;
    let config = shop.config();
    let mut old = config.start().await;
    let mut new = stand_by(&config).await;
    shop.done(&old).await;
    old.signal("STOP");
    shop.fill(&["user:1:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    let line = new.wait_for_line("cannot lead", WITHIN).await;
    let holder = format!("in use by process {}", old.pid());
    assert!(line.contains(&holder), "{line}");
    let before = shop.checkpoint();
    old.kill();
    shop.gone(&["user:1:profile"], &new).await;
    shop.done(&new).await;
    let after = shop.checkpoint_at_end().await;
    assert!(after["epoch"].as_u64() > before.unwrap()["epoch"].as_u64());
    stop(new).await;
}

#[tokio::test]
async fn a_leader_whose_lock_is_cut_off_takes_it_again_and_goes_on_where_it_is() {
    let shop = own().await;
    let mut evictd = shop.config().start().await;
    shop.done(&evictd).await;
    let epoch = shop.checkpoint().unwrap()["epoch"].clone();
    let lock = format!("evictd:{}", shop.database);
    let holder = format!("SELECT IS_USED_LOCK('{lock}')");
    let ids: Vec<Option<u64>> = shop.mysql().rows(&holder).await;
    let mut conn = shop.mysql().conn().await;
    conn.query_drop(format!("KILL {}", ids[0].unwrap()))
        .await
        .unwrap();
    evictd.wait_for_line("the lock is back", WITHIN).await;
    let again: Vec<Option<u64>> = shop.mysql().rows(&holder).await;
    assert!(again[0].is_some() && again != ids);
    shop.done(&evictd).await;
    shop.checkpoint_at_end().await;
    assert_eq!(shop.checkpoint().unwrap()["epoch"], epoch);
    assert_eq!(leads(&evictd), 1);
    stop(evictd).await;
}

/// As after a takeover that the lock did not prevent: another writer, which Aurora promoted, has a lock of its own.
#[tokio::test]
async fn a_leader_that_finds_a_later_epoch_stores_nothing_and_steps_back() {
    let shop = own().await;
    let config = shop.config().checkpoint(IN_REDIS);
    let mut evictd = config.start().await;
    shop.done(&evictd).await;
    let before = stored(&shop.redis).await.unwrap();
    let later = before.epoch + 1_000_000;
    super::register::set_epoch(&shop.redis, later).await;
    shop.fill(&["user:1:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    let line = evictd
        .wait_for_line("was taken over in epoch", WITHIN)
        .await;
    assert!(line.contains(&later.to_string()), "{line}");
    // Nobody else is there: it leads again, in an epoch of its own, from where the position stands.
    takes_over(&evictd, 1).await;
    shop.gone(&["user:1:profile"], &evictd).await;
    shop.done(&evictd).await;
    assert!(stored(&shop.redis).await.unwrap().epoch > later);
    stop(evictd).await;
}

async fn get(port: u16, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_standby_says_that_it_is_one_is_healthy_and_not_ready() {
    let shop = Shop::open().await;
    let leader = shop.config().start().await;
    let port = free_port();
    let metrics = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n{USERS}");
    let config = shop.config().rest(&metrics);
    let standby = stand_by(&config).await;
    assert!(get(port, "/healthz").await.contains("200 OK"));
    let ready = get(port, "/readyz").await;
    assert!(
        ready.contains("503") && ready.contains("it stands by"),
        "{ready}"
    );
    let status = get(port, "/status").await;
    for words in [
        "\"state\":\"standby\"",
        "\"leadership\":\"stands-by\"",
        "\"lag_seconds\":null",
    ] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let leader_is = |value: u8| format!("evictd_leader{{name=\"{}\"}} {value}", shop.database);
    let metrics = get(port, "/metrics").await;
    assert!(metrics.contains(&leader_is(0)), "{metrics}");
    let mut command = config.options().args(&["status"]);
    command.env.clear();
    let text = Evictd::finish(&command, WITHIN).await;
    for words in ["STANDBY", "another process leads, this one stands by"] {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }

    stop(leader).await;
    takes_over(&standby, 0).await;
    shop.done(&standby).await;
    assert!(get(port, "/readyz").await.contains("200 OK"));
    assert!(
        get(port, "/status")
            .await
            .contains("\"leadership\":\"leads\"")
    );
    assert!(get(port, "/metrics").await.contains(&leader_is(1)));
    stop(standby).await;
}

#[tokio::test]
async fn a_standby_ends_when_it_is_asked_to_and_is_refused_if_it_could_not_take_over() {
    let shop = Shop::open().await;
    let leader = shop.config().start().await;
    stop(stand_by(&shop.config()).await).await;
    // With nothing to go on from, as on another machine.
    let elsewhere = shop.dir.path().join("elsewhere.json");
    let unfit = shop
        .config()
        .checkpoint_file(&elsewhere)
        .rest(&USERS.replace("$db.users", "$db.nothing"));
    let refused = unfit.finish().await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("matches no table"),
        "{}",
        refused.stderr
    );
    shop.done(&leader).await;
    stop(leader).await;
    // Nobody is left to be waited for.
    stop(start(&shop.config().options()).await).await;
}
