//! `lua/fill.lua`: an entry is stored unless the guard knows a newer version of its row.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{AsyncCommands, Commands, RedisError};

use super::{FILL, RAISE};
use crate::support::{Redis, RedisCluster, RedisOptions};

const GUARD: &str = "user:7:guard";
const ENTRY: &str = "user:7:profile";
const ENTRY_TTL_MS: u64 = 60_000;
const GUARD_TTL_MS: u64 = 3_600_000;

fn fill(version: &str, value: &str) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(FILL).arg(2).arg(GUARD).arg(ENTRY);
    command
        .arg(version)
        .arg(value)
        .arg(ENTRY_TTL_MS)
        .arg(GUARD_TTL_MS);
    command
}

fn raise(version: &str) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(RAISE).arg(1).arg(GUARD);
    command.arg(version).arg(GUARD_TTL_MS);
    command
}

#[tokio::test]
async fn an_entry_is_stored_unless_the_guard_is_above_its_version() {
    let redis = Redis::start(RedisOptions::default()).await;
    let mut conn = redis.conn().await;
    // The guard before, the version of the fill, whether it is stored, the guard afterwards.
    let cases = [
        (None, "0", true, "0"),
        (None, "7", true, "7"),
        (Some("0"), "0", true, "0"),
        (Some("7"), "7", true, "7"),
        (Some("7"), "8", true, "8"),
        (Some("8"), "7", false, "8"),
        (Some("1"), "0", false, "1"),
        // Longer is larger, whatever the digits.
        (Some("9"), "10", true, "10"),
        (Some("10"), "9", false, "10"),
        (Some("99"), "100", true, "100"),
        // Two numbers that are one as a double.
        (
            Some("9007199254740993"),
            "9007199254740992",
            false,
            "9007199254740993",
        ),
        (
            Some("9007199254740992"),
            "9007199254740993",
            true,
            "9007199254740993",
        ),
        // The largest BIGINT UNSIGNED, and one beyond it.
        (
            Some("18446744073709551615"),
            "18446744073709551614",
            false,
            "18446744073709551615",
        ),
        (
            Some("18446744073709551615"),
            "18446744073709551616",
            true,
            "18446744073709551616",
        ),
    ];
    for (before, version, stored, after) in cases {
        let case = format!("guard {before:?}, version {version}");
        let _: () = redis::cmd("FLUSHALL").query_async(&mut conn).await.unwrap();
        if let Some(before) = before {
            let _: () = conn.set(GUARD, before).await.unwrap();
        }
        let reply: i64 = fill(version, "new").query_async(&mut conn).await.unwrap();
        let entry: Option<String> = conn.get(ENTRY).await.unwrap();
        let guard: String = conn.get(GUARD).await.unwrap();
        assert_eq!(reply, i64::from(stored), "{case}");
        assert_eq!(entry.as_deref(), stored.then_some("new"), "{case}");
        assert_eq!(guard, after, "{case}");
    }
}

#[tokio::test]
async fn a_refused_fill_leaves_the_entry_and_its_time_to_live_alone() {
    let redis = Redis::start(RedisOptions::default()).await;
    let mut conn = redis.conn().await;
    let stored: i64 = fill("8", "new").query_async(&mut conn).await.unwrap();
    let refused: i64 = fill("7", "old").query_async(&mut conn).await.unwrap();
    assert_eq!((stored, refused), (1, 0));
    let entry: String = conn.get(ENTRY).await.unwrap();
    assert_eq!(entry, "new");
}

