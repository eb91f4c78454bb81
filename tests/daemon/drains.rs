//! Drains as processes: stopped, killed, watched, and with messages that nobody can use.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use evictd::buffer::{Buffer, Local, Sqs};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::shop::stop;
use crate::edge::{aws as edge_aws, quota};
use crate::support::{
    Aws, Evictd, EvictdOptions, FakeCloudFront, FakeSettings, eventually, free_port, scratch,
    shared_aws,
};

pub(super) const WITHIN: Duration = Duration::from_secs(180);

pub(super) fn config(dir: &Path, buffer: &str) -> String {
    let dir = dir.display();
    format!(
        "name = \"shop\"\n[source]\nurl = \"mysql://evictd@127.0.0.1:1\"\n\
         [checkpoint]\npath = \"{dir}/shop.checkpoint.json\"\n[redis]\nurl = \"redis://127.0.0.1:1\"\n\
         [buffer]\n{buffer}\n[cloudfront]\nwindow = \"50ms\"\ncalls_per_second = 50\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
         [[rule]]\nname = \"users\"\ntables = [\"shop.users\"]\npaths = [\"/users/{{id}}\"]\n"
    )
}

pub(super) fn options(
    config: &str,
    aws: &Aws,
    fake: &FakeCloudFront,
    args: &[&str],
) -> EvictdOptions {
    EvictdOptions::run(env!("CARGO_BIN_EXE_evictd"), config)
        .args(args)
        .envs(aws.env())
        .env("AWS_REGION", "us-east-1") // As the queues of tests/edge.
        .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())
}

pub(super) fn path(n: u32) -> String {
    match n % 3 {
        0 => format!("/products/{n}"),
        1 => format!("/categories/{}/{n}", n % 50),
        _ => format!("/users/{:08x}", n.wrapping_mul(2_654_435_761)),
    }
}

