//! `evictd replay`, which does the daemon's work once more and leaves its checkpoint alone.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::workload::Workload;
use crate::daemon::shop::{Config, Shop, WITHIN, stop};
use crate::support::{EVICTD_PASSWORD, Evictd, Finished, MysqlOptions, shared_aws};

async fn replay(config: &Config, args: &[&str]) -> Finished {
    let args = [&["replay"], args].concat();
    Evictd::finish(&config.options().args(&args), WITHIN).await
}

#[tokio::test]
async fn a_replays_plans_are_byte_identical_to_those_from_files_and_end_by_themselves() {
    for gtid in [true, false] {
        let work = Workload::new(MysqlOptions {
            gtid,
            ..MysqlOptions::default()
        })
        .await;
        let planned = work.plan(&["--format", "json"], &work.files).await;
        let (plans, _) = planned.stdout.trim_end().rsplit_once('\n').unwrap();
        let args = ["--from", &work.begins, "--dry-run", "--format", "json"];
        let replayed = replay(&work.config(), &args).await;
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        assert_eq!(replayed.stdout.trim_end(), plans, "gtid {gtid}");

        // The first file alone, and then one table in both files.
        let second = work.files[1].file_name().unwrap().to_str().unwrap();
        let planned = work.plan(&["--format", "json"], &work.files[..1]).await;
        let (plans, _) = planned.stdout.trim_end().rsplit_once('\n').unwrap();
        let to = format!("{second}:4");
        let replayed = replay(&work.config(), &[&args[..], &["--to", &to]].concat()).await;
        assert_eq!(replayed.stdout.trim_end(), plans, "gtid {gtid}");
        let orders = [&args[..], &["--table", "shop.orders"]].concat();
        let replayed = replay(&work.config(), &orders).await.stdout;
        assert!(
            !replayed.is_empty() && !replayed.contains("shop.users"),
            "{replayed}"
        );
        assert_eq!(work.shop.checkpoint(), None);
    }
}

#[tokio::test]
async fn keys_and_paths_of_a_range_go_again_beside_a_running_daemon_whose_checkpoint_stays_its_own()
{
    let shop = Shop::own(MysqlOptions::default()).await;
    let aws = shared_aws().await;
    let (queue, _) = aws.create_queue_with_dead_letters("replay", 5).await;
    let distribution = aws.create_distribution("replay").await;
    let config = shop.config().rest(&format!(
        "{}paths = [\"/users/{{id}}\"]\n[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"{distribution}\"\n",
        crate::daemon::shop::USERS
    ));
    let options = config.options().envs(aws.env());
    let (file, offset, _) = shop.end().await;
    let from = format!("{file}:{offset}");
    let mut evictd = Evictd::start(&options.clone().args(&["run", "--role", "tail"]));
    evictd.wait_for_line("reading the binlog", WITHIN).await;
    shop.sql("INSERT INTO users (id) VALUES (1), (2)").await;
    shop.done(&evictd).await;
    let before = shop.checkpoint_at_end().await;

    let keys = ["user:1:v1", "user:1:profile", "user:2:profile", "other"];
    let run = async |args: &[&str]| {
        shop.fill(&keys).await;
        aws.sqs()
            .purge_queue()
            .queue_url(&queue)
            .send()
            .await
            .unwrap();
        let args = [&["replay", "--from", &from], args].concat();
        let replayed = Evictd::finish(&options.clone().args(&args), WITHIN).await;
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        let left = shop.redis.keys().await;
        let waiting = aws.queue_depth(&queue).await.0;
        (left.len(), waiting > 0)
    };
    assert_eq!(run(&[]).await, (1, true));
    assert_eq!(run(&["--only", "cache"]).await, (1, false));
    assert_eq!(run(&["--only", "edge"]).await, (4, true));
    assert_eq!(run(&["--table", "*.orders"]).await, (4, false));
    // The range is empty.
    assert_eq!(run(&["--to", &from]).await, (4, false));

    assert_eq!(shop.checkpoint(), Some(before));
    shop.done(&evictd).await;
    let breaks = evictd.lines();
    let breaks = breaks.iter().filter(|line| line.contains("stream broke"));
    assert_eq!(breaks.count(), 0, "{}", evictd.tail());
    stop(evictd).await;

    shop.sql("INSERT INTO users (id) VALUES (3)").await;
    let args = ["replay", "--from", "checkpoint", "--dry-run"];
    let planned = Evictd::finish(&options.args(&args), WITHIN).await;
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    let plans: Vec<&str> = planned.stdout.lines().collect();
    assert!(
        plans.len() == 1 && plans[0].contains("user:3:v1"),
        "{plans:?}"
    );
}

