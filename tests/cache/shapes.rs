//! Guards, tag sets, hash fields and messages, in a single server and in a cluster.

use std::time::Duration;

use evictd::cache::{Cache, FoundKeys, MemberRemoval, Redis, ScanPlace, TagKind, TagScan, TagStep};
use evictd::model::{GuardPattern, Guards, PairSet};
use futures_util::StreamExt;
use redis::aio::ConnectionLike;
use redis::{AsyncCommands, Value};

use super::cluster::reached_by;
use super::refusals::{account, as_evictd};
use super::{nothing_refused, set, target};
use crate::support::{Redis as Server, RedisCluster, RedisOptions};

const TTL: Duration = Duration::from_secs(60);

fn raised(guards: &[(&str, u128)]) -> Guards {
    let mut out = Guards::default();
    for (key, version) in guards {
        out.raise(key.as_bytes(), *version, TTL);
    }
    out
}

async fn ask<T: redis::FromRedisValue>(conn: &mut impl ConnectionLike, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(conn).await.unwrap()
}

/// Versions of every length that there is, from 0 to past the largest integer of MySQL.
fn versions() -> Vec<u128> {
    let mut versions = vec![0, 1, 2, 9, 10, 11, 99, 100, 4_294_967_296];
    // Doubles cannot tell these apart.
    versions.extend([9_007_199_254_740_992, 9_007_199_254_740_993]);
    versions.extend([
        u128::from(u64::MAX) - 1,
        u128::from(u64::MAX),
        u128::from(u64::MAX) + 1,
    ]);
    versions
}

#[tokio::test]
async fn a_guard_only_ever_rises_whatever_the_order_and_repetition() {
    let server = Server::start(RedisOptions::default()).await;
    let mut conn = server.conn().await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    let versions = versions();
    let mut highest = None;
    // A walk that goes up and down, and meets most pairs of neighbours in both orders.
    for step in 0..400_usize {
        let version = versions[(step * step + step / 7) % versions.len()];
        redis
            .delete_guarded(&raised(&[("g", version)]), &[])
            .await
            .unwrap();
        highest = highest.max(Some(version));
        let held: String = conn.get("g").await.unwrap();
        assert_eq!(
            Some(held),
            highest.map(|version| version.to_string()),
            "after {version}"
        );
    }
    assert_eq!(highest, versions.last().copied());
    for pair in versions.windows(2) {
        for (first, second) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let _: () = conn.del("g").await.unwrap();
            for version in [first, second, first] {
                redis
                    .delete_guarded(&raised(&[("g", version)]), &[])
                    .await
                    .unwrap();
            }
            let held: String = conn.get("g").await.unwrap();
            assert_eq!(held, pair[1].to_string(), "{first} and {second}");
        }
    }
}

#[tokio::test]
async fn every_raise_prolongs_the_guard_and_goes_before_the_deletions() {
    let server = Server::start(RedisOptions::default()).await;
    let mut conn = server.conn().await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    redis
        .delete_guarded(&raised(&[("g", 7)]), &[])
        .await
        .unwrap();
    let _: () = conn.pexpire("g", 1_000).await.unwrap();
    redis
        .delete_guarded(&raised(&[("g", 3)]), &[])
        .await
        .unwrap();
    let ttl_ms: u64 = conn.pttl("g").await.unwrap();
    assert!((55_000..=60_000).contains(&ttl_ms), "{ttl_ms}");

    // The server forgets scripts, as after a failover: what is sent then is the script itself.
    let _: () = ask(&mut conn, &["SCRIPT", "FLUSH"]).await;
    let _: () = conn.set("entry", "x").await.unwrap();
    let mut monitor = server.client().get_async_monitor().await.unwrap();
    let seen = async {
        let mut seen = Vec::new();
        let mut lines = std::pin::pin!(monitor.on_message::<String>());
        while let Some(line) = lines.next().await {
            let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
            let name = words[0].to_uppercase();
            if matches!(name.as_str(), "EVALSHA" | "EVAL" | "SET" | "UNLINK") {
                seen.push(name.clone());
            }
            if seen.ends_with(&["SET".to_owned(), "UNLINK".to_owned()]) {
                break;
            }
        }
        seen
    };
    let guards = raised(&[("g", 8)]);
    let keys = set(&["entry"]);
    let keys = [&keys];
    let (seen, outcome) = tokio::join!(seen, redis.delete_guarded(&guards, &keys));
    assert_eq!(outcome.unwrap(), nothing_refused(1));
    assert_eq!(seen, ["EVALSHA", "UNLINK", "EVAL", "SET", "UNLINK"]);
    let held: String = conn.get("g").await.unwrap();
    assert_eq!(held, "8");
}

