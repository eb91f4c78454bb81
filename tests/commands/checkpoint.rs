//! `evictd checkpoint`, with and without a running daemon.

use serde_json::Value;

use crate::daemon::shop::{Shop, WITHIN, start, stop};
use crate::support::{Evictd, Finished, MysqlOptions};

async fn checkpoint(shop: &Shop, args: &[&str]) -> Finished {
    let args = [&["checkpoint"], args].concat();
    Evictd::finish(&shop.config().options().args(&args), WITHIN).await
}

#[tokio::test]
async fn the_position_is_shown_with_its_age_and_whether_a_daemon_uses_it() {
    let shop = Shop::open().await;
    let none = checkpoint(&shop, &["show"]).await;
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("there is none yet"), "{}", none.stderr);

    let evictd = shop.config().start().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.done(&evictd).await;
    let shown = checkpoint(&shop, &["show", "--format", "json"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["in_use"], true);
    stop(evictd).await;

    let stored = shop.checkpoint().unwrap();
    let shown = checkpoint(&shop, &["show", "--format", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["stored"], stored);
    assert!(shown["age_s"].is_u64(), "{shown}");
    assert_eq!(shown["in_use"], false);
    let text = checkpoint(&shop, &["show"]).await.stdout;
    for expected in [
        format!("{}:{}", stored["file"].as_str().unwrap(), stored["offset"]),
        stored["gtid_set"].as_str().unwrap().to_owned(),
        stored["server_uuid"].as_str().unwrap().to_owned(),
        " s ago".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected}\n{text}");
    }
}

/// As after a switch-over, where the lock of the evictd that leads is at the old server.
#[tokio::test]
async fn a_checkpoint_that_another_process_has_is_for_the_service_manager_to_try_again() {
    let shop = Shop::open().await;
    let lock_file = format!("{}.lock", shop.checkpoint_file().display());
    for has_position in [false, true] {
        assert_eq!(shop.checkpoint().is_some(), has_position);
        let lock = std::fs::File::create(&lock_file).unwrap();
        lock.lock().unwrap();
        std::fs::write(&lock_file, "17\n").unwrap();
        let second = Evictd::finish(&shop.config().options(), WITHIN).await;
        assert_eq!(second.code, Some(3), "{}", second.stderr);
        let said = "in use by process 17; it is free once that evictd ends";
        assert!(second.stderr.contains(said), "{}", second.stderr);
        drop(lock);
        let evictd = start(&shop.config().options()).await;
        shop.done(&evictd).await;
        shop.checkpoint_at_end().await;
        stop(evictd).await;
    }
}

#[tokio::test]
async fn a_running_daemon_keeps_its_checkpoint_to_itself() {
    let shop = Shop::open().await;
    let evictd = shop.config().start().await;
    let before = shop.checkpoint();
    let holder = format!("in use by process {}", evictd.pid());
    for args in [&["set", "current"][..], &["clear"]] {
        let refused = checkpoint(&shop, args).await;
        assert_eq!(refused.code, Some(2), "{args:?}");
        assert!(refused.stderr.contains(&holder), "{}", refused.stderr);
    }
    // It is neither set nor removed; commits of other tests may move it on.
    let after = shop.checkpoint().unwrap();
    assert_eq!(after["epoch"], before.unwrap()["epoch"]);
    // A daemon of the same name would stand by; one of another name is refused for good.
    let mut other = shop.config().options();
    let name = format!("name = \"{}\"", shop.database);
    other.config = other.config.replacen(&name, "name = \"other\"", 1);
    let second = Evictd::finish(&other, WITHIN).await;
    assert_eq!(second.code, Some(2));
    assert!(
        second.stderr.contains("called \"other\""),
        "{}",
        second.stderr
    );

    // However the daemon ended, nothing has to be cleaned up.
    let mut evictd = evictd;
    evictd.kill();
    let evictd = start(&shop.config().options()).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_position_that_the_server_has_is_stored_and_read_from() {
    for gtid in [true, false] {
        let shop = Shop::own(MysqlOptions {
            gtid,
            ..MysqlOptions::default()
        })
        .await;
        let (file, offset, gtids) = shop.end().await;
        shop.sql("INSERT INTO users (id) VALUES (1)").await;
        shop.fill(&["user:1:v1"]).await;
        let position = if gtid {
            gtids.clone()
        } else {
            format!("{file}:{offset}")
        };
        let set = checkpoint(&shop, &["set", &position]).await;
        assert_eq!(set.code, Some(0), "{}", set.stderr);
        assert!(set.stdout.contains(&position), "{}", set.stdout);
        let evictd = shop.config().start().await;
        shop.gone(&["user:1:v1"], &evictd).await;
        stop(evictd).await;

        let cleared = checkpoint(&shop, &["clear"]).await;
        assert_eq!(cleared.code, Some(0), "{}", cleared.stderr);
        assert_eq!(shop.checkpoint(), None);
        let again = checkpoint(&shop, &["clear"]).await;
        assert!(again.stdout.contains("there was none"), "{}", again.stdout);
    }
}

#[tokio::test]
async fn a_position_that_the_server_does_not_have_is_refused_and_the_old_one_stays() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let set = checkpoint(&shop, &["set", "current"]).await;
    assert_eq!(set.code, Some(0), "{}", set.stderr);
    let before = shop.checkpoint();
    assert!(before.is_some());
    let (file, offset, _) = shop.end().await;
    for (position, expected) in [
        ("mysql-bin.999999:4".to_owned(), "no such file"),
        (format!("{file}:{}", offset + 1_000), "the file ends at"),
        (format!("{file}:{}", offset - 3), "no event begins there"),
        (
            "00000000-0000-0000-0000-000000000001:1-5".to_owned(),
            "never executed",
        ),
        ("checkpoint".to_owned(), "cannot be set to itself"),
        ("nonsense".to_owned(), "is not a position"),
    ] {
        let refused = checkpoint(&shop, &["set", &position]).await;
        assert_eq!(refused.code, Some(2), "{position}: {}", refused.stdout);
        assert!(
            refused.stderr.contains(expected),
            "{position}: {}",
            refused.stderr
        );
        assert_eq!(shop.checkpoint(), before, "{position}");
    }
}