#[tokio::test]
async fn a_time_finds_its_file_and_leaves_out_what_was_committed_before() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let next_second = async || tokio::time::sleep(Duration::from_millis(1_100)).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    next_second().await;
    shop.sql("FLUSH BINARY LOGS; INSERT INTO users (id) VALUES (2)")
        .await;
    let (file, _, _) = shop.end().await;
    next_second().await;
    let since: String = shop
        .mysql()
        .rows("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")
        .await
        .remove(0);
    shop.sql("INSERT INTO users (id) VALUES (3)").await;
    next_second().await;
    shop.sql("FLUSH BINARY LOGS; INSERT INTO users (id) VALUES (4)")
        .await;

    let config = shop.config();
    let replayed = replay(&config, &["--since", &since, "--dry-run"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let ids: Vec<bool> = (1..=4)
        .map(|id| replayed.stdout.contains(&format!("user:{id}:v1")))
        .collect();
    assert_eq!(ids, [false, false, true, true], "{}", replayed.stdout);
    assert!(
        replayed.stderr.contains(&format!("from={file}:4")),
        "{}",
        replayed.stderr
    );
    let long_ago = replay(&config, &["--since", "2001-01-01T00:00:00Z", "--dry-run"]).await;
    assert!(long_ago.stdout.contains("user:1:v1"), "{}", long_ago.stderr);
    assert!(
        long_ago.stderr.contains("oldest binlog file"),
        "{}",
        long_ago.stderr
    );
}

#[tokio::test]
async fn a_time_in_the_second_in_which_a_file_was_begun_may_lie_in_the_file_before() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let config = shop.config();
    let mut conn = shop.mysql().conn().await;
    // The clock of the session that rotates the file is the file's.
    let begin_file_at = async |conn: &mut mysql_async::Conn, at_s: i64| {
        let sql = format!("SET timestamp = {at_s}; FLUSH BINARY LOGS");
        conn.query_drop(sql).await.unwrap();
    };
    let now_s = jiff::Timestamp::now().as_second();
    let begins = [
        now_s + 100,
        now_s + 200,
        now_s + 200,
        now_s + 50,
        now_s + 150,
    ];
    for (id, at_s) in (1..).zip(begins) {
        begin_file_at(&mut conn, at_s).await;
        let insert = format!("INSERT INTO {}.users (id) VALUES ({id})", shop.database);
        conn.query_drop(insert).await.unwrap();
    }
    let since = jiff::Timestamp::from_second(now_s + 200).unwrap();
    let replayed = replay(&config, &["--since", &since.to_string(), "--dry-run"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    // The first of the files begun then is the third, after that of the server's start.
    let from = "from=mysql-bin.000002:4";
    assert!(replayed.stderr.contains(from), "{}", replayed.stderr);
    let since = jiff::Timestamp::from_second(now_s + 140).unwrap();
    let replayed = replay(&config, &["--since", &since.to_string(), "--dry-run"]).await;
    assert!(replayed.stderr.contains(from), "{}", replayed.stderr);
}

#[tokio::test]
async fn a_range_ends_where_it_is_asked_to_and_one_that_is_the_wrong_way_round_is_refused() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let config = shop.config();
    let mut ends = Vec::new();
    for id in 1..=3 {
        ends.push(shop.end().await);
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
    }
    let offset = |end: &(String, u64, String)| format!("{}:{}", end.0, end.1);
    let gtids = |end: &(String, u64, String)| end.2.clone();
    for write in [offset, gtids] {
        shop.fill(&["user:1:v1", "user:2:v1"]).await;
        let [from, to] = [&ends[0], &ends[1]].map(write);
        let replayed = replay(&config, &["--from", &from, "--to", &to]).await;
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        let said = format!("replayed everything up to {to}");
        assert!(replayed.stderr.contains(&said), "{}", replayed.stderr);
        assert_eq!(shop.redis.keys().await, ["user:2:v1"]);
    }
    let [first, last] = [&ends[0], &ends[2]];
    for (from, to) in [(offset(last), offset(first)), (gtids(last), gtids(first))] {
        let refused = replay(&config, &["--from", &from, "--to", &to]).await;
        assert_eq!(refused.code, Some(2), "{from} {to}: {}", refused.stderr);
        let said = "--to lies before --from";
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    // What is there ends before `--to`.
    let beyond = shop.end().await;
    let all = gtids(&beyond);
    let server = all.split(':').next().unwrap();
    for (to, end) in [
        (format!("{server}:1-999999"), all.clone()),
        (format!("{}:999999999", beyond.0), all.clone()),
    ] {
        let replayed = replay(&config, &["--from", &gtids(first), "--to", &to]).await;
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        let said = format!("the binlog ends before --to {to}: replayed everything up to {end}");
        assert!(replayed.stderr.contains(&said), "{}", replayed.stderr);
    }
    // Which transactions are before the offset is not known.
    let args = ["--from", &offset(first), "--to", &gtids(last)];
    let refused = replay(&config, &args).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--to is a GTID set"),
        "{}",
        refused.stderr
    );
    // The event after the GTID.
    let (file, offset, _) = first;
    let sql = format!("SHOW BINLOG EVENTS IN '{file}' FROM {offset} LIMIT 2");
    let events: Vec<mysql_async::Row> = shop.mysql().rows(sql).await;
    let inside: u64 = events[1].get("Pos").unwrap();
    let from = format!("{file}:{inside}");
    for args in [
        &["replay", "--from", &from][..],
        &["checkpoint", "set", &from],
    ] {
        let refused = Evictd::finish(&config.options().args(args), WITHIN).await;
        assert_ne!(refused.code, Some(0), "{args:?}");
        let said = "inside a transaction";
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
        assert!(!refused.stderr.contains("on_gap"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn a_checkpoint_of_a_binlog_that_was_reset_is_a_gap_and_no_empty_range() {
    for gtid in [true, false] {
        let shop = Shop::own(MysqlOptions {
            gtid,
            ..MysqlOptions::default()
        })
        .await;
        let config = shop.config();
        let evictd = config.start().await;
        shop.sql("INSERT INTO users (id) VALUES (1), (2)").await;
        shop.done(&evictd).await;
        let stored = shop.checkpoint_at_end().await;
        stop(evictd).await;
        // The time at which a file was begun is known to the second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        shop.mysql().exec("RESET BINARY LOGS AND GTIDS").await;

        // At first the new file ends before the checkpoint's offset, and later behind it.
        let args = ["--from", "checkpoint"];
        let replayed = replay(&config, &args).await;
        assert_eq!(replayed.code, Some(4), "gtid {gtid}: {}", replayed.stderr);
        let offset = stored["offset"].as_u64().unwrap();
        while shop.end().await.1 <= offset {
            shop.sql("INSERT INTO unrelated (note) VALUES ('x')").await;
        }
        for _ in 0..20 {
            shop.sql("INSERT INTO unrelated (note) VALUES ('x')").await;
        }
        let replayed = replay(&config, &args).await;
        assert_eq!(replayed.code, Some(4), "gtid {gtid}: {}", replayed.stderr);
        assert!(
            replayed.stderr.contains("another file of the same name"),
            "gtid {gtid}: {}",
            replayed.stderr
        );
        assert_eq!(shop.checkpoint(), Some(stored));
    }
}

#[tokio::test]
async fn a_replay_that_is_interrupted_says_where_to_go_on_and_going_on_finishes_it() {
    let mut shop = Shop::own(MysqlOptions::default()).await;
    let (file, offset, _) = shop.end().await;
    // More rows than the stages between binlog and Redis hold.
    let numbers =
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) SELECT";
    for chunk in 0..30 {
        shop.sql(&format!(
            "SET SESSION cte_max_recursion_depth = 10000; \
             INSERT INTO users (id, version) {numbers} {chunk} * 10000 + i, 1 FROM n"
        ))
        .await;
    }
    shop.sql("INSERT INTO users (id) VALUES (9999999)").await;
    shop.fill(&["user:1:profile", "user:9999999:profile"]).await;
    let from = format!("{file}:{offset}");
    let config = shop.config();
    let (_, end, _) = shop.end().await;
    let rest = format!(" --to {file}:{end} --table 'shop.users' --only cache");
    let mut args = vec!["replay", "--from", &from];
    args.extend(rest.split_whitespace().map(|arg| arg.trim_matches('\'')));
    let options = config.options().args(&args);
    let mut evictd = Evictd::start(&options);
    evictd.wait_for_line("reading the binlog", WITHIN).await;
    shop.redis.signal("STOP");
    evictd.signal("INT");
    evictd
        .wait_for_line("finishing what is in flight", WITHIN)
        .await;
    shop.redis.signal("CONT");
    let status = evictd.exit(WITHIN).await;
    assert_eq!(status.code(), Some(1), "{}", evictd.tail());
    let said = evictd
        .wait_for_line("go on with: evictd replay --from ", WITHIN)
        .await;
    let going_on = said.rsplit_once("--from ").unwrap().1.trim();
    let from = going_on.strip_suffix(&rest);
    let from = from.unwrap_or_else(|| panic!("{said}")).to_owned();
    assert!(
        shop.redis
            .keys()
            .await
            .contains(&"user:9999999:profile".to_owned())
    );

    let finished = replay(&config, &["--from", &from]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(shop.redis.keys().await, Vec::<String>::new());
    assert_eq!(shop.checkpoint(), None);

    // On a terminal a bar shows the progress.
    let path = shop.dir.path().join("evictd.toml");
    std::fs::write(&path, config.text()).unwrap();
    let binary = env!("CARGO_BIN_EXE_evictd");
    let command = format!(
        "{binary} replay --from {file}:{offset} --config {}",
        path.display()
    );
    let terminal = tokio::process::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD)
        .env("TERM", "xterm")
        .kill_on_drop(true)
        .output();
    let shown = tokio::time::timeout(WITHIN, terminal)
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{text}");
    assert!(
        text.contains(" left  mysql-bin.") && text.contains(" %  "),
        "{text}"
    );
}

/// The columns are those of now, and the statement that made them so comes after the range.
#[tokio::test]
async fn a_range_that_ends_before_its_columns_changed_invalidates_what_was_read_with_their_names() {
    let shop = Shop::own(MysqlOptions {
        row_metadata: "MINIMAL",
        ..MysqlOptions::default()
    })
    .await;
    shop.sql("CREATE TABLE pairs (a INT, b INT)").await;
    let (file, offset, before) = shop.end().await;
    shop.sql("INSERT INTO pairs VALUES (1, 2)").await;
    let (_, end, after) = shop.end().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.sql("ALTER TABLE pairs DROP COLUMN a, ADD COLUMN c INT AFTER b")
        .await;
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    let rule = "[[rule]]\nname = \"pairs\"\ntables = [\"$db.pairs\"]\nkeys = [\"pair:{b}\"]\n";
    let config = shop
        .config()
        .rest(&format!("{rule}{}", crate::daemon::shop::USERS));
    let offsets = [offset, end].map(|offset| format!("{file}:{offset}"));
    for [from, to] in [offsets, [before, after]] {
        let users = ["user:1:profile", "user:2:profile"];
        shop.fill(&["pair:1", "pair:2", users[0], users[1]]).await;
        let replayed = replay(&config, &["--from", &from, "--to", &to]).await;
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        assert_eq!(
            shop.redis.keys().await,
            users,
            "rows after the range stay: {to}\n{}",
            replayed.stderr
        );
    }
}
