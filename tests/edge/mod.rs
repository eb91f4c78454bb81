//! The buffer, the edge and the drain between them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

pub mod aws;
mod contract;
mod cost;
mod hostile;
pub mod items;
pub mod quota;
mod scripted;
mod set_back;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evictd::buffer::{Buffer, Local, Message, Recipient, Sqs, pack};
use evictd::drain::{Drain, DrainOptions};
use evictd::edge::budget::Budget;
use evictd::edge::{CloudFront, Edge, EdgeErrorKind, InvalidationBatch, Scope};
use evictd::model::CommitTime;
use tokio_util::sync::CancellationToken;

pub use contract::{message, recipient};

#[tokio::test]
async fn the_local_queue_keeps_the_buffers_contract() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = Local::open(directory.path().join("queue.redb"))
        .await
        .unwrap();
    contract::check(&buffer.with_visibility(Duration::from_secs(2))).await;
}

/// A standard queue keeps the buffer's contract.
pub async fn sqs_contract(endpoint: &str) {
    let buffer = Sqs::new(
        &aws::config(endpoint).await,
        aws::queue(endpoint, "", &[("VisibilityTimeout", "2")]).await,
    );
    let settings = buffer.check().await.unwrap();
    assert_eq!(settings.visibility, Duration::from_secs(2));
    assert!(!settings.fifo && !settings.has_dead_letter_queue);
    contract::check(&buffer).await;
}

/// A FIFO queue keeps it too: equal messages are not dropped, and none waits
/// for another.
pub async fn fifo_contract(endpoint: &str) {
    let attributes = [("FifoQueue", "true"), ("VisibilityTimeout", "2")];
    let url = aws::queue(endpoint, ".fifo", &attributes).await;
    let buffer = Sqs::new(&aws::config(endpoint).await, url);
    assert!(buffer.check().await.unwrap().fifo);
    contract::check(&buffer).await;
}

/// Requests of 1 MiB, and every printable character in a path.
pub async fn sqs_limits(endpoint: &str) {
    let url = aws::queue(endpoint, "", &[]).await;
    let buffer = Sqs::new(&aws::config(endpoint).await, url);
    let odd: String = (' '..='~')
        .chain("\u{7f}\u{1}äü€😀\u{ffff}".chars())
        .collect();
    let paths = (0..60_000)
        .map(|n| format!("/shop/products/category-{n:07}/slug-of-{n:07}"))
        .chain([odd]);
    let at = CommitTime::from_micros(1);
    let sent = pack(&recipient(None), paths, at);
    assert!(sent.len() > 20, "more than two requests");
    buffer.send(sent.clone()).await.unwrap();
    let mut received: Vec<Message> = Vec::new();
    while received.len() < sent.len() {
        let some = buffer.receive(Duration::from_secs(2)).await.unwrap();
        assert!(
            !some.is_empty(),
            "{} of {} came",
            received.len(),
            sent.len()
        );
        received.extend(some.into_iter().map(|one| one.content.unwrap()));
    }
    let by_first_path = |message: &Message| message.paths[0].clone();
    received.sort_by_key(by_first_path);
    let mut sent = sent;
    sent.sort_by_key(by_first_path);
    assert_eq!(received, sent);
}

/// What start-up finds wrong with a queue.
pub async fn sqs_check(endpoint: &str) {
    let config = aws::config(endpoint).await;
    let dead = aws::queue(endpoint, "-dead", &[]).await;
    let name = dead.rsplit('/').next().unwrap();
    let redrive = format!(
        r#"{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:{name}","maxReceiveCount":"3"}}"#
    );
    let live = aws::queue(endpoint, "", &[("RedrivePolicy", &redrive)]).await;
    let settings = Sqs::new(&config, live).check().await.unwrap();
    assert!(settings.has_dead_letter_queue);
    assert_eq!(settings.visibility, Duration::from_secs(30));

    let blind = aws::queue(endpoint, "", &[("VisibilityTimeout", "0")]).await;
    let small = aws::queue(endpoint, "", &[("MaximumMessageSize", "1024")]).await;
    let missing = format!("{dead}-not-there");
    for (url, words) in [
        (blind, "visibility timeout is 0"),
        (small, "at most 1024 bytes"),
        (missing, "check queue_url"),
    ] {
        let error = Sqs::new(&config, url.clone()).check().await.unwrap_err();
        assert!(!error.is_transient());
        let text = error.to_string();
        assert!(text.contains(words) && text.contains(&url), "{text}");
    }
}

