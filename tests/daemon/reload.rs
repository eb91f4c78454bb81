//! SIGHUP: what is taken over, what is refused, and that nothing is lost at the switch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use redis::AsyncCommands;

use super::asked::exchange;
use super::metrics::{scrape, value};
use super::shop::{Config, Shop, USERS, WITHIN, start, stop};
use crate::support::{
    EVICTD_PASSWORD, Evictd, FakeCloudFront, FakeSettings, MysqlOptions, Redis, RedisOptions,
    eventually, free_port, shared_aws,
};

const IN_USE: &str = "loaded again and is in use";
const REFUSED: &str = "the configuration was not loaded again";

/// How often a line with these words was logged.
fn logged(evictd: &Evictd, words: &str) -> usize {
    evictd
        .lines()
        .iter()
        .filter(|line| line.contains(words))
        .count()
}

/// Replaces the file, sends SIGHUP, and waits until the log says `words` once more.
async fn reload(evictd: &mut Evictd, config: &str, words: &str) -> String {
    let before = logged(evictd, words);
    evictd.rewrite(config);
    evictd.signal("HUP");
    eventually(words, WITHIN, async || {
        (logged(evictd, words) > before).then_some(())
    })
    .await;
    let lines = evictd.lines();
    let found = lines.iter().rev().find(|line| line.contains(words));
    found.unwrap().clone()
}

/// A rule for `users` besides those of the configuration.
fn rule(name: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\ntables = [\"$db.users\"]\nkeys = [\"{name}:{{id}}\"]\n")
}

fn with(config: &Config, more: &str) -> String {
    let mut config = config.clone();
    config.rest.push_str(more);
    config.text()
}

/// A user who was inserted, and how many reloads had been reported before that began.
struct Inserted {
    id: usize,
    reloads: usize,
}

