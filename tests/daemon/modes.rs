//! Settings that change what a binlog looks like, some of them while it is read.

use mysql_async::prelude::Queryable;

use super::shop::{Shop, WITHIN, stop};
use crate::support::{Evictd, Mysql, MysqlOptions};

const KEYS: [&str; 3] = ["user:1:profile", "user:2:profile", "user:3:profile"];

/// A change of user 1, seen by exactly its key; the checkpoint follows.
async fn one_change(shop: &Shop, evictd: &Evictd, what: &str) {
    let change = "REPLACE INTO users (id, name) VALUES (1, UUID())";
    let gone = shop.deleted_by(evictd, &KEYS, change).await;
    assert_eq!(gone, KEYS[..1], "{what}\n{}", evictd.tail());
}

async fn global(shop: &Shop, setting: &str) {
    shop.mysql().exec(format!("SET GLOBAL {setting}")).await;
}

async fn without_gtids() -> Shop {
    Shop::own(MysqlOptions {
        gtid: false,
        ..MysqlOptions::default()
    })
    .await
}

/// What is planned for everything covers more than one change calls for.
fn assert_nothing_widened(evictd: &Evictd) {
    let lines = evictd.lines();
    let wide = lines.iter().find(|line| line.contains("invalidating"));
    assert_eq!(wide, None);
}

#[tokio::test]
async fn gtids_may_be_switched_on_and_off_while_evictd_runs_and_while_it_does_not() {
    let shop = without_gtids().await;
    let mut evictd = shop.config().start().await;
    one_change(&shop, &evictd, "OFF").await;
    for (setting, stops) in [
        ("enforce_gtid_consistency = ON", false),
        ("gtid_mode = OFF_PERMISSIVE", false),
        ("gtid_mode = ON_PERMISSIVE", true),
        ("gtid_mode = ON", true),
        ("gtid_mode = ON_PERMISSIVE", false),
        ("gtid_mode = OFF_PERMISSIVE", true),
        ("gtid_mode = OFF", true),
        ("gtid_mode = OFF_PERMISSIVE", false),
        ("gtid_mode = ON_PERMISSIVE", false),
        ("gtid_mode = ON", false),
    ] {
        global(&shop, setting).await;
        one_change(&shop, &evictd, setting).await;
        one_change(&shop, &evictd, setting).await;
        assert_nothing_widened(&evictd);
        if stops {
            stop(evictd).await;
            shop.fill(&KEYS).await;
            shop.sql("REPLACE INTO users (id, name) VALUES (2, UUID())")
                .await;
            evictd = shop.config().start().await;
            shop.gone(&KEYS[1..2], &evictd).await;
            one_change(&shop, &evictd, &format!("{setting}, started anew")).await;
            assert_nothing_widened(&evictd);
        }
    }
    let stored = shop.checkpoint_at_end().await;
    assert!(stored["gtid_set"].is_string(), "{stored}");
    stop(evictd).await;
}

/// GTIDs alone say nothing of anonymous transactions: what is stored before anything was read has a file too.
#[tokio::test]
async fn gtids_switched_after_an_end_was_asked_for_and_before_anything_was_read() {
    let shop = Shop::own(MysqlOptions::default()).await;
    shop.sql("REPLACE INTO users (id, name) VALUES (2, UUID())")
        .await;
    for end in ["first start", "gap"] {
        let mut evictd = shop.config().start().await;
        if end == "gap" {
            evictd.wait_for_line("deleted by glob", WITHIN).await;
            evictd.wait_for_line("deleted by glob", WITHIN).await;
        }
        evictd.kill();
        let stored = shop.checkpoint().unwrap();
        assert_ne!(stored["file"], "", "{end}: {stored}");
        // Otherwise another file of its name, with other transactions of these GTIDs, would not be found out.
        assert!(stored["file_begun_s"].is_u64(), "{end}: {stored}");
        shop.fill(&KEYS).await;
        for mode in ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"] {
            global(&shop, &format!("gtid_mode = {mode}")).await;
        }
        shop.sql("REPLACE INTO users (id, name) VALUES (1, UUID())")
            .await;
        for mode in ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"] {
            global(&shop, &format!("gtid_mode = {mode}")).await;
        }
        let evictd = shop.config().start().await;
        shop.gone(&KEYS[..1], &evictd).await;
        stop(evictd).await;
        shop.sql("RESET BINARY LOGS AND GTIDS").await;
    }
}

#[tokio::test]
async fn anonymous_transactions_between_those_with_gtids_count_like_others() {
    let shop = without_gtids().await;
    global(&shop, "enforce_gtid_consistency = ON").await;
    global(&shop, "gtid_mode = OFF_PERMISSIVE").await;
    let evictd = shop.config().start().await;
    let uuid = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
    for number in 1..4 {
        one_change(&shop, &evictd, "anonymous").await;
        let with = format!(
            "SET gtid_next = '{uuid}:{number}'; REPLACE INTO users (id, name) VALUES (2, UUID()); SET gtid_next = 'AUTOMATIC'"
        );
        assert_eq!(shop.deleted_by(&evictd, &KEYS, &with).await, KEYS[1..2]);
    }
    assert_nothing_widened(&evictd);
    stop(evictd).await;
    shop.fill(&KEYS).await;
    shop.sql("REPLACE INTO users (id, name) VALUES (3, UUID())")
        .await;
    let evictd = shop.config().start().await;
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, KEYS[..2], "only what came since");
    stop(evictd).await;
}