#[tokio::test]
async fn a_guards_key_that_holds_something_else_is_refused_and_the_rest_goes_on() {
    let server = Server::start(RedisOptions::default()).await;
    let mut conn = server.conn().await;
    let mut redis = Redis::new(&target(server.url())).unwrap();
    let _: () = conn.hset("hash", "a", "b").await.unwrap();
    for other in ["text", "007", "-1", "1.5", ""] {
        let _: () = conn.set(format!("other:{other}"), other).await.unwrap();
    }
    let _: () = conn.set("entry", "x").await.unwrap();
    let guards = raised(&[
        ("hash", 1),
        ("other:text", 1),
        ("good", 1),
        ("other:007", 1),
        ("other:-1", 1),
        ("other:1.5", 1),
        ("other:", 1),
    ]);
    let outcome = redis
        .delete_guarded(&guards, &[&set(&["entry"])])
        .await
        .unwrap();
    let refused: Vec<_> = outcome
        .refused
        .iter()
        .map(|refused| {
            (
                String::from_utf8_lossy(&refused.key).into_owned(),
                refused.code,
            )
        })
        .collect();
    let not_a_version = |key: &str| (key.to_owned(), "not-a-version");
    assert_eq!(
        refused,
        [
            ("hash".to_owned(), "wrong-type"),
            not_a_version("other:text"),
            not_a_version("other:007"),
            not_a_version("other:-1"),
            not_a_version("other:1.5"),
            not_a_version("other:"),
        ]
    );
    assert_eq!(outcome.existed, 1);
    let good: String = conn.get("good").await.unwrap();
    assert_eq!(good, "1");
}

#[tokio::test]
async fn a_glob_spares_guards_and_nothing_else_of_their_name() {
    let server = Server::start(RedisOptions::default()).await;
    let mut conn = server.conn().await;
    let pattern = GuardPattern::new(vec![b"user:".to_vec(), b":guard".to_vec()]);
    let mut redis = Redis::new(&target(server.url()))
        .unwrap()
        .sparing(vec![pattern].into());
    let _: () = conn.set("user:8:guard", "an entry").await.unwrap();
    let _: () = conn.set("user:9:guard", "1".repeat(40)).await.unwrap();
    let _: () = conn.hset("user:10:guard", "a", "1").await.unwrap();
    let _: () = conn.set("user:7", "7").await.unwrap();
    redis
        .delete_guarded(&raised(&[("user:7:guard", u128::MAX)]), &[])
        .await
        .unwrap();
    let outcome = redis.delete_matching(b"user:*").await.unwrap();
    assert_eq!(outcome, nothing_refused(4));
    assert_eq!(server.keys().await, ["user:7:guard"]);
}