#[tokio::test]
async fn rules_reloaded_under_load_lose_nothing() {
    const WRITERS: usize = 4;
    const RELOADS: usize = 5;
    let shop = Shop::open().await;
    let config = shop.config();
    let mut evictd = config.start().await;
    let reported = Arc::new(AtomicUsize::new(0));
    let ids = Arc::new(AtomicUsize::new(1));
    let over = tokio_util::sync::CancellationToken::new();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (reported, ids, over) = (Arc::clone(&reported), Arc::clone(&ids), over.clone());
        let mut mysql = shop.mysql().conn().await;
        mysql
            .query_drop(format!("USE {}", shop.database))
            .await
            .unwrap();
        let mut redis = shop.redis.conn().await;
        writers.spawn(async move {
            let mut inserted = Vec::new();
            while !over.is_cancelled() {
                let first = ids.fetch_add(3, Ordering::Relaxed);
                let users = first..first + 3;
                let keys = users.clone().flat_map(|id| {
                    let added = (1..=RELOADS).map(move |number| format!("added{number}:{id}"));
                    added.chain([format!("user:{id}:profile")])
                });
                let keys: Vec<(String, &str)> = keys.map(|key| (key, "x")).collect();
                let _: () = redis.mset(&keys).await.unwrap();
                let reloads = reported.load(Ordering::SeqCst);
                let rows: Vec<String> = users.clone().map(|id| format!("({id})")).collect();
                let insert = format!("INSERT INTO users (id) VALUES {}", rows.join(", "));
                mysql.query_drop(insert).await.unwrap();
                inserted.extend(users.map(|id| Inserted { id, reloads }));
            }
            inserted
        });
    }
    let mut rules = String::new();
    for number in 1..=RELOADS {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rules.push_str(&rule(&format!("added{number}")));
        reload(&mut evictd, &with(&config, &rules), IN_USE).await;
        reported.store(number, Ordering::SeqCst);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    over.cancel();
    let inserted: Vec<Inserted> = writers.join_all().await.into_iter().flatten().collect();
    shop.done(&evictd).await;
    let left: std::collections::HashSet<String> = shop.redis.keys().await.into_iter().collect();
    let (mut after, mut before) = (0, 0);
    for user in &inserted {
        let profile = format!("user:{}:profile", user.id);
        assert!(
            !left.contains(&profile),
            "the old rule's {profile} stays\n{}",
            evictd.tail()
        );
        for number in 1..=RELOADS {
            let key = format!("added{number}:{}", user.id);
            match (number <= user.reloads, left.contains(&key)) {
                (true, true) => panic!("{key} stays, and reload {number} had been reported"),
                (true, false) => after += 1,
                (false, stays) => before += usize::from(stays),
            }
        }
    }
    // Otherwise nothing was committed on either side of a reload.
    assert!(
        after > 100 && before > 100,
        "{after} after, {before} before"
    );
    // A rule that goes takes nothing along.
    reload(&mut evictd, &config.text(), IN_USE).await;
    let kept = shop
        .deleted_by(
            &evictd,
            &["added1:0", "user:0:profile"],
            "INSERT INTO users (id) VALUES (0)",
        )
        .await;
    assert_eq!(kept, ["user:0:profile"]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_new_rules_table_is_learnt_and_its_guards_are_spared() {
    let shop = Shop::open().await;
    let config = shop.config();
    let mut evictd = config.start().await;
    // Read once while no rule is about it.
    shop.sql("INSERT INTO orders (id, user_id) VALUES (1, 7)")
        .await;
    shop.done(&evictd).await;
    let more = "[[rule]]\nname = \"orders\"\ntables = [\"$db.orders\"]\nversion = \"version\"\n\
        keys = [\"order:{id}\"]\nguard = { key = \"order:{id}:guard\", ttl = \"1d\" }\n\
        table_wide = { keys = [\"order:*\"] }\n";
    reload(&mut evictd, &with(&config, more), IN_USE).await;
    let deleted = shop
        .deleted_by(
            &evictd,
            &["order:1"],
            "UPDATE orders SET total = 2, version = 2 WHERE id = 1",
        )
        .await;
    assert_eq!(deleted, ["order:1"]);
    let mut conn = shop.redis.conn().await;
    let guard: Option<String> = conn.get("order:1:guard").await.unwrap();
    assert_eq!(guard.as_deref(), Some("2"));
    let deleted = shop
        .deleted_by(&evictd, &["order:2"], "TRUNCATE TABLE orders")
        .await;
    assert_eq!(deleted, ["order:2"]);
    let guard: Option<String> = conn.get("order:1:guard").await.unwrap();
    assert_eq!(guard.as_deref(), Some("2"), "a guard is spared");
    stop(evictd).await;
}

#[tokio::test]
async fn what_was_prepared_before_a_reload_and_is_committed_after_it_counts_for_the_new_rules() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let config = shop.config();
    let mut evictd = config.start().await;
    let mut conn = shop.mysql().conn().await;
    let xid = format!("'{}-reload'", shop.database);
    for sql in [
        format!("USE {}", shop.database),
        format!("XA START {xid}"),
        "INSERT INTO orders (id, user_id) VALUES (1, 7)".to_owned(),
        format!("XA END {xid}"),
        format!("XA PREPARE {xid}"),
    ] {
        conn.query_drop(sql).await.unwrap();
    }
    shop.done(&evictd).await;
    let more = "[[rule]]\nname = \"orders\"\ntables = [\"$db.orders\"]\nkeys = [\"order:{id}\"]\n";
    reload(&mut evictd, &with(&config, more), IN_USE).await;
    shop.fill(&["order:1"]).await;
    conn.query_drop(format!("XA COMMIT {xid}")).await.unwrap();
    shop.gone(&["order:1"], &evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn what_is_refused_leaves_everything_as_it_was_and_is_said_everywhere() {
    let shop = Shop::open().await;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = shop
        .config()
        .rest(&format!("[metrics]\nlisten = \"{listen}\"\n{USERS}"));
    let mut evictd = config.start().await;
    let status = async || -> serde_json::Value {
        let answer = exchange(listen, b"GET /status HTTP/1.1\r\nHost: evictd\r\n\r\n").await;
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let began = status().await;
    assert_eq!(
        began["config_sha256"].as_str().unwrap().len(),
        12,
        "{began:#}"
    );
    let good = with(&config, &rule("added"));
    let name = format!("name = \"{}\"", shop.database);
    let checkpoint = format!("path = \"{}\"", shop.checkpoint_file().display());
    let elsewhere = checkpoint.replace(".checkpoint.json", ".other.json");
    assert_ne!(elsewhere, checkpoint);
    let both = good
        .replace(&name, "name = \"store\"")
        .replace(&checkpoint, &elsewhere);
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases = [
        (format!("{good}\nnope = 1\n"), "unknown field `nope`"),
        (
            good.replace("added:{id}", "added:{nope}"),
            "no column `nope`",
        ),
        (
            good.replace(&name, "name = \"store\""),
            "a restart is needed to change name",
        ),
        (
            good.replace(&checkpoint, &elsewhere),
            "a restart is needed to change checkpoint",
        ),
        (both, "a restart is needed to change name, checkpoint"),
        (String::new(), "missing field"),
        (
            good.replace(&shop.mysql().port().to_string(), &free_port().to_string()),
            "cannot be reached",
        ),
        (good.replace(&shop.redis.url(), &nobody), "does not answer"),
        (
            good.replace(&listen.to_string(), &taken),
            "another process listens there",
        ),
    ];
    for (number, (text, words)) in (1..).zip(cases) {
        assert_ne!(text, good, "{words}");
        let line = reload(&mut evictd, &text, REFUSED).await;
        assert!(line.contains(words), "{words}: {line}");
        let now = status().await;
        assert_eq!(now["config_sha256"], began["config_sha256"]);
        assert_eq!(now["state"], "trouble", "{now:#}");
        let problems = now["problems"].to_string();
        assert!(
            problems.contains("configuration") && problems.contains(&words.replace('"', "\\\"")),
            "{problems}"
        );
        let text = scrape(listen).await;
        assert!(value(&text, "evictd_config_current{") < 0.5, "{text}");
        let refused = value(
            &text,
            &format!(
                "evictd_config_reloads_total{{name=\"{}\",outcome=\"refused\"}}",
                shop.database
            ),
        );
        assert!(
            (refused - f64::from(number)).abs() < 0.5,
            "{number}: {text}"
        );
    }
    let keys = ["added:1", "user:1:profile"];
    let deleted = shop
        .deleted_by(&evictd, &keys, "INSERT INTO users (id) VALUES (1)")
        .await;
    assert_eq!(
        deleted,
        ["user:1:profile"],
        "not even the rule that was right"
    );
    reload(&mut evictd, &good, IN_USE).await;
    let deleted = shop
        .deleted_by(&evictd, &keys, "DELETE FROM users WHERE id = 1")
        .await;
    assert_eq!(deleted, keys);
    let now = status().await;
    assert_eq!(now["state"], "ok", "{now:#}");
    assert_ne!(now["config_sha256"], began["config_sha256"]);
    let text = scrape(listen).await;
    assert!(value(&text, "evictd_config_current{") > 0.5, "{text}");
    assert!(
        value(
            &text,
            &format!(
                "evictd_config_reloads_total{{name=\"{}\",outcome=\"applied\"}}",
                shop.database
            )
        ) > 0.5
    );
    stop(evictd).await;
}

#[tokio::test]
async fn the_log_level_is_taken_over_unless_the_command_line_says() {
    let shop = Shop::open().await;
    let config = shop.config();
    let mut evictd = config.start().await;
    const STORED: &str = "DEBUG checkpoint stored";
    shop.checkpoint_passes_the_end(&evictd).await;
    assert_eq!(logged(&evictd, STORED), 0);
    let loud = with(&config, "[log]\nlevel = \"info,evictd=debug\"\n");
    reload(&mut evictd, &loud, IN_USE).await;
    shop.done(&evictd).await;
    evictd.wait_for_line(STORED, WITHIN).await;
    // Back to what it is without one; what it says last is that.
    let before = logged(&evictd, IN_USE);
    reload(&mut evictd, &config.text(), IN_USE).await;
    assert_eq!(logged(&evictd, IN_USE), before + 1);
    let debug = logged(&evictd, "DEBUG");
    shop.done(&evictd).await;
    shop.checkpoint_passes_the_end(&evictd).await;
    assert_eq!(logged(&evictd, "DEBUG"), debug);
    stop(evictd).await;

    let mut options = config.options();
    options
        .args
        .extend(["--log-level", "info"].map(str::to_owned));
    options.config = loud;
    let mut evictd = super::shop::start(&options).await;
    evictd
        .wait_for_line("log.level has no effect", WITHIN)
        .await;
    shop.done(&evictd).await;
    shop.checkpoint_passes_the_end(&evictd).await;
    assert_eq!(logged(&evictd, "DEBUG"), 0);
    stop(evictd).await;
}

#[tokio::test]
async fn a_dry_run_outlives_a_hangup_and_takes_nothing_over() {
    let shop = Shop::open().await;
    let config = shop.config();
    let options = config.options().args(&["run", "--dry-run"]);
    let mut evictd = super::shop::start(&options).await;
    let line = reload(&mut evictd, &with(&config, &rule("added")), REFUSED).await;
    assert!(line.contains("a dry run keeps"), "{line}");
    shop.sql("INSERT INTO users (id) VALUES (4711)").await;
    evictd.wait_for_line("user:4711:profile", WITHIN).await;
    assert_eq!(logged(&evictd, "added:4711"), 0);
    stop(evictd).await;
}

/// Answers of a daemon that listens there; empty where none does.
async fn answers(listen: SocketAddr) -> bool {
    tokio::net::TcpStream::connect(listen).await.is_ok()
}

#[tokio::test]
async fn every_field_but_the_name_and_the_checkpoint_changes_without_a_restart() {
    let shop = Shop::open().await;
    let other = Redis::start(RedisOptions::default()).await;
    let [before, after] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let ledgers = crate::support::scratch("reload");
    let metrics = |listen| format!("[metrics]\nlisten = \"{listen}\"\nlag_max = \"30s\"\n{USERS}");
    let config = shop.config().rest(&metrics(before));
    let mut evictd = config.start().await;
    let mut conn = other.conn().await;
    let _: () = conn.set("new:user:1:profile", "x").await.unwrap();
    shop.fill(&["user:1:profile"]).await;
    // Another account, heartbeat, replica's id, cache, prefix, wait, listener and ledger at once.
    shop.sql(&format!(
        "CREATE USER second IDENTIFIED BY '{EVICTD_PASSWORD}'; \
         GRANT SELECT, TRIGGER, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO second"
    ))
    .await;
    let mut wanted = config
        .clone()
        .source("heartbeat = \"3s\"\nserver_id = 4711")
        .redis("key_prefix = \"new:\"\nsettle_after = \"300ms\"")
        .rest(&format!(
            "[ledger]\ndir = \"{}\"\n{}",
            ledgers.path().display(),
            metrics(after)
        ));
    wanted.redis_url = other.url();
    wanted.source_url = wanted.source_url.replace("evictd@", "second@");
    reload(&mut evictd, &wanted.text(), IN_USE).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    eventually("the key in the other cache goes", WITHIN, async || {
        let left: bool = conn.exists("new:user:1:profile").await.unwrap();
        (!left).then_some(())
    })
    .await;
    let old = shop.redis.keys().await;
    assert!(old.contains(&"user:1:profile".to_owned()), "{old:?}");
    assert!(answers(after).await && !answers(before).await);
    let mut mysql = shop.mysql().conn().await;
    let users: Vec<String> = mysql
        .query("SELECT DISTINCT user FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
        .await
        .unwrap();
    assert!(users.contains(&"second".to_owned()), "{users:?}");
    stop(evictd).await;
    mysql.query_drop("DROP USER second").await.unwrap();
}

#[tokio::test]
async fn a_reload_pauses_the_reading_for_no_longer_than_what_is_in_flight_takes_to_settle() {
    const SETTLE: Duration = Duration::from_secs(2);
    let shop = Shop::open().await;
    let config = shop.config().redis("settle_after = \"2s\"");
    let mut evictd = config.start().await;
    shop.fill(&["user:1:profile", "user:2:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.gone(&["user:1:profile"], &evictd).await;
    let before = logged(&evictd, IN_USE);
    evictd.rewrite(&with(&config, &rule("added")));
    evictd.signal("HUP");
    let signalled = Instant::now();
    // What is in flight is deleted a second time, however late a reader stores it again.
    tokio::time::sleep(SETTLE / 4).await;
    shop.fill(&["user:1:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    shop.gone(&["user:1:profile", "user:2:profile"], &evictd)
        .await;
    let paused = signalled.elapsed();
    assert_eq!(logged(&evictd, IN_USE), before + 1);
    assert!(paused < SETTLE + Duration::from_secs(3), "{paused:?}");
    stop(evictd).await;
}

#[tokio::test]
async fn a_configuration_whose_files_cannot_be_opened_leaves_the_one_before_in_use() {
    let aws = shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let shop = Shop::open().await;
    let buffer = |path: &std::path::Path| {
        format!(
            "[buffer]\nkind = \"local\"\npath = \"{}\"\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n{USERS}",
            path.display()
        )
    };
    let config = shop
        .config()
        .rest(&buffer(&shop.dir.path().join("paths.redb")));
    let options = config
        .options()
        .envs(aws.env())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    let mut evictd = super::shop::start(&options).await;
    let nowhere = config
        .clone()
        .rest(&buffer(&shop.dir.path().join("none/paths.redb")));
    let line = reload(&mut evictd, &with(&nowhere, &rule("added")), REFUSED).await;
    assert!(line.contains("none/paths.redb"), "{line}");
    let keys = ["added:1", "user:1:profile"];
    let deleted = shop
        .deleted_by(&evictd, &keys, "INSERT INTO users (id) VALUES (1)")
        .await;
    assert_eq!(deleted, ["user:1:profile"]);
    reload(&mut evictd, &with(&config, &rule("added")), IN_USE).await;
    let deleted = shop
        .deleted_by(&evictd, &keys, "DELETE FROM users WHERE id = 1")
        .await;
    assert_eq!(deleted, keys);
    stop(evictd).await;
}

#[tokio::test]
async fn a_standby_takes_over_with_what_it_loaded_while_it_waited() {
    let shop = Shop::open().await;
    let config = shop.config();
    let leader = config.start().await;
    let mut standby = Evictd::start(&config.options());
    standby.wait_for_line("standing by until", WITHIN).await;
    reload(&mut standby, &with(&config, &rule("added")), IN_USE).await;
    let keys = ["added:1", "user:1:profile"];
    let deleted = shop
        .deleted_by(&leader, &keys, "INSERT INTO users (id) VALUES (1)")
        .await;
    assert_eq!(deleted, ["user:1:profile"], "the leader keeps its own");
    stop(leader).await;
    standby.wait_for_line("taking over", WITHIN).await;
    let deleted = shop
        .deleted_by(&standby, &keys, "DELETE FROM users WHERE id = 1")
        .await;
    assert_eq!(deleted, keys);
    stop(standby).await;
}

#[tokio::test]
async fn a_reload_to_another_account_is_answered_though_a_standby_takes_the_lock() {
    let shop = Shop::open().await;
    shop.sql(&format!(
        "CREATE USER third IDENTIFIED BY '{EVICTD_PASSWORD}'; \
         GRANT SELECT, TRIGGER, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO third"
    ))
    .await;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = shop.config();
    let watched = config
        .clone()
        .rest(&format!("[metrics]\nlisten = \"{listen}\"\n{USERS}"));
    let mut leader = watched.start().await;
    let mut standby = Evictd::start(&config.options());
    standby.wait_for_line("standing by until", WITHIN).await;
    let mut wanted = watched.clone();
    wanted.source_url = wanted.source_url.replace("evictd@", "third@");
    reload(&mut leader, &wanted.text(), IN_USE).await;
    // Either has the lock, and the status says which.
    eventually("one leads", WITHIN, async || {
        let leads = value(&scrape(listen).await, "evictd_leader{") > 0.5;
        let other = logged(&standby, "taking over") > 0;
        (leads != other).then_some(())
    })
    .await;
    let deleted = shop
        .deleted_by(
            &leader,
            &["user:1:profile"],
            "INSERT INTO users (id) VALUES (1)",
        )
        .await;
    assert_eq!(deleted, ["user:1:profile"]);
    stop(leader).await;
    stop(standby).await;
    shop.sql("DROP USER third").await;
}

#[tokio::test]
async fn what_settles_when_a_shorter_wait_is_loaded_still_settles_by_the_longer_one() {
    let shop = Shop::open().await;
    let config = shop.config().redis("settle_after = \"22s\"");
    let mut evictd = config.start().await;
    shop.fill(&["user:1:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    let committed = Instant::now();
    shop.gone(&["user:1:profile"], &evictd).await;
    evictd.rewrite(&config.clone().redis("settle_after = \"100ms\"").text());
    evictd.signal("HUP");
    tokio::time::sleep(Duration::from_secs(21).saturating_sub(committed.elapsed())).await;
    shop.fill(&["user:1:profile"]).await;
    shop.gone(&["user:1:profile"], &evictd).await;
    evictd.wait_for_line(IN_USE, WITHIN).await;
    stop(evictd).await;
}

/// What an invalidation covers is told by the sender's numbers: with another sender, what waits from before the reload
/// is paid for besides the wildcard that stands for it.
#[tokio::test]
async fn after_a_reload_the_process_is_the_same_sender() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let queue = aws.create_queue(&shop.database).await;
    let distribution = aws.create_distribution(&shop.database).await;
    let config = shop.config().rest(&format!(
        "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n\
         [cloudfront]\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"{distribution}\"\n\
         [[rule]]\nname = \"pages\"\ntables = [\"$db.users\"]\npaths = [\"/users/{{id}}\"]\n"
    ));
    let options = config.options().envs(aws.env());
    let mut evictd = start(&options.args(&["run", "--role", "tail"])).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    reload(&mut evictd, &with(&config, &rule("more")), IN_USE).await;
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    let mut senders: Vec<(String, u64)> = Vec::new();
    eventually("both messages", WITHIN, async || {
        let received = aws.sqs().receive_message().queue_url(&queue);
        let received = received.max_number_of_messages(10).send().await.unwrap();
        for message in received.messages() {
            let body: serde_json::Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let path = body["paths"][0].as_str().unwrap().to_owned();
            senders.push((path, body["sender"].as_u64().unwrap()));
        }
        (senders.len() == 2).then_some(())
    })
    .await;
    senders.sort();
    assert_eq!((&*senders[0].0, &*senders[1].0), ("/users/1", "/users/2"));
    assert_eq!(senders[0].1, senders[1].1, "{senders:?}");
    stop(evictd).await;
}
