//! Rows of which nobody knows, or knows any more, since when they can be read: what is not known is fresh.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::shop::{Config, Shop, WITHIN, has_no_gap, start, stop};
use crate::support::{Cut, Evictd, Mysql, MysqlOptions, Relay, eventually};

const SETTLE_AFTER: Duration = Duration::from_secs(2);

const KEY: &str = "user:7:profile";

fn settling(shop: &Shop) -> Config {
    shop.config()
        .redis("settle_after = \"2s\"")
        .source("heartbeat = \"500ms\"")
}

/// User 7 changes; a reader that read the row before stores it after the first deletion, and it goes all the same.
async fn a_late_fill_goes(shop: &Shop, evictd: &Evictd, what: &str) {
    // What is known is known for longer than a fill may take.
    tokio::time::sleep(SETTLE_AFTER + Duration::from_secs(1)).await;
    println!("{what}");
    shop.fill(&[KEY]).await;
    shop.sql("UPDATE users SET name = UUID(), version = version + 1 WHERE id = 7")
        .await;
    shop.gone(&[KEY], evictd).await;
    shop.fill(&[KEY]).await;
    shop.gone(&[KEY], evictd).await;
}

async fn with_user(options: MysqlOptions) -> Shop {
    let shop = Shop::own(options).await;
    shop.sql("INSERT INTO users (id, name) VALUES (7, 'old')")
        .await;
    shop
}

async fn global(shop: &Shop, settings: &[&str]) {
    for setting in settings {
        shop.mysql().exec(format!("SET GLOBAL {setting}")).await;
    }
}

const OFF: [&str; 3] = [
    "gtid_mode = ON_PERMISSIVE",
    "gtid_mode = OFF_PERMISSIVE",
    "gtid_mode = OFF",
];

