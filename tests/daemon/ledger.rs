//! What is on record: gaps and dead letters.

use redis::AsyncCommands;
use serde_json::Value;

use super::asked::{Asked, strings};
use super::shop::{USERS, WITHIN, start, stop};
use crate::support::eventually;

#[tokio::test]
async fn a_gap_is_on_record_from_its_beginning_to_its_end_and_after_a_restart() {
    let asked = Asked::own().await;
    asked.gapped().await;
    let before = asked.shop.checkpoint().unwrap();
    let evictd = asked.config.start().await;
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    let status = asked
        .status_with("the gap is closed", |status| {
            status["recent_gaps"][0]["done_at"].is_string()
        })
        .await;
    assert_eq!(
        (&status["gaps"], &status["state"]),
        (&1.into(), &"ok".into())
    );
    assert_eq!(status["widenings"]["gap"], 2, "two rules: {status:#}");
    stop(evictd).await;
    let records = asked.records("gaps");
    let events: Vec<_> = records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["begun", "done"]);
    let gap = &records[0];
    assert_eq!(gap["from"]["file"], before["file"]);
    assert_eq!(gap["from"]["offset"], before["offset"]);
    assert_eq!(gap["from"]["gtid"], before["gtid_set"]);
    assert_eq!(gap["to"]["file"], "mysql-bin.000002");
    assert_ne!(gap["to"]["gtid"], before["gtid_set"], "{gap}");
    assert!(strings(gap, "/reason").contains("purged"), "{gap}");

    let evictd = asked.config.start().await;
    let status = asked.status().await;
    assert_eq!(
        (&status["gaps"], &status["widenings"]["gap"]),
        (&1.into(), &Value::Null)
    );
    stop(evictd).await;
    let text = asked.command(&["status"]).await.stdout;
    assert!(text.contains("everything invalidated within"), "{text}");
}

#[tokio::test]
async fn a_kill_while_a_gap_is_invalidated_repeats_all_of_it() {
    let mut asked = Asked::own().await;
    let mut evictd = asked.config.start().await;
    asked.shop.checkpoint_at_end().await;
    let before = std::fs::read(asked.shop.checkpoint_file()).unwrap();
    asked.shop.fill(&["other"]).await;
    // Frozen, so that it meets the gap only once Redis answers no more.
    evictd.signal("STOP");
    asked.lose_changes().await;
    asked.shop.redis.signal("STOP");
    evictd.signal("CONT");
    eventually("the gap is on record", WITHIN, async || {
        (asked.records("gaps").len() == 1).then_some(())
    })
    .await;
    asked
        .status_with("it is under way", |status| {
            let problems = status["problems"].as_array().unwrap();
            problems.iter().any(|problem| problem["part"] == "gap")
        })
        .await;
    evictd.kill();
    let after = std::fs::read(asked.shop.checkpoint_file()).unwrap();
    assert_eq!(after, before, "the checkpoint did not pass");
    asked.shop.redis.signal("CONT");
    asked.forgotten().await;
    asked.shop.fill(&["user:1:profile", "user:2:profile"]).await;
    let evictd = asked.config.start().await;
    asked
        .shop
        .gone(&["user:1:profile", "user:2:profile"], &evictd)
        .await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    asked.shop.checkpoint_at_end().await;
    asked
        .status_with("the gap is closed", |status| status["state"] == "ok")
        .await;
    stop(evictd).await;
    let text = asked.command(&["status"]).await.stdout;
    assert!(text.contains("interrupted, and begun anew"), "{text}");
    let records = asked.records("gaps");
    let events: Vec<_> = records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["begun", "begun", "done"]);
    assert_eq!(records[1]["id"], records[2]["id"]);
}

