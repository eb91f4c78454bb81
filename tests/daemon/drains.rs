//! Drains as processes: killed, several at once, and with messages that nobody can use.
//!
//! With `EVICTD_TEST_FULL=1` the runs have 100,000 paths and fifty kills.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use evictd::buffer::{Buffer, Sqs};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::shop::stop;
use crate::edge::{aws as edge_aws, quota};
use crate::support::{
    Aws, Evictd, EvictdOptions, FakeCloudFront, FakeSettings, eventually, free_port, scratch,
    shared_aws,
};

const WITHIN: Duration = Duration::from_secs(180);

/// What is asked of the drains.
struct Load {
    paths: u32,
    paths_per_second: u32,
    drains: usize,
    kills: u32,
    /// Of the queue. A third of SQS's own: what a busy machine does not extend in time is received, and paid
    /// for, by two.
    visibility_s: u32,
    /// Whether CloudFront and the drain keep their own times: twenty seconds to the completion, one call a second.
    real_time: bool,
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    billed: usize,
    counted: u64,
    /// Single paths that were accepted again though they changed once.
    paid_twice: usize,
    over_quota: u64,
    invalidations: usize,
    took: Duration,
}

fn full() -> bool {
    std::env::var_os("EVICTD_TEST_FULL").is_some()
}

fn config(dir: &Path, buffer: &str) -> String {
    let dir = dir.display();
    format!(
        "name = \"shop\"\n[source]\nurl = \"mysql://evictd@127.0.0.1:1\"\n\
         [checkpoint]\npath = \"{dir}/shop.checkpoint.json\"\n[redis]\nurl = \"redis://127.0.0.1:1\"\n\
         [buffer]\n{buffer}\n[cloudfront]\nwindow = \"50ms\"\ncalls_per_second = 50\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
         [[rule]]\nname = \"users\"\ntables = [\"shop.users\"]\npaths = [\"/users/{{id}}\"]\n"
    )
}

fn options(config: &str, aws: &Aws, fake: &FakeCloudFront, args: &[&str]) -> EvictdOptions {
    EvictdOptions::run(env!("CARGO_BIN_EXE_evictd"), config)
        .args(args)
        .envs(aws.env())
        .env("AWS_REGION", "us-east-1") // As the queues of tests/edge.
        .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())
}

fn path(n: u32) -> String {
    match n % 3 {
        0 => format!("/products/{n}"),
        1 => format!("/categories/{}/{n}", n % 50),
        _ => format!("/users/{:08x}", n.wrapping_mul(2_654_435_761)),
    }
}