/// What the budget file says, and whether all of it is settled.
pub(super) fn counted(dir: &TempDir) -> (u64, bool) {
    let text = std::fs::read(dir.path().join("shop.budget.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let main = &json["distributions"]["main"];
    let open = main["open"]
        .as_object()
        .is_some_and(|open| !open.is_empty());
    (main["spent"].as_u64().unwrap(), !open)
}

/// Before it drains, SIGTERM ends it as it ends any process.
pub(super) async fn end(mut drain: Evictd) {
    drain.wait_for_line("sending buffered paths", WITHIN).await;
    stop(drain).await;
}

#[tokio::test]
async fn a_drain_that_is_killed_after_the_acceptance_and_before_the_answer_has_paid_for_its_successor()
 {
    let aws = shared_aws().await;
    let endpoint = aws.endpoint();
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings {
        hang: true,
        ..FakeSettings::default()
    })
    .await;
    let url = edge_aws::queue(&endpoint, "", &[("VisibilityTimeout", "2")]).await;
    let queue = Sqs::new(&edge_aws::config(&endpoint).await, url.clone());
    let config = config(
        dir.path(),
        &format!("kind = \"sqs\"\nqueue_url = \"{url}\""),
    );
    let options = options(&config, aws, &fake, &["drain"]);
    let paths: Vec<String> = (0..100).map(path).collect();
    let messages = paths
        .chunks(10)
        .flat_map(|part| quota::messages(part.to_vec()));
    queue.send(messages.collect()).await.unwrap();
    let mut first = Evictd::start(&options);
    eventually("the edge accepts", WITHIN, async || {
        fake.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    assert_eq!(edge_aws::messages_in(&endpoint, &url).await, 10);
    first.kill();
    fake.change(|settings| settings.hang = false);
    let second = Evictd::start(&options);
    eventually("the queue is empty", WITHIN, async || {
        (edge_aws::messages_in(&endpoint, &url).await == 0).then_some(())
    })
    .await;
    end(second).await;
    assert_eq!((fake.billed(), counted(&dir)), (100, (100, true)));
}

#[tokio::test]
async fn a_damaged_budget_keeps_no_drain_down_and_counts_as_spent() {
    let aws = shared_aws().await;
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let url = edge_aws::queue(&aws.endpoint(), "", &[]).await;
    let buffer = format!("kind = \"sqs\"\nqueue_url = \"{url}\"");
    let config = config(dir.path(), &buffer)
        .replace("id = \"E1\"\n", "id = \"E1\"\nmonthly_path_budget = 1000\n");
    let file = dir.path().join("shop.budget.json");
    std::fs::write(&file, "{\"version\":1,\"distri\0\0\0\0").unwrap();
    let mut drain = Evictd::start(&options(&config, aws, &fake, &["drain"]));
    let line = drain
        .wait_for_line("the budget file is damaged", WITHIN)
        .await;
    assert!(line.contains("shop.budget.json.damaged-1"), "{line}");
    assert!(dir.path().join("shop.budget.json.damaged-1").exists());
    drain.wait_for_line("sending buffered paths", WITHIN).await;
    let status = Evictd::finish(&options(&config, aws, &fake, &["status"]), WITHIN).await;
    assert!(
        status.stdout.contains("main: 1000 paths in 20"),
        "{}",
        status.stdout
    );
    end(drain).await;
}

#[tokio::test]
async fn the_metrics_tell_the_bill_and_when_invalidations_are_complete() {
    let aws = shared_aws().await;
    let endpoint = aws.endpoint();
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let url = edge_aws::queue(&endpoint, "", &[]).await;
    let queue = Sqs::new(&edge_aws::config(&endpoint).await, url.clone());
    let port = free_port();
    let config = config(
        dir.path(),
        &format!("kind = \"sqs\"\nqueue_url = \"{url}\""),
    )
    .replace("id = \"E1\"\n", "id = \"E1\"\nmonthly_path_budget = 1000\n")
        + &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    let drain = Evictd::start(&options(&config, aws, &fake, &["drain"]));
    let paths: Vec<String> = (0..100).map(path).collect();
    queue.send(quota::messages(paths.clone())).await.unwrap();
    let expected = [
        r#"evictd_commit_to_edge_completed_seconds_count{name="shop",distribution="main"} 1"#,
        r#"evictd_edge_paths_total{name="shop",distribution="main"} 100"#,
        r#"evictd_budget_spent_paths{name="shop",distribution="main"} 100"#,
        r#"evictd_budget_left_paths{name="shop",distribution="main"} 900"#,
        r#"evictd_edge_in_progress_paths{name="shop",distribution="main",kind="single"} 0"#,
    ];
    let mut page = String::new();
    let deadline = Instant::now() + WITHIN;
    while !expected.iter().all(|line| page.contains(line)) {
        assert!(Instant::now() < deadline, "{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        page = scrape(port).await;
    }
    assert_eq!(fake.billed(), 100);
    let status = async |args: &[&str]| {
        let args = [&["status"], args].concat();
        Evictd::finish(&options(&config, aws, &fake, &args), WITHIN).await
    };
    let expected = "of 1000 (10 %), 900 left; at this pace ";
    let text = status(&[]).await.stdout;
    let line = text.lines().find(|line| line.contains("budget"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(
        line.contains("main: 100 paths in 20") && line.contains(expected),
        "{line}"
    );
    let json = async || -> serde_json::Value {
        serde_json::from_str(&status(&["--json"]).await.stdout).unwrap()
    };
    let budget = json().await["budgets"][0].clone();
    assert_eq!(
        (&budget["spent"], &budget["left"]),
        (&100.into(), &900.into())
    );
    assert!(budget["forecast"].as_u64().unwrap() >= 100, "{budget}");
    end(drain).await;
    let silent = json().await;
    assert_eq!(silent["state"], "no-daemon");
    assert_eq!(silent["budgets"][0]["spent"], 100, "from disk: {silent}");
}

/// The metrics, or nothing while nobody serves them.
async fn scrape(port: u16) -> String {
    let mut page = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream.read_to_string(&mut page).await.ok();
    }
    page
}

#[tokio::test]
async fn unusable_messages_go_to_the_dead_letter_queue_with_their_reason_and_come_back_when_asked()
{
    let aws = shared_aws().await;
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings {
        refuse: Some("refused".to_owned()),
        ..FakeSettings::default()
    })
    .await;
    let name = format!("letters-{:08x}", rand::random::<u32>());
    let (url, dead) = aws.create_queue_with_dead_letters(&name, 50).await;
    let soon = aws.sqs().set_queue_attributes().queue_url(&url);
    let soon = soon.attributes(QueueAttributeName::VisibilityTimeout, "2");
    soon.send().await.unwrap();
    let buffer = format!("kind = \"sqs\"\nqueue_url = \"{url}\"\nmax_receives = 1");
    let port = free_port();
    let config =
        config(dir.path(), &buffer) + &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    let with = |args: &[&str]| options(&config, aws, &fake, args).env("AWS_REGION", "eu-west-1");
    let body = |path: &str| {
        format!(
            r#"{{"v":1,"source":"shop","distribution":"main","committed_at_us":1763892000000000,"paths":["{path}"]}}"#
        )
    };
    for text in ["hello".to_owned(), body("/refused/7"), body("/fine")] {
        let request = aws.sqs().send_message().queue_url(&url).message_body(text);
        request.send().await.unwrap();
    }
    let drain = Evictd::start(&with(&["drain"]));
    // A path is refused for good only while others are accepted.
    eventually("two dead letters", WITHIN, async || {
        let request = aws.sqs().send_message().queue_url(&url);
        request.message_body(body("/fine")).send().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        (aws.queue_depth(&dead).await == (2, 0)).then_some(())
    })
    .await;
    eventually("the others are sent", WITHIN, async || {
        (aws.queue_depth(&url).await == (0, 0)).then_some(())
    })
    .await;
    let recorded = eventually("both on record", WITHIN, async || {
        let status = Evictd::finish(&with(&["status", "--json"]), WITHIN).await;
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        let letters = status["recent_dead_letters"].as_array().unwrap();
        (status["dead_letters"] == 2).then(|| letters.clone())
    })
    .await;
    let refused = recorded
        .iter()
        .find(|letter| letter["reason"] == "invalid-path");
    let refused = refused.unwrap_or_else(|| panic!("{recorded:?}"));
    assert_eq!(refused["paths"], serde_json::json!(["/refused/7"]));
    assert_eq!(refused["distribution"], "main");
    end(drain).await;
    let status = Evictd::finish(&with(&["status", "--json"]), WITHIN).await;
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(
        status["dead_letters"], 2,
        "on disk, as of a daemon: {status}"
    );
    let letters = aws.sqs().receive_message().queue_url(&dead);
    let letters = letters
        .max_number_of_messages(10)
        .visibility_timeout(0)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All);
    let letters = letters.send().await.unwrap().messages.unwrap();
    let mut reasons: Vec<String> = letters
        .iter()
        .map(|letter| letter.message_attributes.as_ref().unwrap()["evictd-reason"].clone())
        .map(|reason| reason.string_value.unwrap())
        .collect();
    reasons.sort();
    assert!(reasons[0].contains("correct its template"), "{reasons:?}");
    assert!(reasons[1].contains("not one of evictd's"), "{reasons:?}");

    fake.change(|settings| settings.refuse = None);
    let done = Evictd::finish(&with(&["drain", "--redrive"]), WITHIN).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stdout.contains("put back 1 dead letters"),
        "{}",
        done.stdout
    );
    assert!(
        done.stdout.contains("left 1 that evictd did not write"),
        "{}",
        done.stdout
    );
    let drain = Evictd::start(&with(&["drain"]));
    eventually("the mended path reaches the edge", WITHIN, async || {
        fake.paths().contains_key("/refused/7").then_some(())
    })
    .await;
    // Of the daemon, and once it has ended, from disk.
    let only_the_other_is_open = async || {
        let status = Evictd::finish(&with(&["status", "--json"]), WITHIN).await;
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        let letters = status["recent_dead_letters"].as_array().unwrap();
        let [letter] = letters.as_slice() else {
            panic!("the one that was put back is done: {letters:?}");
        };
        assert_eq!(letter["reason"], "malformed");
        assert_eq!(status["dead_letters_put_back"], 1);
    };
    only_the_other_is_open().await;
    end(drain).await;
    only_the_other_is_open().await;
    assert!(fake.paths().contains_key("/fine"));
}

#[tokio::test]
async fn dead_letters_that_become_such_again_at_once_are_put_back_once() {
    let aws = shared_aws().await;
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let name = format!("again-{:08x}", rand::random::<u32>());
    let (url, dead) = aws.create_queue_with_dead_letters(&name, 50).await;
    let buffer = format!("kind = \"sqs\"\nqueue_url = \"{url}\"\nmax_receives = 1");
    let config = config(dir.path(), &buffer);
    let with = |args: &[&str]| options(&config, aws, &fake, args).env("AWS_REGION", "eu-west-1");
    for n in 0..3 {
        let body = format!(
            r#"{{"v":1,"source":"shop","distribution":"gone","committed_at_us":1763892000000000,"paths":["/{n}"]}}"#
        );
        let request = aws.sqs().send_message().queue_url(&url).message_body(body);
        request.send().await.unwrap();
    }
    let drain = Evictd::start(&with(&["drain"]));
    let buried = async || {
        eventually("three dead letters", WITHIN, async || {
            (aws.queue_depth(&dead).await.0 + aws.queue_depth(&dead).await.1 == 3).then_some(())
        })
        .await;
    };
    buried().await;
    let began = Instant::now();
    let done = Evictd::finish(&with(&["drain", "--redrive"]), Duration::from_secs(30)).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(began.elapsed() < Duration::from_secs(30));
    let put_back = "put back 3 dead letters";
    assert!(done.stdout.contains(put_back), "{}", done.stdout);
    buried().await;
    end(drain).await;
}

/// A record says to put a message back until somebody has looked for it.
#[tokio::test]
async fn dead_letters_that_went_with_the_buffers_file_are_said_to_be_gone() {
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let file = dir.path().join("queue.redb");
    let buffer = format!("kind = \"local\"\npath = \"{}\"", file.display());
    let config = config(dir.path(), &buffer);
    let run = async |args: &[&str]| {
        let options = options(&config, shared_aws().await, &fake, args);
        Evictd::finish(&options, WITHIN).await.stdout
    };
    let record = r#"{"at":"2026-11-23T01:00:00Z","reason":"invalid-path","detail":"refused","remedy":"run `evictd drain --redrive`","distribution":"main","paths":["/a","/b"],"message":"1"}"#;
    std::fs::write(
        dir.path().join("shop.dead-letters.jsonl"),
        format!("{record}\n"),
    )
    .unwrap();
    drop(Local::open(&file).await.unwrap());
    let before = run(&["status"]).await;
    assert!(before.contains("path /a and 1 more"), "{before}");
    assert!(before.contains("drain --redrive"), "{before}");
    let said = run(&["drain", "--redrive"]).await;
    assert!(said.contains("put back 0 dead letters"), "{said}");
    assert!(
        said.contains("1 more are on record, and not in the buffer"),
        "{said}"
    );
    let after = run(&["status"]).await;
    assert!(
        after.contains("1, of which 1 are not in the buffer any more"),
        "{after}"
    );
    assert!(!after.contains("drain --redrive"), "{after}");
    let again = run(&["drain", "--redrive"]).await;
    assert_eq!(again, "put back 0 dead letters\n");
}

#[tokio::test]
async fn a_drain_that_is_stopped_gives_back_what_it_holds_and_another_goes_on_at_once() {
    let aws = shared_aws().await;
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let name = format!("stopped-{:08x}", rand::random::<u32>());
    let visibility = [(QueueAttributeName::VisibilityTimeout, "3600")];
    let url = aws.create_queue_with(&name, &visibility).await;
    let with = |window: &str| {
        let buffer = format!("kind = \"sqs\"\nqueue_url = \"{url}\"");
        let config = config(dir.path(), &buffer).replace("\"50ms\"", window);
        options(&config, aws, &fake, &["drain"]).env("AWS_REGION", "eu-west-1")
    };
    for n in 0..25 {
        let body = format!(
            r#"{{"v":1,"source":"shop","distribution":"main","committed_at_us":1763892000000000,"paths":["/{n}"]}}"#
        );
        let request = aws.sqs().send_message().queue_url(&url).message_body(body);
        request.send().await.unwrap();
    }
    // It gathers for an hour.
    let mut first = Evictd::start(&with("\"1h\""));
    eventually("it holds every message", WITHIN, async || {
        (aws.queue_depth(&url).await == (0, 25)).then_some(())
    })
    .await;
    first.terminate();
    assert!(first.exit(WITHIN).await.success(), "{}", first.tail());
    assert_eq!(aws.queue_depth(&url).await, (25, 0), "{}", first.tail());
    let lines = first.lines();
    let stopped = lines.iter().find(|line| line.contains("the drain stopped"));
    assert!(stopped.unwrap().contains("given_back=25"), "{lines:?}");
    let second = Evictd::start(&with("\"50ms\""));
    eventually("its successor sends all of them", WITHIN, async || {
        (fake.paths().len() == 25 && aws.queue_depth(&url).await == (0, 0)).then_some(())
    })
    .await;
    end(second).await;
    assert_eq!(fake.billed(), 25);
}

#[tokio::test]
async fn a_drain_whose_queue_is_gone_when_it_stops_says_how_many_messages_come_back_later() {
    let aws = Aws::start().await;
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let url = aws.create_queue("gone").await;
    let buffer = format!("kind = \"sqs\"\nqueue_url = \"{url}\"");
    let config = config(dir.path(), &buffer).replace("\"50ms\"", "\"1h\"");
    let options = options(&config, &aws, &fake, &["drain"]).env("AWS_REGION", "eu-west-1");
    let body = r#"{"v":1,"source":"shop","distribution":"main","committed_at_us":1763892000000000,"paths":["/a"]}"#;
    let request = aws.sqs().send_message().queue_url(&url).message_body(body);
    request.send().await.unwrap();
    let mut drain = Evictd::start(&options);
    eventually("it holds the message", WITHIN, async || {
        (aws.queue_depth(&url).await == (0, 1)).then_some(())
    })
    .await;
    let mut aws = aws;
    aws.stop().await;
    drain.terminate();
    assert!(drain.exit(WITHIN).await.success(), "{}", drain.tail());
    let lines = drain.lines();
    let said = |words: &str| lines.iter().any(|line| line.contains(words));
    assert!(
        said("come back after their visibility timeout"),
        "{lines:?}"
    );
    assert!(said("given_back=0 left=1"), "{lines:?}");
}

#[tokio::test]
async fn a_successor_whose_first_looks_fail_asks_again_before_it_pays_again() {
    let aws = shared_aws().await;
    let endpoint = aws.endpoint();
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings {
        hang: true,
        ..FakeSettings::default()
    })
    .await;
    let url = edge_aws::queue(&endpoint, "", &[("VisibilityTimeout", "2")]).await;
    let queue = Sqs::new(&edge_aws::config(&endpoint).await, url.clone());
    let config = config(
        dir.path(),
        &format!("kind = \"sqs\"\nqueue_url = \"{url}\""),
    );
    let options = options(&config, aws, &fake, &["drain"]);
    let paths: Vec<String> = (0..100).map(path).collect();
    queue.send(quota::messages(paths.clone())).await.unwrap();
    let mut first = Evictd::start(&options);
    eventually("the edge accepts", WITHIN, async || {
        fake.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    first.kill();
    // Another change in the same window: the successor's batch is another one.
    let late = vec!["/late".to_owned()];
    queue.send(quota::messages(late.clone())).await.unwrap();
    fake.change(|settings| {
        settings.hang = false;
        settings.failing_looks = 3;
    });
    let second = Evictd::start(&options);
    eventually("the queue is empty", WITHIN, async || {
        (edge_aws::messages_in(&endpoint, &url).await == 0).then_some(())
    })
    .await;
    end(second).await;
    assert_eq!(fake.counts().failed, 3);
    assert_eq!((fake.billed(), counted(&dir)), (101, (101, true)));
}

#[tokio::test]
async fn an_invalidation_that_does_not_complete_is_reported_once() {
    let aws = shared_aws().await;
    let endpoint = aws.endpoint();
    let dir = scratch("drains");
    let fake = FakeCloudFront::start(FakeSettings {
        completes_after: Duration::from_secs(3_600),
        ..FakeSettings::default()
    })
    .await;
    let url = edge_aws::queue(&endpoint, "", &[]).await;
    let queue = Sqs::new(&edge_aws::config(&endpoint).await, url.clone());
    let port = free_port();
    let config = config(
        dir.path(),
        &format!("kind = \"sqs\"\nqueue_url = \"{url}\""),
    )
    .replace("[cloudfront]\n", "[cloudfront]\noverdue_after = \"2s\"\n")
        + &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    queue
        .send(quota::messages(vec!["/a".to_owned()]))
        .await
        .unwrap();
    let mut drain = Evictd::start(&options(&config, aws, &fake, &["drain"]));
    let line = drain.wait_for_line("does not complete", WITHIN).await;
    let id = &fake.made()[0].id;
    assert!(
        line.contains(id.as_str()) && line.contains("after=2s"),
        "{line}"
    );
    assert!(fake.made()[0].at.elapsed() >= Duration::from_secs(2));
    let looks = fake.counts().looks;
    eventually("it looks on", WITHIN, async || {
        (fake.counts().looks > looks + 3).then_some(())
    })
    .await;
    let page = scrape(port).await;
    let overdue = r#"evictd_edge_overdue_total{name="shop",distribution="main"} 1"#;
    assert!(page.contains(overdue), "{page}");
    let lines = drain.lines();
    let reports = lines
        .iter()
        .filter(|line| line.contains("does not complete"));
    assert_eq!(reports.count(), 1);
    end(drain).await;
}