#[tokio::test]
async fn what_is_filled_again_right_after_a_gap_is_deleted_once_more() {
    let mut asked = Asked::own().await;
    asked.config = asked.config.clone().redis("settle_after = \"3s\"");
    asked.gapped().await;
    let evictd = asked.config.start().await;
    asked.shop.gone(&["user:1:profile"], &evictd).await;
    // A reader that read the row before the gap was met.
    asked.shop.fill(&["user:1:profile"]).await;
    asked.shop.gone(&["user:1:profile"], &evictd).await;
    asked
        .status_with("the gap is closed", |status| {
            status["recent_gaps"][0]["done_at"].is_string()
        })
        .await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_gap_that_halts_is_on_record_once_however_often_it_is_started() {
    let asked = Asked::own().await;
    asked.gapped().await;
    let config = asked.config.clone().source("on_gap = \"halt\"");
    for _ in 0..2 {
        let ended = config.finish().await;
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        assert!(ended.stderr.contains("source.on_gap"), "{}", ended.stderr);
    }
    let records = asked.records("gaps");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["event"], "halted");
    assert_eq!(records[0]["to"], Value::Null);
    let text = asked.command(&["status"]).await.stdout;
    assert!(text.contains("halted; set source.on_gap"), "{text}");
}

#[tokio::test]
async fn a_key_that_redis_refuses_is_a_dead_letter_and_the_rest_of_its_batch_goes_on() {
    let asked = Asked::own().await.with_account().await;
    let options = asked.config.options().env("REDIS_PASSWORD", "any");
    let evictd = start(&options).await;
    let keys = ["user:1:profile", "user:9:profile"];
    asked.shop.fill(&keys).await;
    asked
        .shop
        .sql("INSERT INTO users (id) VALUES (1), (9)")
        .await;
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["user:9:profile"]);
    let status = asked
        .status_with("the letter is counted", |status| {
            status["dead_letters"] == 1
        })
        .await;
    let letter = &status["recent_dead_letters"][0];
    assert_eq!(letter["key"], "user:9:profile");
    assert_eq!(letter["rules"], serde_json::json!(["users"]));
    for field in [
        "/at",
        "/reason",
        "/detail",
        "/remedy",
        "/position/file",
        "/position/gtid",
    ] {
        assert!(
            letter.pointer(field).is_some_and(Value::is_string),
            "{field}: {letter}"
        );
    }
    assert_eq!(status["state"], "ok", "everything else works");
    assert_eq!(asked.records("dead-letters"), std::slice::from_ref(letter));
    let metrics = asked.get("/metrics").await.1;
    let reason = letter["reason"].as_str().unwrap();
    let line = format!("evictd_dead_letters_total{{name=\"shop\",reason=\"{reason}\"}} 1");
    assert!(metrics.contains(&line), "{line}\n{metrics}");
    asked.shop.checkpoint_at_end().await;
    stop(evictd).await;

    let evictd = start(&options).await;
    let text = asked.command(&["status"]).await.stdout;
    for words in [
        "dead letters  1",
        "key user:9:profile",
        "delete the key by hand",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let _: i64 = asked
        .shop
        .redis
        .conn()
        .await
        .del("user:9:profile")
        .await
        .unwrap();
    stop(evictd).await;
}

#[tokio::test]
async fn rows_that_cannot_be_decoded_are_a_dead_letter_and_widen_their_table() {
    let asked = Asked::open().await;
    let evictd = asked.config.start().await;
    // The rule names the column, and fits the table no longer.
    asked
        .shop
        .sql("ALTER TABLE users RENAME COLUMN version TO revision")
        .await;
    asked.shop.done(&evictd).await;
    asked.shop.fill(&["user:9:profile", "other"]).await;
    for id in 1..4 {
        asked.insert(id).await;
    }
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    let status = asked.status().await;
    assert_eq!(status["dead_letters"], 1, "once a minute: {status:#}");
    let letter = &status["recent_dead_letters"][0];
    assert_eq!(letter["reason"], "undecodable");
    assert_eq!(letter["table"], format!("{}.users", asked.shop.database));
    assert_eq!(letter["rules"], serde_json::json!(["users"]));
    assert!(strings(letter, "/detail").contains("version"), "{letter}");
    assert!(
        status["widenings"]["undecodable"].as_u64() >= Some(1),
        "{status:#}"
    );
    stop(evictd).await;
    assert_eq!(asked.records("dead-letters").len(), 1);
}