#[tokio::test]
async fn tagged_gtids_are_read_stored_and_resumed_from() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let evictd = shop.config().start().await;
    let tagged = |tag: &str, id: u32| {
        format!(
            "SET gtid_next = 'AUTOMATIC:{tag}'; REPLACE INTO users (id, name) VALUES ({id}, UUID()); SET gtid_next = 'AUTOMATIC'"
        )
    };
    for tag in ["blue", "green_2", "blue"] {
        let gone = shop.deleted_by(&evictd, &KEYS, &tagged(tag, 1)).await;
        assert_eq!(gone, KEYS[..1], "{tag}");
    }
    one_change(&shop, &evictd, "without a tag").await;
    let stored = shop.checkpoint_at_end().await;
    let set = stored["gtid_set"].as_str().unwrap();
    assert!(
        set.contains(":blue:1-2") && set.contains(":green_2:1"),
        "{set}"
    );
    stop(evictd).await;

    // Nothing of before is read again, and nothing of between is lost.
    shop.sql(&tagged("blue", 2)).await;
    shop.fill(&KEYS).await;
    let mut evictd = shop.config().start().await;
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, [KEYS[0], KEYS[2]]);
    // The same with a server that was away.
    let broken = evictd.lines().len();
    shop.sql(&tagged("red", 3)).await;
    shop.done(&evictd).await;
    shop.checkpoint_at_end().await;
    assert_eq!(shop.redis.keys().await, KEYS[..1]);
    assert!(evictd.lines().len() >= broken && evictd.exited().is_none());
    assert_nothing_widened(&evictd);
    stop(evictd).await;
}

#[tokio::test]
async fn checksums_may_be_absent_and_switched_while_evictd_runs() {
    for mut shop in [
        Shop::own(MysqlOptions::default()).await,
        without_gtids().await,
    ] {
        let mut evictd = shop.config().start().await;
        for checksum in ["NONE", "CRC32", "NONE"] {
            one_change(&shop, &evictd, checksum).await;
            global(&shop, &format!("binlog_checksum = {checksum}")).await;
            one_change(&shop, &evictd, checksum).await;
            // Compressed events have a checksum as a whole, or none.
            let compressed = "SET binlog_transaction_compression = ON; REPLACE INTO users (id, name) VALUES (2, CONCAT(UUID(), REPEAT('x', 60)))";
            let gone = shop.deleted_by(&evictd, &KEYS, compressed).await;
            assert_eq!(gone, KEYS[1..2], "{checksum}");
            stop(evictd).await;
            evictd = shop.config().start().await;
            one_change(&shop, &evictd, &format!("{checksum}, started anew")).await;
        }
        shop.mysql_mut().restart().await;
        one_change(&shop, &evictd, "the server started anew").await;
        assert_nothing_widened(&evictd);
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}

/// Runs `LOAD DATA LOCAL` with these lines.
async fn load_local(mysql: &Mysql, settings: &str, lines: &'static str) {
    let mut conn = mysql.conn().await;
    conn.set_infile_handler(async move {
        let block: std::io::Result<_> = Ok(bytes::Bytes::from_static(lines.as_bytes()));
        Ok(Box::pin(futures_util::stream::iter([block])) as mysql_async::InfileData)
    });
    conn.query_drop(settings).await.unwrap();
    conn.query_drop("LOAD DATA LOCAL INFILE 'users' REPLACE INTO TABLE shop.users (id, name)")
        .await
        .unwrap();
    conn.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_file_loaded_from_the_client_counts_row_by_row_or_as_anything() {
    let shop = Shop::own(MysqlOptions {
        extra: vec!["--local-infile=ON".to_owned()],
        ..MysqlOptions::default()
    })
    .await;
    let evictd = shop.config().start().await;
    for (settings, lines, expected) in [
        ("SET binlog_format = ROW", "1\tAda\n2\tGrace\n", &KEYS[..2]),
        (
            "SET binlog_transaction_compression = ON",
            "1\tA\n2\tG\n",
            &KEYS[..2],
        ),
        ("SET binlog_format = STATEMENT", "1\tAl\n", &KEYS[..]),
    ] {
        shop.fill(&KEYS).await;
        load_local(shop.mysql(), settings, lines).await;
        shop.done(&evictd).await;
        let mut gone = KEYS.to_vec();
        let left = shop.redis.keys().await;
        gone.retain(|key| !left.iter().any(|left| left == key));
        assert_eq!(gone, expected, "{settings}");
    }
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

/// The binlog has the names as the server stores them, and statements as they were written.
#[tokio::test]
async fn names_in_any_case_are_found_where_the_server_does_not_tell_them_apart() {
    let shop = Shop::own(MysqlOptions {
        lower_case_names: true,
        ..MysqlOptions::default()
    })
    .await;
    let evictd = shop.config().start().await;
    for (change, expected) in [
        ("INSERT INTO SHOP.USERS (ID) VALUES (1)", &KEYS[..1]),
        (
            "USE SHOP; UPDATE Users SET NAME = 'x' WHERE ID = 1",
            &KEYS[..1],
        ),
        (
            "SET binlog_format = STATEMENT; UPDATE USERS SET NAME = 'y'",
            &KEYS[..],
        ),
        ("TRUNCATE TABLE SHOP.USERS", &KEYS[..]),
        ("TRUNCATE TABLE Orders", &[]),
        ("RENAME TABLE USERS TO Away, AWAY TO `UseRS`", &KEYS[..]),
        ("INSERT INTO UsErS (id) VALUES (2)", &KEYS[1..2]),
    ] {
        let gone = shop.deleted_by(&evictd, &KEYS, change).await;
        assert_eq!(gone, expected, "{change}");
    }
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}