/// What the budget file says, and whether all of it is settled.
fn counted(dir: &TempDir) -> (u64, bool) {
    let text = std::fs::read(dir.path().join("shop.budget.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let main = &json["distributions"]["main"];
    let open = main["open"]
        .as_object()
        .is_some_and(|open| !open.is_empty());
    (main["spent"].as_u64().unwrap(), !open)
}

/// Before it drains, SIGTERM ends it as it ends any process.
async fn end(mut drain: Evictd) {
    drain.wait_for_line("sending buffered paths", WITHIN).await;
    stop(drain).await;
}

async fn run(load: Load) -> Outcome {
    let aws = shared_aws().await;
    let endpoint = aws.endpoint();
    let dir = scratch("drains");
    let mut settings = FakeSettings::default();
    if load.real_time {
        settings.completes_after = Duration::from_secs(20);
        (settings.calls_per_second, settings.burst) = (6.0, 6.0);
    }
    let fake = FakeCloudFront::start(settings).await;
    let visibility = load.visibility_s.to_string();
    let url = edge_aws::queue(&endpoint, "", &[("VisibilityTimeout", &visibility)]).await;
    let queue = Sqs::new(&edge_aws::config(&endpoint).await, url.clone());
    let config = config(
        dir.path(),
        &format!("kind = \"sqs\"\nqueue_url = \"{url}\""),
    );
    let config = match load.real_time {
        true => config.replace("window = \"50ms\"\ncalls_per_second = 50\n", ""),
        false => config,
    };
    let options = options(&config, aws, &fake, &["drain"]);

    let paths: Vec<String> = (0..load.paths).map(path).collect();
    let feeding = {
        let (queue, paths) = (queue.clone(), paths.clone());
        let per_turn = usize::try_from(load.paths_per_second / 10).unwrap();
        tokio::spawn(async move {
            let mut turns = tokio::time::interval(Duration::from_millis(100));
            for turn in paths.chunks(per_turn) {
                turns.tick().await;
                let messages = turn
                    .chunks(25)
                    .flat_map(|part| quota::messages(part.to_vec()));
                queue.send(messages.collect()).await.unwrap();
            }
        })
    };
    let start = Instant::now();
    let mut drains: Vec<Evictd> = (0..load.drains).map(|_| Evictd::start(&options)).collect();
    for _ in 0..load.kills {
        let pause = rand::random_range(500..2_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let victim = &mut drains[rand::random_range(0..load.drains)];
        victim.kill();
        *victim = Evictd::start(&options);
    }
    feeding.await.unwrap();
    eventually("every path reaches the edge", WITHIN, async || {
        fake.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    let took = start.elapsed();
    eventually("the queue is empty", WITHIN, async || {
        (edge_aws::messages_in(&endpoint, &url).await == 0).then_some(())
    })
    .await;
    for drain in drains {
        end(drain).await;
    }
    // What the killed ones left open is settled by the next.
    let last = Evictd::start(&options);
    eventually("the count is settled", WITHIN, async || {
        counted(&dir).1.then_some(())
    })
    .await;
    end(last).await;

    let sent = fake.paths();
    let singles = sent.iter().filter(|(path, _)| !path.ends_with('*'));
    let outcome = Outcome {
        billed: fake.billed(),
        counted: counted(&dir).0,
        paid_twice: singles.map(|(_, times)| times - 1).sum(),
        over_quota: fake.counts().over_quota,
        invalidations: fake.made().len(),
        took,
    };
    println!(
        "{} paths, {} drains, {} kills: {} billed in {} invalidations, {} of them twice; {} counted; \
         {} refused over the quota; {:.1} s",
        load.paths,
        load.drains,
        load.kills,
        outcome.billed,
        outcome.invalidations,
        outcome.paid_twice,
        outcome.counted,
        outcome.over_quota,
        outcome.took.as_secs_f64(),
    );
    assert!(fake.unmatched(&paths).is_empty());
    assert!(
        outcome.paid_twice * 100 <= outcome.billed,
        "under 1 %: {outcome:?}"
    );
    assert!(
        outcome.counted >= u64::try_from(outcome.billed).unwrap(),
        "nothing is paid for unseen: {outcome:?}"
    );
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_is_killed_again_and_again_loses_nothing_and_pays_once() {
    let load = match full() {
        true => Load {
            paths: 100_000,
            paths_per_second: 1_300,
            drains: 1,
            kills: 50,
            visibility_s: 10,
            real_time: false,
        },
        false => Load {
            paths: 8_000,
            paths_per_second: 1_000,
            drains: 1,
            kills: 5,
            visibility_s: 10,
            real_time: false,
        },
    };
    let outcome = run(load).await;
    assert_eq!(outcome.over_quota, 0, "{outcome:?}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_drains_of_one_queue_share_the_quota_the_count_and_the_work_of_a_killed_one() {
    run(match full() {
        true => Load {
            paths: 100_000,
            paths_per_second: 1_300,
            drains: 3,
            kills: 50,
            visibility_s: 10,
            real_time: false,
        },
        false => Load {
            paths: 6_000,
            paths_per_second: 1_000,
            drains: 3,
            kills: 3,
            visibility_s: 10,
            real_time: false,
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_distinct_paths_reaches_the_edge_within_the_quota() {
    let load = match full() {
        true => Load {
            paths: 100_000,
            paths_per_second: 10_000,
            drains: 1,
            kills: 0,
            visibility_s: 10,
            real_time: true,
        },
        false => Load {
            paths: 20_000,
            paths_per_second: 10_000,
            drains: 1,
            kills: 0,
            visibility_s: 10,
            real_time: false,
        },
    };
    let outcome = run(load).await;
    assert_eq!(outcome.over_quota, 0, "{outcome:?}");
    assert_eq!(
        outcome.counted,
        u64::try_from(outcome.billed).unwrap(),
        "{outcome:?}"
    );
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
    end(drain).await;
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
    eventually("two dead letters", WITHIN, async || {
        (aws.queue_depth(&dead).await == (2, 0) && aws.queue_depth(&url).await == (0, 0))
            .then_some(())
    })
    .await;
    let recorded = eventually("both on record", WITHIN, async || {
        let status = Evictd::finish(&with(&["status", "--json"]), WITHIN).await;
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        let letters = status["recent_dead_letters"].as_array().unwrap();
        (status["dead_letters"] == 2).then(|| letters.clone())
    })
    .await;
    let refused = recorded.iter().find(|it| it["reason"] == "invalid-path");
    let refused = refused.unwrap_or_else(|| panic!("{recorded:?}"));
    assert_eq!(refused["paths"], serde_json::json!(["/refused/7"]));
    assert_eq!(refused["distribution"], "main");
    end(drain).await;
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
        done.stdout.contains("left 1 that no evictd wrote"),
        "{}",
        done.stdout
    );
    let drain = Evictd::start(&with(&["drain"]));
    eventually("the mended path reaches the edge", WITHIN, async || {
        fake.paths().contains_key("/refused/7").then_some(())
    })
    .await;
    end(drain).await;
    assert!(fake.paths().contains_key("/fine"));
}