/// Readers have what the server converts the text to. A key of the stored bytes would be nobody's.
#[tokio::test]
async fn text_that_cannot_be_converted_exactly_widens_its_table_and_no_key_of_its_bytes_is_made() {
    const RULES: &str = "[[rule]]\nname = \"slugs\"\ntables = [\"$db.users\"]\nkeys = [\"slug:{slug}\"]\n\
        [[rule]]\nname = \"orders\"\ntables = [\"$db.orders\"]\nkeys = [\"order:{id}\"]\n";
    let mut asked = Asked::open().await;
    asked
        .shop
        .sql("ALTER TABLE users MODIFY slug VARCHAR(50) CHARACTER SET dec8, MODIFY name VARCHAR(50) CHARACTER SET hp8")
        .await;
    let rest = asked.config.rest.replace(USERS, RULES);
    asked.config = asked.config.rest(&rest);
    let mut evictd = asked.config.start().await;
    let keys = ["slug:tea", "slug:thé", "slug:pot", "order:1"];

    // ASCII is the same in it, and nobody reads the name.
    let deleted = asked.shop.deleted_by(
        &evictd,
        &keys,
        "INSERT INTO users (id, slug, name) VALUES (1, 'tea', 'Zoë')",
    );
    assert_eq!(deleted.await, ["slug:tea"]);
    let widenings = format!(
        "evictd_widenings_total{{name=\"{}\",reason=\"undecodable\"}}",
        asked.shop.database
    );
    assert!(
        !asked
            .get("/metrics")
            .await
            .1
            .contains(&format!("{widenings} 1"))
    );

    let deleted =
        asked
            .shop
            .deleted_by(&evictd, &keys, "UPDATE users SET slug = 'thé' WHERE id = 1");
    assert_eq!(deleted.await, ["slug:tea", "slug:thé", "slug:pot"]);
    evictd
        .wait_for_line("column slug: its text cannot be converted", WITHIN)
        .await;
    let metrics = asked.get("/metrics").await.1;
    assert!(metrics.contains(&format!("{widenings} 1")), "{metrics}");
    let letter = &asked.status().await["recent_dead_letters"][0];
    assert_eq!(letter["rules"], serde_json::json!(["slugs"]), "{letter}");
    stop(evictd).await;
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_holds_nothing_up_and_is_not_silent() {
    let asked = Asked::own().await;
    asked.gapped().await;
    std::fs::remove_file(asked.ledger("gaps")).ok();
    std::os::unix::fs::symlink("/dev/full", asked.ledger("gaps")).unwrap();
    let mut evictd = asked.config.start().await;
    asked.shop.done(&evictd).await;
    assert_eq!(asked.shop.redis.keys().await, ["other"]);
    asked.shop.checkpoint_at_end().await;
    evictd
        .wait_for_line("the ledger cannot be written", WITHIN)
        .await;
    let status = asked
        .status_with("the ledger is in trouble", |status| {
            status["problems"][0]["part"] == "ledger"
        })
        .await;
    assert_eq!(status["state"], "trouble", "{status:#}");
    assert!(strings(&status, "/problems/0/text").contains("No space left"));
    let metrics = asked.get("/metrics").await.1;
    assert!(
        metrics.contains("evictd_ledger_failures_total{name=\"shop\",ledger=\"gaps\"}"),
        "{metrics}"
    );
    std::fs::remove_file(asked.ledger("gaps")).unwrap();
    asked
        .status_with("the ledger is written", |status| status["state"] == "ok")
        .await;
    // What waited behind the first record is written right after it.
    eventually("both records that waited", WITHIN, async || {
        let records = asked.records("gaps");
        let events = records.iter().map(|record| record["event"].clone());
        (events.collect::<Vec<_>>() == ["begun", "done"]).then_some(())
    })
    .await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_ledger_in_no_directory_is_refused_before_anything_is_touched() {
    let asked = Asked::open().await;
    let rest = format!("[ledger]\ndir = \"/nonexistent/evictd\"\n{USERS}");
    let ended = asked.shop.config().rest(&rest).finish().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("ledger.dir"), "{}", ended.stderr);
    assert!(asked.shop.checkpoint().is_none());
}