#[tokio::test]
async fn only_a_raised_guard_gets_the_fills_time_to_live() {
    let redis = Redis::start(RedisOptions::default()).await;
    let mut conn = redis.conn().await;
    let hour_ms = i64::try_from(GUARD_TTL_MS).unwrap();
    let day_ms = 24 * hour_ms;
    // Two lives that no slow machine can mix up.
    for (version, raised) in [("6", false), ("7", false), ("8", true)] {
        let _: () = conn
            .pset_ex(GUARD, "7", u64::try_from(day_ms).unwrap())
            .await
            .unwrap();
        let _: i64 = fill(version, "x").query_async(&mut conn).await.unwrap();
        let left: i64 = conn.pttl(GUARD).await.unwrap();
        assert_eq!(left <= hour_ms, raised, "version {version}: {left} ms left");
        assert!(left > hour_ms / 2, "version {version}: {left} ms left");
    }
    let entry: i64 = conn.pttl(ENTRY).await.unwrap();
    assert!(
        (1..=60_000).contains(&entry),
        "the entry has {entry} ms left"
    );
}

#[tokio::test]
async fn what_is_no_version_and_no_time_to_live_is_an_error_and_writes_nothing() {
    let redis = Redis::start(RedisOptions::default()).await;
    let mut conn = redis.conn().await;
    let good = |version: &str| vec![version.to_owned(), "x".into(), "1000".into(), "1000".into()];
    let mut cases: Vec<(Vec<String>, &str)> = [
        "", "-1", "+1", "01", "00", "1.0", "1e3", " 1", "1 ", "1\n", "0x1", "NULL", "nan", "inf",
        "１",
    ]
    .into_iter()
    .map(|version| (good(version), "the version must be"))
    .collect();
    for ttl in [
        "0",
        "-1",
        "1.5",
        "",
        "day",
        "01",
        "9999999999999999999",
        "1000000000000000",
    ] {
        for place in [2, 3] {
            let mut arguments = good("1");
            arguments[place] = ttl.to_owned();
            cases.push((arguments, "a ttl must be"));
        }
    }
    cases.push((good("1")[..3].to_vec(), "takes 2 keys"));
    cases.push(([good("1"), good("1")].concat(), "takes 2 keys"));
    for (arguments, reason) in cases {
        let reply: Result<i64, RedisError> = redis::cmd("EVAL")
            .arg(FILL)
            .arg(2)
            .arg(GUARD)
            .arg(ENTRY)
            .arg(&arguments)
            .query_async(&mut conn)
            .await;
        let error = reply.unwrap_err().to_string();
        assert!(error.contains(reason), "{arguments:?}: {error}");
        assert_eq!(redis.keys().await, [""; 0], "{arguments:?}");
    }
    let same: Result<i64, RedisError> = redis::cmd("EVAL")
        .arg(FILL)
        .arg(2)
        .arg(GUARD)
        .arg(GUARD)
        .arg(good("1"))
        .query_async(&mut conn)
        .await;
    assert!(same.unwrap_err().to_string().contains("two keys"));
}

#[tokio::test]
async fn a_guard_that_is_none_is_an_error_and_writes_nothing() {
    let redis = Redis::start(RedisOptions::default()).await;
    let mut conn = redis.conn().await;
    for not_a_version in ["", "-1", "007", "v7", "7 "] {
        let _: () = conn.set(GUARD, not_a_version).await.unwrap();
        let reply: Result<i64, RedisError> = fill("8", "x").query_async(&mut conn).await;
        let error = reply.unwrap_err().to_string();
        assert!(error.contains("does not hold a version"), "{error}");
        let guard: String = conn.get(GUARD).await.unwrap();
        assert_eq!(
            (guard.as_str(), redis.keys().await.len()),
            (not_a_version, 1)
        );
    }
    let _: () = conn.del(GUARD).await.unwrap();
    let _: () = conn.rpush(GUARD, "8").await.unwrap();
    let reply: Result<i64, RedisError> = fill("8", "x").query_async(&mut conn).await;
    assert_eq!(reply.unwrap_err().code(), Some("WRONGTYPE"));
    assert_eq!(redis.keys().await, [GUARD]);
}