/// Every member that the steps through one set find, sorted, with how many steps it took.
async fn walk(redis: &mut Redis, key: &str) -> (Vec<String>, usize) {
    let mut at = TagScan {
        key: key.as_bytes(),
        kind: None,
        cursor: 0,
    };
    let mut all = Vec::new();
    for steps in 1.. {
        match redis.scan_tag_sets(&[at]).await.unwrap().remove(0) {
            TagStep::Members {
                kind,
                members,
                next,
            } => {
                all.extend(
                    members
                        .into_iter()
                        .map(|member| String::from_utf8(member).unwrap()),
                );
                (at.kind, at.cursor) = (Some(kind), next);
                if next == 0 {
                    all.sort();
                    all.dedup();
                    return (all, steps);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    unreachable!("the walk ends")
}

async fn tag_sets(mut redis: Redis, conn: &mut impl AsyncCommands) {
    let mut expected: Vec<String> = (0..5_000).map(|n| format!("user:{n}")).collect();
    expected.sort();
    let scored: Vec<(i64, &String)> = expected.iter().map(|member| (-1, member)).collect();
    let _: usize = conn.sadd("set", &expected).await.unwrap();
    let _: usize = conn.zadd_multiple("zset", &scored).await.unwrap();
    let _: () = conn.set("text", "x").await.unwrap();
    for (key, kind) in [("set", TagKind::Set), ("zset", TagKind::SortedSet)] {
        let (found, steps) = walk(&mut redis, key).await;
        assert_eq!(found, expected);
        assert!(steps >= 4, "{steps} steps: it came in one piece");
        let members = expected[1..]
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        let key = key.as_bytes();
        let leaving = [MemberRemoval { key, kind, members }];
        let outcome = redis.remove_members(&leaving).await.unwrap();
        assert_eq!(outcome, nothing_refused(4_999));
    }
    assert_eq!(walk(&mut redis, "zset").await.0, expected[..1]);
    let [text, none] = [&b"text"[..], b"none"].map(|key| TagScan {
        key,
        kind: None,
        cursor: 0,
    });
    let steps = redis.scan_tag_sets(&[none, text]).await.unwrap();
    assert_eq!(steps[0], TagStep::End);
    let TagStep::Refused(refused) = &steps[1] else {
        panic!("{steps:?}")
    };
    assert_eq!(
        (refused.key.as_slice(), refused.code),
        (&b"text"[..], "wrong-type")
    );
}

async fn fields(mut redis: Redis, conn: &mut impl AsyncCommands) {
    let mut fields = PairSet::default();
    for n in 0..3_000 {
        let (field, own) = (n.to_string(), format!("user:{n}"));
        let _: () = conn
            .hset_multiple("users", &[(&field, "x"), (&format!("other{n}"), "x")])
            .await
            .unwrap();
        fields.insert(b"users", field.as_bytes());
        if n % 100 == 0 {
            let _: () = conn.hset(&own, "profile", "x").await.unwrap();
            fields.insert(own.as_bytes(), b"profile");
        }
    }
    let _: () = conn.set("text", "x").await.unwrap();
    fields.insert(b"text", b"a");
    let outcome = redis.delete_fields(&fields).await.unwrap();
    assert_eq!(outcome.existed, 3_030);
    let [refused] = outcome.refused.try_into().unwrap();
    assert_eq!(
        (refused.key.as_slice(), refused.code),
        (&b"text"[..], "wrong-type")
    );
    let left: usize = conn.hlen("users").await.unwrap();
    assert_eq!(left, 3_000, "the others stay");
    let own: bool = conn.exists("user:100").await.unwrap();
    assert!(!own, "a hash without fields is none");
}

#[tokio::test]
async fn tag_sets_and_fields_in_one_server() {
    let server = Server::start(RedisOptions::default()).await;
    let redis = || Redis::new(&target(server.url())).unwrap();
    let mut conn = server.conn().await;
    tag_sets(redis(), &mut conn).await;
    fields(redis(), &mut conn).await;
}

#[tokio::test]
async fn guards_tag_sets_and_fields_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let mut conn = client.get_async_connection().await.unwrap();
    let redis = || reached_by(cluster.urls().remove(0));
    tag_sets(redis(), &mut conn).await;
    fields(redis(), &mut conn).await;

    // A guard and the entries of its row are in one slot, and rows in all slots.
    let keys: Vec<String> = (0..500).map(|n| format!("user:{{{n}}}:v1")).collect();
    cluster.fill(&keys).await;
    let mut guards = Guards::default();
    for n in 0..500_u128 {
        guards.raise(format!("user:{{{n}}}:guard").as_bytes(), n, TTL);
    }
    let mut redis = redis();
    let outcome = redis.delete_guarded(&guards, &[&set(&keys)]).await.unwrap();
    assert!(
        outcome.existed >= 500 && outcome.refused.is_empty(),
        "{outcome:?}"
    );
    for n in [0, 7, 499] {
        let held: String = conn.get(format!("user:{{{n}}}:guard")).await.unwrap();
        assert_eq!(held, n.to_string());
    }
    let gone: usize = conn.exists("user:{7}:v1").await.unwrap();
    assert_eq!(gone, 0);

    // Found by glob on every primary, and told to subscribers of any node.
    let (mut place, mut found) = (Some(ScanPlace::Begin), Vec::new());
    while let Some(from) = place {
        let FoundKeys { keys, next } = redis.find_keys(b"user:*:guard", from).await.unwrap();
        found.extend(keys);
        place = next;
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 500);
    for node in &cluster.nodes {
        let mut subscriber = node.client().get_async_pubsub().await.unwrap();
        subscriber.subscribe("shop").await.unwrap();
        redis.publish("shop", b"{}").await.unwrap();
        let mut messages = subscriber.on_message();
        let message = tokio::time::timeout(Duration::from_secs(30), messages.next()).await;
        let payload: String = message.unwrap().unwrap().get_payload().unwrap();
        assert_eq!(payload, "{}");
    }
    let _: Value = ask(&mut conn, &["GET", "user:{1}:guard"]).await;
}

/// The rights that the manual asks for, and no others.
#[tokio::test]
async fn an_account_needs_what_the_manual_says_and_no_more() {
    let manual = include_str!("../../docs/requirements.md");
    let server = Server::start(RedisOptions::default()).await;
    let mut rights = vec!["~user:*", "&shop"];
    for words in [
        "+ping +unlink +info",
        "+scan",
        "+incr",
        "+eval +evalsha +get +set +pexpire",
        "+getrange",
        "+type +sscan +zscan +srem +zrem",
        "+hdel",
        "+publish",
    ] {
        assert!(manual.contains(&format!("`{words}`")), "{words}");
        rights.extend(words.split(' '));
    }
    account(&server, &rights).await;
    let mut conn = server.conn().await;
    let pattern = GuardPattern::new(vec![b"user:".to_vec(), b":guard".to_vec()]);
    let redis = Redis::new(&as_evictd(&server.url())).unwrap();
    let mut redis = redis.sparing(vec![pattern].into());

    let _: () = conn.set("user:7", "x").await.unwrap();
    let _: () = conn.hset("user:h", "a", "x").await.unwrap();
    let _: () = conn.sadd("user:s", "a").await.unwrap();
    let _: () = conn.zadd("user:z", "a", 1).await.unwrap();
    for version in [4, 6, 5] {
        let guards = raised(&[("user:7:guard", version)]);
        let outcome = redis.delete_guarded(&guards, &[&set(&["user:7"])]).await;
        assert_eq!(outcome.unwrap().refused, []);
    }
    let mut fields = PairSet::default();
    fields.insert(b"user:h", b"a");
    assert_eq!(
        redis.delete_fields(&fields).await.unwrap(),
        nothing_refused(1)
    );
    for (key, kind) in [("user:s", TagKind::Set), ("user:z", TagKind::SortedSet)] {
        assert_eq!(walk(&mut redis, key).await.0, ["a"]);
        let (key, members) = (key.as_bytes(), vec![b"a".to_vec()]);
        let leaving = [MemberRemoval { key, kind, members }];
        assert_eq!(
            redis.remove_members(&leaving).await.unwrap(),
            nothing_refused(1)
        );
    }
    assert_eq!(redis.publish("shop", b"{}").await.unwrap().refused, []);
    assert_eq!(redis.delete_matching(b"user:*").await.unwrap().refused, []);
    assert_eq!(server.keys().await, ["user:7:guard"]);

    // What it may not touch is refused and named; everything else goes on.
    let guards = raised(&[("order:7:guard", 1), ("user:7:guard", 7)]);
    let refused = redis.delete_guarded(&guards, &[]).await.unwrap().refused;
    assert_eq!(
        (refused.len(), refused[0].key.as_slice()),
        (1, &b"order:7:guard"[..])
    );
    let held: String = conn.get("user:7:guard").await.unwrap();
    assert_eq!(held, "7");
    fields.insert(b"order:h", b"a");
    let refused = redis.delete_fields(&fields).await.unwrap().refused;
    assert_eq!((refused.len(), refused[0].code), (1, "no-permission"));
    let refused = redis.publish("other", b"{}").await.unwrap().refused;
    assert_eq!((refused.len(), refused[0].code), (1, "no-permission"));
    let step = TagScan {
        key: b"order:s",
        kind: None,
        cursor: 0,
    };
    let steps = redis.scan_tag_sets(&[step]).await.unwrap();
    assert!(
        matches!(&steps[0], TagStep::Refused(refused) if refused.code == "no-permission"),
        "{steps:?}"
    );
}