/// The caller reference's contract, and the errors CloudFront has for it.
pub async fn cloudfront_contract(endpoint: &str) {
    let edge = CloudFront::new(&aws::config(endpoint).await);
    let distribution: Arc<str> = aws::distribution(endpoint).await.into();
    let batch = InvalidationBatch {
        scope: Scope::of(&distribution),
        caller_reference: "evictd-1".to_owned(),
        paths: vec![
            "/a?b=c&d=e".to_owned(),
            "/b%20c".to_owned(),
            "/d/*".to_owned(),
        ],
    };
    edge.check(&distribution).await.unwrap();
    let first = edge.invalidate(&batch).await.unwrap();
    assert!(!first.id.is_empty());
    assert_eq!(
        edge.invalidate(&batch).await.unwrap(),
        first,
        "repeated, not made twice"
    );
    assert_eq!(
        aws::invalidated(endpoint, &distribution).await,
        vec![batch.paths.clone()]
    );

    let other = InvalidationBatch {
        paths: vec!["/other".to_owned()],
        ..batch.clone()
    };
    let error = edge.invalidate(&other).await.unwrap_err();
    assert!(
        matches!(error.kind, EdgeErrorKind::ReferenceTaken { .. }),
        "{error}"
    );

    let nowhere: Arc<str> = "ENOTTHERE".into();
    let missing = InvalidationBatch {
        scope: Scope::of(&nowhere),
        ..batch
    };
    for error in [
        edge.invalidate(&missing).await.unwrap_err(),
        edge.check(&nowhere).await.unwrap_err(),
    ] {
        assert!(
            matches!(error.kind, EdgeErrorKind::NoSuchDistribution),
            "{error}"
        );
    }
}

/// The whole way, with the real SDK at both ends.
pub async fn drain_from_sqs_to_cloudfront(endpoint: &str) {
    let config = aws::config(endpoint).await;
    let buffer = Arc::new(Sqs::new(&config, aws::queue(endpoint, "", &[]).await));
    let distribution = aws::distribution(endpoint).await;
    let paths: Vec<String> = (0..2_900).map(|n| format!("/products/{n:05}")).collect();
    let at = CommitTime::from_micros(1);
    let to = Recipient {
        distribution_id: Some(distribution.as_str().into()),
        ..recipient(None)
    };
    buffer.send(pack(&to, paths.clone(), at)).await.unwrap();
    buffer
        .send(vec![
            message("main", "/products/00007"),
            message("unheard-of", "/x"),
        ])
        .await
        .unwrap();

    let options = DrainOptions {
        source: "shop".into(),
        last_sent: None,
        window: Duration::from_millis(500),
        grace: Duration::from_secs(10),
        distributions: [("main".into(), distribution.as_str().into())].into(),
        calls_per_second: 50.0,
        max_receives: 5,
        overdue_after: Duration::from_secs(900),
        budget_exempt: Default::default(),
    };
    let shutdown = CancellationToken::new();
    let edge = Arc::new(CloudFront::new(&config));
    let budget = Arc::new(Budget::in_memory(BTreeMap::new()));
    let drain = Drain::new(Arc::clone(&buffer), edge, budget, options).run(shutdown.clone());
    let drain = tokio::spawn(drain);
    let mut made = Vec::new();
    for _ in 0..100 {
        made = aws::invalidated(endpoint, &distribution).await;
        if made.iter().map(Vec::len).sum::<usize>() >= paths.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    shutdown.cancel();
    let stopped = drain.await.unwrap();
    assert_eq!((stopped.given_back, stopped.left), (0, 0));
    assert!(made.iter().all(|batch| batch.len() <= 3_000));
    let mut made = made.concat();
    made.sort();
    made.dedup();
    assert_eq!(made, paths);
    assert_eq!(
        aws::messages_in(endpoint, buffer.url()).await,
        1,
        "the unknown one stays"
    );
}

#[tokio::test]
async fn cloudfronts_errors_reach_the_drain_as_what_they_mean() {
    for (status, code, name) in [
        (
            400,
            "TooManyInvalidationsInProgress",
            "too-many-in-progress",
        ),
        (413, "BatchTooLarge", "too-large"),
        (400, "InvalidArgument", "invalid-path"),
        (400, "InvalidationBatchAlreadyExists", "reference-taken"),
        (403, "AccessDenied", "denied"),
        (403, "InvalidClientTokenId", "credentials"),
        (403, "ExpiredToken", "credentials"),
        (404, "NoSuchDistribution", "no-such-distribution"),
        (400, "Throttling", "throttled"),
        (503, "ServiceUnavailable", "unavailable"),
        (408, "RequestTimeout", "unavailable"),
        (400, "RequestAborted", "unavailable"),
        (400, "MalformedXML", "refused"),
        (400, "SomethingNew", "unknown"),
    ] {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>words</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        );
        let server = scripted::start(move |_| (status, "text/xml", body.clone())).await;
        let edge = CloudFront::new(&aws::config(&server).await);
        let batch = InvalidationBatch {
            scope: Scope::of(&"E1".into()),
            caller_reference: "evictd-1".to_owned(),
            paths: vec!["/a".to_owned()],
        };
        let error = edge.invalidate(&batch).await.unwrap_err();
        assert_eq!(error.name(), name, "{error}");
    }
}