#[tokio::test]
async fn in_a_cluster_guard_and_entry_share_a_slot_by_their_hash_tag() {
    let cluster = RedisCluster::start().await;
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let mut conn = client.get_async_connection().await.unwrap();
    let mut nodes = std::collections::BTreeSet::new();
    for id in 0..20 {
        let (guard, entry) = (
            format!("user:{{{id}}}:guard"),
            format!("user:{{{id}}}:profile"),
        );
        for (version, stored) in [("8", 1), ("7", 0)] {
            let reply: i64 = redis::cmd("EVAL")
                .arg(FILL)
                .arg(&[b"2", guard.as_bytes(), entry.as_bytes()])
                .arg(&[version, version, "60000", "60000"])
                .query_async(&mut conn)
                .await
                .unwrap();
            assert_eq!(reply, stored, "{guard} {version}");
        }
        let value: String = conn.get(&entry).await.unwrap();
        assert_eq!(value, "8");
        let slot: u16 = redis::cmd("CLUSTER")
            .arg("KEYSLOT")
            .arg(&guard)
            .query_async(&mut cluster.nodes[0].conn().await)
            .await
            .unwrap();
        nodes.insert(slot / 5_462);
    }
    assert_eq!(nodes.len(), 3, "the keys are on every primary");

    let reply: Result<i64, RedisError> = fill("8", "x").query_async(&mut conn).await;
    let error = reply.unwrap_err().to_string();
    assert!(
        error.to_lowercase().contains("slot"),
        "without a tag the keys have different slots: {error}"
    );
}

/// What happens to one row's keys, one command at a time.
#[derive(Clone, Debug)]
enum Step {
    /// evictd raises the guard; the deletion that belongs to it is a step of its own, later.
    Raise(u64),
    /// A reader fills what it read, however long ago.
    Fill(u64),
    /// evictd deletes the entry.
    Delete,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few versions that collide often, and the borders where text, doubles and integers disagree.
    let version = prop_oneof![
        4 => 0_u64..12,
        1 => 98_u64..102,
        1 => (1_u64 << 53) - 2..(1_u64 << 53) + 3,
        1 => u64::MAX - 3..=u64::MAX,
    ];
    let step = prop_oneof![
        3 => version.clone().prop_map(Step::Raise),
        4 => version.prop_map(Step::Fill),
        2 => Just(Step::Delete),
    ];
    prop::collection::vec(step, 0..30)
}

/// Whatever the order of raises, fills and deletions.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_stored_is_never_below_the_guard() {
    let redis = Redis::start(RedisOptions::default()).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let law = move || {
        let conn = RefCell::new(client.get_connection().unwrap());
        let mut runner = TestRunner::new(Config {
            cases: 300,
            failure_persistence: None,
            ..Config::default()
        });
        runner.run(&steps(), |steps| {
            let mut conn = conn.borrow_mut();
            let conn = &mut *conn;
            redis::cmd("FLUSHALL").exec(conn).unwrap();
            let mut newest = None;
            for step in steps {
                match step {
                    Step::Raise(version) => {
                        raise(&version.to_string()).exec(conn).unwrap();
                        newest = newest.max(Some(version));
                    }
                    Step::Fill(version) => {
                        let text = version.to_string();
                        let stored: bool = fill(&text, &text).query(conn).unwrap();
                        prop_assert_eq!(stored, newest <= Some(version));
                        newest = newest.max(Some(version));
                        if stored {
                            let entry: u64 = conn.get(ENTRY).unwrap();
                            prop_assert_eq!(entry, version);
                        }
                    }
                    Step::Delete => {
                        let _: () = conn.del(ENTRY).unwrap();
                    }
                }
                let guard: Option<u64> = conn.get(GUARD).unwrap();
                prop_assert_eq!(guard, newest);
            }
            // evictd deletes after it raised: whatever comes late is not below the guard.
            let _: () = conn.del(ENTRY).unwrap();
            for late in 0..12_u64 {
                let text = late.to_string();
                let _: bool = fill(&text, &text).query(conn).unwrap();
                let entry: Option<u64> = conn.get(ENTRY).unwrap();
                let guard: Option<u64> = conn.get(GUARD).unwrap();
                prop_assert!(entry.is_none() || entry >= guard, "{entry:?} {guard:?}");
            }
            Ok(())
        })
    };
    let outcome = tokio::task::spawn_blocking(law).await.unwrap();
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
