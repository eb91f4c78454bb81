//! A restart comes up with what it ran with before, whatever has happened to tables, accounts and disks since.

use aws_sdk_sqs::types::QueueAttributeName;

use super::metrics::scrape;
use super::shop::{Config, Shop, USERS, WITHIN, start, stop};
use crate::support::{
    Disk, Evictd, EvictdOptions, FakeCloudFront, FakeSettings, MysqlOptions, eventually, free_port,
};

async fn own() -> Shop {
    Shop::own(MysqlOptions::default()).await
}

/// A rule about `orders`, and one whose glob may come to match nothing.
const MORE: &str = "
[[rule]]
name = \"orders\"
tables = [\"$db.orders\"]
keys = [\"order:{id}:{total}\"]
table_wide = { keys = [\"order:*\"] }
[[rule]]
name = \"archive\"
tables = [\"$db.archive_*\"]
keys = [\"archive:{id}\"]
";

/// Runs once and ends, so that a position is stored; then `sql` changes the tables.
async fn ran_before(shop: &Shop, config: &Config, sql: &str) {
    shop.sql("CREATE TABLE archive_1 (id INT PRIMARY KEY)")
        .await;
    let evictd = config.start().await;
    shop.done(&evictd).await;
    shop.checkpoint_at_end().await;
    stop(evictd).await;
    shop.sql(sql).await;
}

async fn get(listen: std::net::SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: evictd\r\n\r\n");
    super::asked::exchange(listen, request.as_bytes()).await
}

#[tokio::test]
async fn a_rule_that_does_not_fit_its_table_any_more_holds_no_restart_up() {
    let shop = own().await;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let metrics = format!("[metrics]\nlisten = \"{listen}\"\n");
    let config = shop.config().rest(&format!("{USERS}{MORE}{metrics}"));
    ran_before(
        &shop,
        &config,
        "DROP TABLE archive_1; ALTER TABLE orders DROP COLUMN total; \
         INSERT INTO orders (id, user_id) VALUES (1, 1)",
    )
    .await;
    let mut evictd = config.start().await;
    // Every other rule works, and what the rule is about widens.
    let deleted = shop
        .deleted_by(
            &evictd,
            &["user:1:profile", "order:7:9", "unrelated"],
            "INSERT INTO users (id) VALUES (1); UPDATE orders SET user_id = 2 WHERE id = 1",
        )
        .await;
    assert_eq!(deleted, ["user:1:profile", "order:7:9"]);
    for words in ["matches no table", "no column `total`"] {
        let line = evictd.wait_for_line(words, WITHIN).await;
        assert!(line.contains("ERROR") && line.contains("SIGHUP"), "{line}");
    }
    let status = get(listen, "/status").await;
    assert!(status.contains("\"state\":\"trouble\""), "{status}");
    for words in [
        "archive_*",
        "no column `total`",
        "correct the rule or the table",
    ] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let metrics = scrape(listen).await;
    let unfit = format!("evictd_rules_unfit{{name=\"{}\"}} 2", shop.database);
    assert!(metrics.contains(&unfit), "{metrics}");

    // Somebody is there who asks for a reload, or begins anew.
    evictd.rewrite(&config.text());
    evictd.signal("HUP");
    let line = evictd
        .wait_for_line("the configuration was not loaded again", WITHIN)
        .await;
    assert!(line.contains("matches no table"), "{line}");
    let mended = config
        .text()
        .replace(":{total}", "")
        .replace("archive_*", "marks");
    evictd.rewrite(&mended);
    evictd.signal("HUP");
    evictd
        .wait_for_line("loaded again and is in use", WITHIN)
        .await;
    eventually("the status is good again", WITHIN, async || {
        let status = get(listen, "/status").await;
        status.contains("\"state\":\"ok\"").then_some(())
    })
    .await;
    stop(evictd).await;

    let check = Evictd::finish(&config.options().args(&["check"]), WITHIN).await;
    assert_eq!(check.code, Some(2), "{}", check.stdout);
    std::fs::remove_file(shop.checkpoint_file()).unwrap();
    let first = config.finish().await;
    assert_eq!(first.code, Some(2), "{}", first.stderr);
}

#[tokio::test]
async fn what_refuses_a_restart_and_did_not_before_is_tried_again_by_the_service_manager() {
    let shop = own().await;
    stop(shop.config().start().await).await;
    // A password that was changed before the file that evictd reads it from.
    let options = shop
        .config()
        .options()
        .env("EVICTD_SOURCE_PASSWORD", "wr0ng");
    let refused = Evictd::finish(&options, WITHIN).await;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("was refused"), "{}", refused.stderr);
    // A secret that is not there yet.
    let options = shop.config().options();
    let missing = options.config.replacen(
        "{ env = \"EVICTD_SOURCE_PASSWORD\" }",
        "{ file = \"/nonexistent/secret\" }",
        1,
    );
    let options = EvictdOptions {
        config: missing,
        ..options
    };
    let refused = Evictd::finish(&options, WITHIN).await;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("/nonexistent/secret"),
        "{}",
        refused.stderr
    );
    // A port that another process has, and a disk that is not mounted yet.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let missing = shop.dir.path().join("missing");
    for (field, words) in [
        (
            format!("[metrics]\nlisten = \"{}\"", taken.local_addr().unwrap()),
            "another process listens there",
        ),
        (
            format!("[ledger]\ndir = \"{}\"", missing.display()),
            "make the directory",
        ),
    ] {
        let config = shop.config().rest(&format!("{USERS}\n{field}"));
        let refused = config.finish().await;
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn a_queue_and_a_distribution_that_are_away_at_the_start_hold_no_deletion_up() {
    let shop = own().await;
    let aws = crate::support::shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    // A poll of a process that is gone may receive the message first.
    let visibility = [(QueueAttributeName::VisibilityTimeout, "2")];
    let queue = aws.create_queue_with(&shop.database, &visibility).await;
    let config = shop.config().redis("settle_after = \"1s\"").rest(&format!(
        "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n[cloudfront]\nwindow = \"100ms\"\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n{USERS}\npaths = [\"/users/{{id}}\"]"
    ));
    let options = config.options().envs(aws.env());
    let there = options
        .clone()
        .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    // Nobody accepts what the system has accepted.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let away = [free_port(), silent_port].map(|port| {
        let services = ["SQS", "CLOUDFRONT"];
        services.iter().fold(options.clone(), |options, service| {
            let endpoint = format!("http://127.0.0.1:{port}");
            options.env(&format!("AWS_ENDPOINT_URL_{service}"), &endpoint)
        })
    });
    let first = Evictd::finish(&away[0], WITHIN).await;
    assert_eq!(
        first.code,
        Some(3),
        "nothing worked before: {}",
        first.stderr
    );
    stop(start(&there).await).await;
    for (id, away) in (1..).zip(&away) {
        let key = format!("user:{id}:profile");
        shop.fill(&[&key]).await;
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
        let mut evictd = start(away).await;
        shop.gone(&[&key], &evictd).await;
        evictd.wait_for_line("paths wait", WITHIN).await;
        evictd.kill();
    }
    let evictd = start(&there).await;
    eventually("the paths are sent", WITHIN, async || {
        let paths = [1, 2].map(|id| format!("/users/{id}"));
        fake.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_holds_no_deletion_up() {
    let shop = own().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let disk = Disk::mount(shop.dir.path(), "6m").await;
    assert!(disk.is_tiny(), "users may not mount a file system here");
    let inside = disk.inside();
    let config = shop
        .config()
        .checkpoint_file(&inside.join("shop.checkpoint.json"))
        .rest(&format!(
            "[buffer]\nkind = \"local\"\npath = \"{}\"\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n{USERS}\npaths = [\"/users/{{id}}\"]",
            inside.join("shop.queue").display()
        ));
    let options = config
        .options()
        .envs(crate::support::shared_aws().await.env())
        .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    let options = disk.on_it(options);
    let at_end = async |shop: &Shop| {
        let (_, _, gtids) = shop.end().await;
        eventually("the position is stored", WITHIN, async || {
            let text = std::fs::read_to_string(disk.path().join("shop.checkpoint.json")).ok()?;
            let stored: serde_json::Value = serde_json::from_str(&text).ok()?;
            (stored["gtid_set"] == gtids.as_str()).then_some(())
        })
        .await;
    };
    let mut evictd = start(&options).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    at_end(&shop).await;
    // As the machine's end does, which leaves a queue that has to be repaired.
    evictd.kill();
    disk.fill();
    shop.fill(&["user:2:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    let evictd = start(&options).await;
    shop.gone(&["user:2:profile"], &evictd).await;
    disk.empty();
    at_end(&shop).await;
    eventually("the path is sent", WITHIN, async || {
        let paths = ["/users/2".to_owned()];
        fake.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_server_that_hangs_at_the_start_is_waited_for_where_a_position_is_stored() {
    let mut shop = own().await;
    stop(shop.config().start().await).await;
    shop.fill(&["user:1:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.redis.signal("STOP");
    let mut evictd = Evictd::start(&shop.config().options());
    let line = evictd.wait_for_line("cannot lead", WITHIN).await;
    assert!(line.contains("Redis at "), "{line}");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(evictd.exited().is_none(), "{}", evictd.tail());
    shop.redis.signal("CONT");
    shop.gone(&["user:1:profile"], &evictd).await;
    stop(evictd).await;

    shop.mysql_mut().signal("STOP");
    let listen = free_port();
    let rest = format!("{USERS}\n[metrics]\nlisten = \"127.0.0.1:{listen}\"\n");
    let mut evictd = Evictd::start(&shop.config().rest(&rest).options());
    evictd
        .wait_for_line("trying again until that works", WITHIN)
        .await;
    assert!(evictd.exited().is_none(), "{}", evictd.tail());
    // It does not say that it is fine.
    let address = ([127, 0, 0, 1], listen).into();
    let status = get(address, "/status").await;
    for words in ["\"state\":\"trouble\"", "MySQL at 127.0.0.1"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    shop.mysql_mut().signal("CONT");
    shop.deleted_by(
        &evictd,
        &["user:2:profile"],
        "INSERT INTO users (id) VALUES (2)",
    )
    .await;
    stop(evictd).await;
}
