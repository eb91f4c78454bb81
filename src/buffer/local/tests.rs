use std::time::Duration;

use super::queue::RECEIVE_MAX;
use super::*;
use crate::buffer::{Buffer, Buried, Message, Received, Redriven, RejectedMessage};
use crate::model::CommitTime;

const NOW: Duration = Duration::ZERO;

fn message(path: &str) -> Message {
    Message {
        source: "shop".into(),
        distribution: "main".into(),
        distribution_id: None,
        tenant: None,
        paths: vec![path.to_owned()],
        committed_at: CommitTime::from_micros(1),
    }
}

fn paths(received: &[Received<LocalReceipt>]) -> Vec<String> {
    let mut paths: Vec<_> = received
        .iter()
        .flat_map(|r| r.content.clone().unwrap().paths)
        .collect();
    paths.sort();
    paths
}

async fn new(directory: &tempfile::TempDir) -> Local {
    Local::open(directory.path().join("queue.redb"))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_received_and_not_deleted_is_back_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    buffer
        .send(vec![message("/a"), message("/b")])
        .await
        .unwrap();
    let received = buffer.receive(NOW).await.unwrap();
    assert_eq!(paths(&received), ["/a", "/b"]);
    let b = received
        .iter()
        .find(|r| r.content.as_ref().unwrap().paths == ["/b"])
        .unwrap();
    buffer.delete(&[b.receipt]).await.unwrap();
    drop(buffer);

    let buffer = new(&directory).await;
    assert_eq!(paths(&buffer.receive(NOW).await.unwrap()), ["/a"]);
}

#[tokio::test]
async fn a_file_copied_while_it_is_open_holds_every_message_sent_before() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    buffer.send(vec![message("/a")]).await.unwrap();
    // What a crash leaves: the file as it is, with nobody closing it.
    let crashed = directory.path().join("crashed.redb");
    std::fs::copy(directory.path().join("queue.redb"), &crashed).unwrap();
    let reopened = Local::open(&crashed).await.unwrap();
    assert_eq!(paths(&reopened.receive(NOW).await.unwrap()), ["/a"]);
}

#[tokio::test]
async fn an_id_is_the_same_for_every_delivery_and_never_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory)
        .await
        .with_visibility(Duration::from_millis(20));
    buffer.send(vec![message("/a")]).await.unwrap();
    let first = buffer.receive(NOW).await.unwrap();
    let again = buffer.receive(Duration::from_secs(5)).await.unwrap();
    assert_eq!(first[0].id, again[0].id);
    buffer.delete(&[again[0].receipt]).await.unwrap();
    drop(buffer);

    let buffer = new(&directory).await;
    buffer.send(vec![message("/a")]).await.unwrap();
    let later = buffer.receive(NOW).await.unwrap();
    assert_ne!(first[0].id, later[0].id);
    drop(buffer);

    std::fs::remove_file(directory.path().join("queue.redb")).unwrap();
    let buffer = new(&directory).await;
    buffer.send(vec![message("/a")]).await.unwrap();
    let anew = buffer.receive(NOW).await.unwrap();
    assert_ne!(first[0].id, anew[0].id, "a new file draws a new identity");
}

#[tokio::test]
async fn a_message_wakes_a_waiting_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    let receiver = tokio::spawn({
        let buffer = buffer.clone();
        async move { buffer.receive(Duration::from_secs(60)).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    buffer.send(vec![message("/a")]).await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(10), receiver).await;
    assert_eq!(paths(&received.unwrap().unwrap()), ["/a"]);
}

#[tokio::test]
async fn an_outdated_receipt_extends_nothing_and_still_deletes() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory)
        .await
        .with_visibility(Duration::from_millis(20));
    buffer.send(vec![message("/a")]).await.unwrap();
    let first = buffer.receive(NOW).await.unwrap();
    let second = buffer.receive(Duration::from_secs(5)).await.unwrap();
    let error = buffer
        .extend(&[first[0].receipt, second[0].receipt])
        .await
        .unwrap_err();
    assert_eq!(error.failed, [first[0].receipt]);
    buffer.delete(&[first[0].receipt]).await.unwrap();
    buffer.delete(&[second[0].receipt]).await.unwrap();
    assert!(
        buffer
            .receive(Duration::from_millis(50))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_body_of_a_newer_version_is_handed_over_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    buffer
        .run("send", |store| store.append(&["{\"v\":9}".to_owned()]))
        .await
        .unwrap();
    let received = buffer.receive(NOW).await.unwrap();
    assert_eq!(
        received[0].content,
        Err(super::super::MessageError::NewerVersion { found: 9 })
    );
}

#[tokio::test]
async fn a_missing_directory_a_foreign_file_and_a_second_opener_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no/such/queue.redb");
    let foreign = directory.path().join("notes.txt");
    std::fs::write(
        &foreign,
        "not a database, and longer than a header would be",
    )
    .unwrap();
    let taken = directory.path().join("queue.redb");
    let _holder = Local::open(&taken).await.unwrap();
    for (path, words) in [
        (missing, "make the directory"),
        (foreign, "is not a queue of evictd"),
        (taken, "another process has it open"),
    ] {
        let error = Local::open(&path).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert!(text.contains(&*path.display().to_string()), "{text}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn every_message_comes_out_once() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    let sent: Vec<String> = (0..137).map(|n| format!("/{n:03}")).collect();
    buffer
        .send(sent.iter().map(|path| message(path)).collect())
        .await
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let received = buffer.receive(NOW).await.unwrap();
        if received.is_empty() {
            break;
        }
        assert!(received.len() <= RECEIVE_MAX);
        seen.extend(paths(&received));
    }
    seen.sort();
    assert_eq!(seen, sent);
}

#[tokio::test]
async fn a_dead_letter_is_gone_until_it_is_put_back_under_a_new_id() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    buffer
        .send(vec![message("/a"), message("/b")])
        .await
        .unwrap();
    let letter = |received: &Received<LocalReceipt>, body: &str| RejectedMessage {
        receipt: received.receipt,
        body: body.to_owned(),
        reason: "refused".to_owned(),
        deliveries: received.deliveries,
    };
    let received = buffer.receive(NOW).await.unwrap();
    let [first, second] = received.as_slice() else {
        panic!("{received:?}");
    };
    assert_eq!((first.deliveries, first.order.unwrap().at), (1, 0));
    let buried = buffer.bury(letter(first, &first.body)).await.unwrap();
    assert_eq!(buried, Buried::Moved);
    buffer.bury(letter(second, "hello")).await.unwrap();
    drop(buffer);

    let buffer = new(&directory).await;
    assert!(buffer.receive(NOW).await.unwrap().is_empty());
    let redriven = buffer.redrive().await.unwrap();
    assert_eq!(redriven, Redriven { moved: 1, left: 1 });
    let back = buffer.receive(NOW).await.unwrap();
    assert_eq!(paths(&back), ["/a"]);
    assert_ne!(
        back[0].id, first.id,
        "or the edge would take it for the old one"
    );
    assert_eq!(back[0].order.unwrap().at, 2);
    let again = buffer.redrive().await.unwrap();
    assert_eq!(again, Redriven { moved: 0, left: 1 });
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_counted_for_each_message() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    buffer.send(vec![message("/a")]).await.unwrap();
    for expected in 1..=3 {
        let received = buffer.receive(buffer.visibility() * 2).await.unwrap();
        assert_eq!(received[0].deliveries, expected);
    }
}