#[tokio::test]
async fn an_edge_that_nobody_listens_at_is_unavailable_and_says_why() {
    let edge = CloudFront::new(&aws::config("http://127.0.0.1:1").await);
    let error = edge.check(&"E1".into()).await.unwrap_err();
    assert_eq!(error.name(), "unavailable");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn only_the_messages_sqs_did_not_accept_come_back() {
    let server = scripted::start(|request| {
        let answer = if request.contains("/deny") {
            return (400, "application/x-amz-json-1.0", r#"{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"no identity-based policy allows it"}"#.to_owned());
        } else if request.contains("/silence") {
            "{}"
        } else {
            r#"{"Successful":[{"Id":"0","MessageId":"m0","MD5OfMessageBody":"x"}],
                "Failed":[{"Id":"1","Code":"InternalError","SenderFault":false,"Message":"later"},
                          {"Id":"2","Code":"InvalidMessageContents","SenderFault":true,"Message":"never"}]}"#
        };
        (200, "application/x-amz-json-1.0", answer.to_owned())
    })
    .await;
    let queue = format!("{server}/000000000000/q");
    let buffer = Sqs::new(&aws::config(&server).await, queue.clone());
    let messages: Vec<_> = ["/a", "/b", "/c"].map(|path| message("main", path)).into();
    let error = buffer.send(messages.clone()).await.unwrap_err();
    assert_eq!(error.unaccepted, messages[1..2]);
    assert_eq!(error.refused, messages[2..]);
    let text = error.to_string();
    assert!(
        text.contains(&queue) && text.contains("InternalError"),
        "{text}"
    );

    let error = buffer
        .send(vec![message("main", "/deny")])
        .await
        .unwrap_err();
    assert_eq!(error.unaccepted.len(), 1);
    let text = error.to_string();
    assert!(text.contains("allow sqs:SendMessage"), "{text}");

    let silence = vec![message("main", "/silence")];
    let error = buffer.send(silence.clone()).await.unwrap_err();
    assert_eq!(
        error.unaccepted, silence,
        "not accepted unless the answer says so"
    );
}

#[tokio::test]
async fn a_queue_that_hangs_is_reported_within_seconds() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let buffer = Sqs::new(&aws::config(&url).await, format!("{url}/000000000000/q"));
    let asked_at = std::time::Instant::now();
    let error = buffer.send(vec![message("main", "/a")]).await.unwrap_err();
    assert!(asked_at.elapsed() < Duration::from_secs(15), "{error}");
    assert!(error.cause.is_transient(), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_no_missing_right_at_the_queue() {
    let server = scripted::start(|_| {
        let answer = r#"{"__type":"com.amazonaws.sqs#InvalidSignatureException","message":"Signature expired: 20200101T000000Z is now earlier than"}"#;
        let head = "application/x-amz-json-1.0\r\ndate: Wed, 01 Jan 2020 00:20:00 GMT";
        (403, head, answer.to_owned())
    })
    .await;
    let buffer = Sqs::new(
        &aws::config(&server).await,
        format!("{server}/000000000000/q"),
    );
    let error = buffer.send(vec![message("main", "/a")]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("that of AWS 2020-01-01T00:20:00Z"), "{text}");
    assert!(text.contains("this machine's clock says"), "{text}");
}