#[tokio::test]
async fn gtids_of_before_say_nothing_about_transactions_without_one() {
    let shop = with_user(MysqlOptions::default()).await;
    let evictd = settling(&shop).start().await;
    a_late_fill_goes(&shop, &evictd, "with GTIDs").await;
    global(&shop, &OFF[..2]).await;
    a_late_fill_goes(&shop, &evictd, "switched off while it runs").await;
    global(&shop, &OFF[2..]).await;
    a_late_fill_goes(&shop, &evictd, "off").await;
    stop(evictd).await;
    let evictd = settling(&shop).start().await;
    shop.mysql().exec("FLUSH BINARY LOGS").await;
    a_late_fill_goes(&shop, &evictd, "off, started anew, in the next file").await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_first_start_without_gtids_on_a_server_that_had_some_settles() {
    let shop = with_user(MysqlOptions::default()).await;
    global(&shop, &OFF).await;
    let evictd = settling(&shop).start().await;
    a_late_fill_goes(&shop, &evictd, "in the first file").await;
    // From here on the binlog tells which GTIDs came before.
    shop.mysql().exec("FLUSH BINARY LOGS").await;
    a_late_fill_goes(&shop, &evictd, "in the next file").await;
    a_late_fill_goes(&shop, &evictd, "once more, after what came first").await;
    stop(evictd).await;
}

/// The change of user 7 is in the binlog, and nobody sees it until [`release`].
async fn hold_a_commit(mysql: &Mysql, database: &str) -> tokio::task::JoinHandle<()> {
    let installed: Vec<u32> = mysql
        .rows("SELECT 1 FROM information_schema.plugins WHERE plugin_name = 'rpl_semi_sync_source'")
        .await;
    if installed.is_empty() {
        mysql
            .exec("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
            .await;
    }
    mysql
        .exec(
            "SET GLOBAL rpl_semi_sync_source_timeout = 600000; \
             SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'; \
             SET GLOBAL rpl_semi_sync_source_enabled = ON",
        )
        .await;
    let mut conn = mysql.conn().await;
    let update = format!("UPDATE {database}.users SET name = 'new', version = 2 WHERE id = 7");
    tokio::spawn(async move {
        // The server may die of it.
        conn.query_drop(update).await.ok();
    })
}

async fn release(mysql: &Mysql) {
    mysql
        .exec("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        .await;
}

async fn name_of_user(shop: &Shop) -> String {
    let names: Vec<String> = shop
        .mysql()
        .rows("SELECT name FROM shop.users WHERE id = 7")
        .await;
    names.concat()
}

/// The numbers begin again at 1, and those of before say nothing about them.
#[tokio::test]
async fn after_a_reset_the_numbers_that_were_visible_before_say_nothing() {
    let shop = with_user(MysqlOptions::default()).await;
    let mut evictd = settling(&shop).start().await;
    a_late_fill_goes(&shop, &evictd, "before").await;
    tokio::time::sleep(SETTLE_AFTER + Duration::from_secs(1)).await;
    shop.fill(&[KEY]).await;
    shop.mysql().exec("RESET BINARY LOGS AND GTIDS").await;
    evictd.wait_for_line("changes are lost", WITHIN).await;
    shop.gone(&[KEY], &evictd).await;
    // What was read before the gap.
    shop.fill(&[KEY]).await;
    shop.gone(&[KEY], &evictd).await;
    a_late_fill_goes(&shop, &evictd, "with the numbers of before").await;
    shop.checkpoint_at_end().await;

    shop.fill(&[KEY]).await;
    let held = hold_a_commit(shop.mysql(), "shop").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shop.redis.keys().await, [KEY], "the row is not visible yet");
    release(shop.mysql()).await;
    held.await.unwrap();
    shop.gone(&[KEY], &evictd).await;
    stop(evictd).await;
}

/// The connections break while a commit is held that was read: it is in no executed set, and on its way.
#[tokio::test]
async fn a_held_commit_that_was_read_before_connections_broke_is_no_gap() {
    let mut shop = with_user(MysqlOptions::default()).await;
    let relay = Relay::to(shop.mysql().port()).await;
    let mut config = settling(&shop);
    config.source_url = format!("mysql://evictd@127.0.0.1:{}", relay.port());
    let evictd = start(&config.options()).await;
    shop.done(&evictd).await;
    shop.checkpoint_at_end().await;
    for freezes in [false, true] {
        shop.sql("UPDATE users SET name = 'old' WHERE id = 7").await;
        shop.checkpoint_at_end().await;
        shop.fill(&[KEY]).await;
        let held = hold_a_commit(shop.mysql(), "shop").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if freezes {
            shop.mysql_mut().signal("STOP");
            tokio::time::sleep(Duration::from_secs(12)).await;
            shop.mysql_mut().signal("CONT");
        } else {
            relay.cut(Cut::All);
        }
        // Longer than anything would take to be deleted unseen, and to settle.
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(name_of_user(&shop).await, "old");
        shop.fill(&[KEY]).await;
        release(shop.mysql()).await;
        held.await.unwrap();
        shop.gone(&[KEY], &evictd).await;
        shop.checkpoint_at_end().await;
        has_no_gap(&evictd);
    }
    stop(evictd).await;
}

/// The server counts as written what it may not send before it is on its disk.
#[tokio::test]
async fn a_server_whose_disk_is_slow_has_no_gap() {
    let shop = with_user(MysqlOptions::default()).await;
    let config = shop
        .config()
        .redis("settle_after = \"2s\"")
        .source("heartbeat = \"200ms\"");
    let mut evictd = start(&config.options()).await;
    shop.done(&evictd).await;
    let slow = [
        "sync_binlog = 1",
        "binlog_group_commit_sync_delay = 1000000",
    ];
    global(&shop, &slow).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        shop.fill(&[KEY]).await;
        shop.sql(&format!("UPDATE users SET name = '{name}' WHERE id = 7"))
            .await;
        shop.gone(&[KEY], &evictd).await;
    }
    global(&shop, &["binlog_group_commit_sync_delay = 0"]).await;
    shop.checkpoint_at_end().await;
    evictd.wait_for_line("sends nothing after", WITHIN).await;
    has_no_gap(&evictd);
    stop(evictd).await;
}

/// The server's end, as it says itself, is after a transaction that its set of GTIDs does not have yet.
#[tokio::test]
async fn a_commit_that_is_held_where_reading_begins_at_the_end_is_read() {
    for is_gap in [false, true] {
        let shop = with_user(MysqlOptions::default()).await;
        let config = settling(&shop);
        if is_gap {
            stop(start(&config.options()).await).await;
            let mut stored = shop.checkpoint().unwrap();
            stored["gtid_set"] = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee:1-9".into();
            std::fs::write(shop.checkpoint_file(), stored.to_string()).unwrap();
        }
        let held = hold_a_commit(shop.mysql(), "shop").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let evictd = start(&config.options()).await;
        // Longer than everything that a gap invalidates takes to settle.
        tokio::time::sleep(SETTLE_AFTER + Duration::from_secs(2)).await;
        assert_eq!(name_of_user(&shop).await, "old");
        shop.fill(&[KEY]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shop.redis.keys().await, [KEY], "the row is not visible yet");
        release(shop.mysql()).await;
        held.await.unwrap();
        shop.gone(&[KEY], &evictd).await;
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}

/// Two servers, the second with all that the first had when it was made, behind one address.
struct Pair {
    shop: Shop,
    second: Mysql,
    relay: Relay,
}

impl Pair {
    async fn open() -> Self {
        let shop = with_user(MysqlOptions::default()).await;
        let second = Mysql::start(MysqlOptions {
            extra: vec!["--server-id=2".to_owned()],
            ..MysqlOptions::default()
        })
        .await;
        let relay = Relay::to(shop.mysql().port()).await;
        let pair = Self {
            shop,
            second,
            relay,
        };
        pair.replicate().await;
        pair
    }

    /// Lets the second server catch up, and then follow no longer.
    async fn replicate(&self) {
        let (_, _, gtids) = self.shop.end().await;
        self.second
            .exec(format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
                 SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; \
                 START REPLICA; DO WAIT_FOR_EXECUTED_GTID_SET('{gtids}', 30); \
                 STOP REPLICA; RESET REPLICA ALL",
                self.shop.mysql().port()
            ))
            .await;
        let (_, _, executed) = self.shop.end().await;
        let has: Vec<bool> = self
            .second
            .rows(format!(
                "SELECT GTID_SUBSET('{executed}', @@GLOBAL.gtid_executed)"
            ))
            .await;
        assert_eq!(has, [true], "the second server has everything");
    }

    fn config(&self) -> Config {
        let mut config = settling(&self.shop);
        config.source_url = format!("mysql://evictd@127.0.0.1:{}", self.relay.port());
        config
    }

    /// The first server dies, and the address means the second.
    fn fail_over(&mut self) {
        self.relay.lead_to(self.second.port());
        self.shop.mysql_mut().kill();
    }

    /// A change that the second server makes is seen.
    async fn goes_on(&self, evictd: &Evictd) {
        let key = "user:8:profile";
        self.shop.fill(&[key]).await;
        self.second
            .exec("REPLACE INTO shop.users (id, name) VALUES (8, UUID())")
            .await;
        self.shop.gone(&[key], evictd).await;
        // A reader that was slow.
        self.shop.fill(&[key]).await;
        self.shop.gone(&[key], evictd).await;
    }

    async fn position_passes_the_end(&self) {
        let gtids: Vec<String> = self.second.rows("SELECT @@GLOBAL.gtid_executed").await;
        let gtids = gtids.concat().replace('\n', "");
        eventually("the position passes what was lost", WITHIN, async || {
            let stored = self.shop.checkpoint()?;
            (stored["gtid_set"] == gtids.as_str()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_transaction_that_was_never_acknowledged_and_is_lost_in_a_failover_holds_nothing_up() {
    let mut pair = Pair::open().await;
    let mut evictd = start(&pair.config().options()).await;
    pair.goes_on_first(&evictd).await;
    pair.replicate().await;
    pair.shop.fill(&[KEY]).await;
    let held = hold_a_commit(pair.shop.mysql(), "shop").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        pair.shop.redis.keys().await,
        [KEY],
        "its row is not visible"
    );
    pair.fail_over();
    held.await.unwrap();
    evictd.wait_for_line("changes are lost", WITHIN).await;
    pair.shop.gone(&[KEY], &evictd).await;
    pair.goes_on(&evictd).await;
    pair.position_passes_the_end().await;
    stop(evictd).await;
}

#[tokio::test]
async fn transactions_that_an_asynchronous_replica_lacks_hold_nothing_up_after_a_failover() {
    let mut pair = Pair::open().await;
    let mut evictd = start(&pair.config().options()).await;
    pair.goes_on_first(&evictd).await;
    let keys = ["user:1:profile", "user:2:profile", "user:3:profile"];
    pair.shop.fill(&keys).await;
    pair.shop.redis.signal("STOP");
    // The first is visible and being deleted when Redis freezes; the others are asked about only afterwards.
    for (id, replicated) in [(1, true), (2, false), (3, false)] {
        pair.shop
            .sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        if replicated {
            pair.replicate().await;
        }
    }
    pair.fail_over();
    evictd.wait_for_line("stream broke", WITHIN).await;
    pair.shop.redis.signal("CONT");
    pair.shop.gone(&keys, &evictd).await;
    evictd.wait_for_line("changes are lost", WITHIN).await;
    pair.goes_on(&evictd).await;
    pair.position_passes_the_end().await;
    stop(evictd).await;
}

/// A reader cached a row that evictd never read: nothing in any binlog tells of it.
#[tokio::test]
async fn what_readers_saw_and_an_asynchronous_failover_lost_before_it_was_read_goes_too() {
    let mut pair = Pair::open().await;
    let mut evictd = start(&pair.config().options()).await;
    pair.goes_on_first(&evictd).await;
    pair.replicate().await;
    pair.relay.hold_dumps();
    pair.shop.sql("INSERT INTO users (id) VALUES (1)").await;
    pair.shop.fill(&["user:1:profile"]).await;
    pair.fail_over();
    pair.relay.cut(Cut::All);
    evictd.wait_for_line("stream broke", WITHIN).await;
    pair.relay.release();
    pair.shop.gone(&["user:1:profile"], &evictd).await;
    let line = evictd.wait_for_line("another server is read", WITHIN).await;
    let uuid: Vec<String> = pair.second.rows("SELECT @@server_uuid").await;
    for words in [uuid[0].as_str(), "invalidating everything"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    pair.goes_on(&evictd).await;
    pair.position_passes_the_end().await;
    has_no_gap(&evictd);
    stop(evictd).await;
}

impl Pair {
    /// A change that the first server makes is seen.
    async fn goes_on_first(&self, evictd: &Evictd) {
        self.shop.done(evictd).await;
        self.shop.checkpoint_at_end().await;
    }
}

/// The server is frozen for so long that keys are deleted without knowing; the row becomes visible much later.
#[tokio::test]
async fn what_was_deleted_while_the_server_was_frozen_is_deleted_again_once_its_rows_are_visible() {
    let mut shop = with_user(MysqlOptions::default()).await;
    // The stream outlives it.
    let config = shop.config().redis("settle_after = \"2s\"");
    let mut evictd = config.start().await;
    shop.done(&evictd).await;
    shop.checkpoint_at_end().await;
    shop.fill(&[KEY]).await;
    let held = hold_a_commit(shop.mysql(), "shop").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    shop.mysql_mut().signal("STOP");
    evictd
        .wait_for_line("deleted without waiting", Duration::from_secs(60))
        .await;
    shop.gone(&[KEY], &evictd).await;
    tokio::time::sleep(SETTLE_AFTER + Duration::from_secs(1)).await;
    shop.mysql_mut().signal("CONT");
    assert_eq!(name_of_user(&shop).await, "old");
    // Whoever reads now caches the old row.
    shop.fill(&[KEY]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = shop.checkpoint().unwrap();
    release(shop.mysql()).await;
    held.await.unwrap();
    assert_eq!(name_of_user(&shop).await, "new");
    shop.gone(&[KEY], &evictd).await;
    // A reader that was slow.
    shop.fill(&[KEY]).await;
    shop.gone(&[KEY], &evictd).await;
    let after = shop.checkpoint_at_end().await;
    assert_ne!(before["gtid_set"], after["gtid_set"], "it waited");
    stop(evictd).await;
}
