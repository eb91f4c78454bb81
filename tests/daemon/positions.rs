//! Where evictd begins, what it remembers, and what it does when that is gone.

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::shop::{Shop, USERS, WITHIN, start, stop};
use crate::support::{Evictd, MysqlOptions, eventually, free_port};

async fn own() -> Shop {
    Shop::own(MysqlOptions::default()).await
}

async fn without_gtids() -> Shop {
    let options = MysqlOptions {
        gtid: false,
        ..MysqlOptions::default()
    };
    Shop::own(options).await
}

async fn insert(shop: &Shop, ids: std::ops::Range<u32>) {
    for id in ids {
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
    }
}

const PROFILES: [&str; 3] = ["user:1:profile", "user:2:profile", "user:3:profile"];

/// Which of the three profiles are left.
async fn left(shop: &Shop) -> Vec<String> {
    let mut keys = shop.redis.keys().await;
    keys.retain(|key| PROFILES.contains(&key.as_str()));
    keys
}

/// What a configuration says of the server's end.
type Position = fn(&(String, u64, String)) -> String;

/// User 1 comes, a position is taken, user 2 comes, evictd starts, user 3 comes.
async fn deleted_from(shop: &Shop, start: &str, position: Position) {
    insert(shop, 1..2).await;
    let taken = position(&shop.end().await);
    insert(shop, 2..3).await;
    shop.fill(&PROFILES).await;
    let line = format!("start = \"{}\"", start.replace("TAKEN", &taken));
    let evictd = shop.config().source(&line).start().await;
    insert(shop, 3..4).await;
    shop.done(&evictd).await;
    // Wherever it began, from the next file on it knows every transaction.
    shop.sql("FLUSH BINARY LOGS").await;
    insert(shop, 4..5).await;
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_start_at_the_very_first_event_knows_every_transaction() {
    let shop = own().await;
    let evictd = shop.config().source("start = \"earliest\"").start().await;
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

#[tokio::test]
async fn reading_begins_where_the_configuration_says() {
    let shop = own().await;
    let offset: Position = |end| format!("{}:{}", end.0, end.1);
    let gtids: Position = |end| end.2.clone();
    for (start, position, expected) in [
        ("current", offset, &PROFILES[..2]),
        ("TAKEN", offset, &PROFILES[..1]),
        ("TAKEN", gtids, &PROFILES[..1]),
        ("earliest", offset, &[]),
    ] {
        shop.sql("DELETE FROM users").await;
        std::fs::remove_file(shop.checkpoint_file()).ok();
        // So that nothing read from the beginning says anything about these rows but what comes now.
        shop.mysql().exec("RESET BINARY LOGS AND GTIDS").await;
        deleted_from(&shop, start, position).await;
        assert_eq!(left(&shop).await, expected, "{start}");
    }
}

#[tokio::test]
async fn the_start_is_stored_before_anything_is_read_and_then_wins_over_the_configuration() {
    let shop = own().await;
    insert(&shop, 1..2).await;
    let evictd = shop.config().start().await;
    let (_, _, gtids) = shop.end().await;
    let stored = shop.checkpoint().expect("stored before the first event");
    assert_eq!(stored["gtid_set"], gtids.as_str());
    // The server passes over what is before the end, and says how far it is.
    shop.checkpoint_at_end().await;
    stop(evictd).await;

    insert(&shop, 2..3).await;
    shop.fill(&PROFILES).await;
    let evictd = shop.config().source("start = \"current\"").start().await;
    insert(&shop, 3..4).await;
    shop.done(&evictd).await;
    assert_eq!(
        left(&shop).await,
        PROFILES[..1],
        "what was committed in between is read"
    );
}

#[tokio::test]
async fn the_checkpoint_follows_unrelated_commits_through_rotations() {
    for shop in [own().await, without_gtids().await] {
        let evictd = shop.config().start().await;
        for _ in 0..3 {
            shop.sql("INSERT INTO unrelated (note) VALUES ('x'); FLUSH BINARY LOGS")
                .await;
        }
        // A file that nothing was written to yet.
        shop.checkpoint_at_end().await;
        shop.sql("INSERT INTO unrelated (note) VALUES ('y')").await;
        let stored = shop.checkpoint_at_end().await;
        let uuid: Vec<String> = shop.mysql().rows("SELECT @@server_uuid").await;
        assert_eq!(stored["server_uuid"], uuid[0].as_str());
        assert_eq!(stored["file"], "mysql-bin.000004");
        let committed_at: jiff::Timestamp =
            stored["committed_at"].as_str().unwrap().parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(committed_at);
        assert!(age.as_secs().abs() < 60, "{committed_at}");
        stop(evictd).await;
    }
}

#[tokio::test]
async fn a_server_without_gtids_is_resumed_at_file_and_offset() {
    let shop = without_gtids().await;
    let evictd = shop.config().start().await;
    insert(&shop, 1..2).await;
    shop.checkpoint_at_end().await;
    stop(evictd).await;
    shop.sql("FLUSH BINARY LOGS").await;
    insert(&shop, 2..3).await;
    shop.fill(&PROFILES).await;
    let evictd = shop.config().start().await;
    shop.done(&evictd).await;
    assert_eq!(left(&shop).await, ["user:1:profile", "user:3:profile"]);
    let stored = shop.checkpoint_at_end().await;
    assert!(stored["gtid_set"].is_null(), "{stored}");
}

/// What a stop left is a checkpoint whose next change the server no longer has.
async fn gapped(shop: &Shop) {
    stop(shop.config().start().await).await;
    insert(shop, 1..2).await;
    shop.purge_first_file().await;
    shop.fill(&PROFILES).await;
    shop.fill(&["other"]).await;
}

#[tokio::test]
async fn a_gap_that_is_to_halt_ends_with_code_4_says_what_to_do_and_touches_nothing() {
    for shop in [own().await, without_gtids().await] {
        gapped(&shop).await;
        let before = std::fs::read(shop.checkpoint_file()).unwrap();
        let ended = shop.config().source("on_gap = \"halt\"").finish().await;
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap_or_default();
        for words in [
            "evictd: error:",
            "cannot be resumed at",
            "purged",
            "on_gap",
            "checkpoint",
        ] {
            assert!(last.contains(words), "{words}: {last}");
        }
        assert_eq!(left(&shop).await, PROFILES);
        assert_eq!(std::fs::read(shop.checkpoint_file()).unwrap(), before);
    }
}

#[tokio::test]
async fn a_gap_invalidates_everything_that_rules_cover_and_reading_goes_on() {
    for shop in [own().await, without_gtids().await] {
        gapped(&shop).await;
        let mut evictd = shop.config().start().await;
        shop.gone(&PROFILES, &evictd).await;
        assert_eq!(shop.redis.keys().await, ["other"]);
        evictd
            .wait_for_line("invalidating everything", WITHIN)
            .await;
        shop.fill(&PROFILES).await;
        insert(&shop, 2..3).await;
        shop.done(&evictd).await;
        assert_eq!(left(&shop).await, ["user:1:profile", "user:3:profile"]);
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}

/// Whatever makes the server refuse a position, at once or only when it is read from there.
#[tokio::test]
async fn positions_that_the_server_cannot_read_from_are_gaps() {
    let shop = own().await;
    insert(&shop, 1..2).await;
    let (file, end, _) = shop.end().await;
    let other = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee:1-9";
    for start in [
        format!("{file}:{}", end + 1_000),
        "mysql-bin.000099:4".to_owned(),
        other.to_owned(),
        // In the midst of an event.
        format!("{file}:{}", end - 7),
    ] {
        let lines = format!("on_gap = \"halt\"\nstart = \"{start}\"");
        std::fs::remove_file(shop.checkpoint_file()).ok();
        let ended = shop.config().source(&lines).finish().await;
        assert_eq!(ended.code, Some(4), "{start}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn another_server_is_a_gap_unless_gtids_tell_where_to_go_on() {
    for (shop, is_gap) in [(without_gtids().await, true), (own().await, false)] {
        stop(shop.config().start().await).await;
        let mut stored = shop.checkpoint().unwrap();
        stored["server_uuid"] = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee".into();
        std::fs::write(shop.checkpoint_file(), stored.to_string()).unwrap();
        insert(&shop, 2..4).await;
        shop.fill(&PROFILES).await;
        let evictd = shop.config().start().await;
        shop.done(&evictd).await;
        // It may lack what the other one showed.
        assert_eq!(left(&shop).await, [""; 0]);
        let lines = evictd.lines();
        let gap = lines.iter().any(|line| line.contains("changes are lost"));
        assert_eq!(gap, is_gap, "{}", evictd.tail());
        let uuid: Vec<String> = shop.mysql().rows("SELECT @@server_uuid").await;
        assert_eq!(
            shop.checkpoint_at_end().await["server_uuid"],
            uuid[0].as_str()
        );
    }
}

/// Two with the same id throw each other out: both must go on, neither may hammer the server, and both name the id.
#[tokio::test]
async fn two_with_the_same_server_id_take_turns_slowly_and_say_why() {
    let shop = own().await;
    let port = free_port();
    let metrics = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n{USERS}");
    let config = shop.config().source("server_id = 77");
    let mut first = config.clone().rest(&metrics).start().await;
    let other = config
        .text()
        .replace("name = \"shop\"", "name = \"other\"")
        .replace("shop.checkpoint.json", "other.checkpoint.json");
    let mut options = config.options();
    options.config = other;
    let mut second = start(&options).await;
    first
        .wait_for_line("another replica has the same server_id, 77", WITHIN)
        .await;
    for evictd in [&mut first, &mut second] {
        let line = evictd.wait_for_line("throw each other out", WITHIN).await;
        for words in ["ERROR", "server_id=77", "source.server_id", "SHOW REPLICAS"] {
            assert!(line.contains(words), "{words}: {line}");
        }
    }
    let clashes = eventually("the clashes are counted", WITHIN, async || {
        let text = metrics_of(port).await?;
        let line = text
            .lines()
            .find(|line| line.starts_with("evictd_server_id_clashes_total"))?;
        line.rsplit(' ').next()?.parse::<u64>().ok()
    })
    .await;
    assert!(clashes >= 1);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let breaks = |evictd: &Evictd| {
        let lines = evictd.lines();
        lines
            .iter()
            .filter(|line| line.contains("stream broke"))
            .count()
    };
    let broken = breaks(&first) + breaks(&second);
    assert!(broken < 40, "{broken} times in seconds");
    insert(&shop, 1..4).await;
    shop.fill(&PROFILES).await;
    insert(&shop, 11..12).await;
    shop.sql("UPDATE users SET name = 'x'").await;
    shop.gone(&PROFILES, &first).await;
}

/// What a daemon's metrics endpoint answers.
async fn metrics_of(port: u16) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .await
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

/// Once is what a successor does that takes over; twice is somebody who comes back.
#[tokio::test]
async fn being_thrown_out_once_is_no_clash_and_twice_is() {
    let shop = own().await;
    let mut evictd = shop.config().source("server_id = 78").start().await;
    for times in 1..=2 {
        let conn = shop.mysql().conn().await;
        let request = mysql_async::BinlogStreamRequest::new(78).with_filename(b"mysql-bin.000001");
        let mut rival = conn.get_binlog_stream(request).await.unwrap();
        rival.next().await.unwrap().unwrap();
        // Which throws the rival out.
        eventually("evictd is back", WITHIN, async || {
            let lines = evictd.lines();
            let back = lines
                .iter()
                .filter(|line| line.contains("reading the binlog"));
            (back.count() > times).then_some(())
        })
        .await;
        let clash = evictd.lines().iter().any(|line| line.contains("ERROR"));
        assert_eq!(clash, times == 2, "{}", evictd.tail());
    }
    evictd.wait_for_line("server_id=78", WITHIN).await;
    shop.done(&evictd).await;
    stop(evictd).await;
}

/// The server answers a running reader with heartbeats about a file that is gone, and with nothing else.
#[tokio::test]
async fn a_binlog_that_is_reset_under_a_running_reader_is_a_gap() {
    for shop in [own().await, without_gtids().await] {
        let mut evictd = shop.config().source("heartbeat = \"500ms\"").start().await;
        insert(&shop, 1..4).await;
        shop.done(&evictd).await;
        shop.fill(&PROFILES).await;
        shop.fill(&["other"]).await;
        shop.mysql().exec("RESET BINARY LOGS AND GTIDS").await;
        insert(&shop, 4..5).await;
        shop.gone(&PROFILES, &evictd).await;
        let line = evictd.wait_for_line("changes are lost", WITHIN).await;
        assert!(line.contains("was reset"), "{line}");
        shop.done(&evictd).await;
        assert_eq!(shop.redis.keys().await, ["other"]);
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}

/// A reset binlog that has grown beyond the place of before says nothing by its size.
#[tokio::test]
async fn a_binlog_that_is_reset_and_written_past_the_old_place_is_a_gap() {
    for shop in [own().await, without_gtids().await] {
        let mut evictd = shop.config().source("heartbeat = \"500ms\"").start().await;
        insert(&shop, 1..4).await;
        shop.done(&evictd).await;
        shop.fill(&PROFILES).await;
        let (file, before, _) = shop.end().await;
        shop.mysql()
            .exec(format!(
                "RESET BINARY LOGS AND GTIDS; INSERT INTO shop.unrelated (note) VALUES (REPEAT('x', {before}))"
            ))
            .await;
        for _ in 0..20 {
            shop.sql("INSERT INTO unrelated (note) VALUES ('y')").await;
        }
        assert_eq!(shop.end().await.0, file);
        shop.gone(&PROFILES, &evictd).await;
        evictd.wait_for_line("changes are lost", WITHIN).await;
        shop.done(&evictd).await;
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}

/// Nothing but the time in its first event tells the new file from the old.
#[tokio::test]
async fn a_file_of_the_same_name_with_other_content_is_a_gap_after_a_stop_too() {
    for shop in [own().await, without_gtids().await] {
        let evictd = shop.config().start().await;
        insert(&shop, 1..4).await;
        shop.done(&evictd).await;
        let stored = shop.checkpoint_at_end().await;
        assert!(stored["file_begun_s"].is_u64(), "{stored}");
        stop(evictd).await;
        // Times are in seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        shop.mysql().exec("RESET BINARY LOGS AND GTIDS").await;
        // As many transactions, and more bytes.
        let offset = stored["offset"].as_u64().unwrap();
        while shop.end().await.1 < offset {
            shop.sql("INSERT INTO unrelated (note) VALUES ('x')").await;
        }
        for _ in 0..20 {
            shop.sql("INSERT INTO unrelated (note) VALUES ('y')").await;
        }
        shop.fill(&PROFILES).await;
        let mut evictd = shop.config().start().await;
        shop.gone(&PROFILES, &evictd).await;
        let line = evictd.wait_for_line("changes are lost", WITHIN).await;
        assert!(line.contains("another file of the same name"), "{line}");
        shop.done(&evictd).await;
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}
