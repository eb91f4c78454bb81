//! The contract of a buffer, crashes, and a process that is killed.

use super::*;

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
        .run("send", |store| store.append(vec!["{\"v\":9}".to_owned()]))
        .await
        .unwrap();
    let received = buffer.receive(NOW).await.unwrap();
    assert_eq!(
        received[0].content,
        Err(crate::buffer::MessageError::NewerVersion { found: 9 })
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
    assert_eq!(first.deliveries, 1);
    let buried = buffer.bury(letter(first, &first.body)).await.unwrap();
    assert_eq!(buried, Buried::Moved);
    buffer.bury(letter(second, "hello")).await.unwrap();
    drop(buffer);

    let buffer = new(&directory).await;
    assert!(buffer.receive(NOW).await.unwrap().is_empty());
    let redriven = buffer.redrive().await.unwrap();
    assert_eq!(
        redriven,
        Redriven {
            moved: 1,
            buried_again: 0,
            left: 1
        }
    );
    let back = buffer.receive(NOW).await.unwrap();
    assert_eq!(paths(&back), ["/a"]);
    assert_ne!(
        back[0].id, first.id,
        "or the edge would take it for the old one"
    );
    let again = buffer.redrive().await.unwrap();
    assert_eq!(
        again,
        Redriven {
            moved: 0,
            buried_again: 0,
            left: 1
        }
    );
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

/// The file that the process that is killed writes to.
const TO_BE_KILLED: &str = "EVICTD_TEST_KILLED_QUEUE";

/// Not a test of its own: what [`a_process_that_is_killed_leaves_a_sound_file`] kills.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(TO_BE_KILLED) else {
        return;
    };
    let buffer = Local::open(Path::new(&path)).await.unwrap();
    for number in 0_u64.. {
        let sent: Vec<Message> = (0..number % 40)
            .map(|n| message(&format!("/{n}/{}", "x".repeat(900))))
            .collect();
        buffer.send(sent).await.unwrap();
        let received = buffer.receive(NOW).await.unwrap();
        let receipts: Vec<LocalReceipt> = received.iter().map(|one| one.receipt).collect();
        buffer.delete(&receipts).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_a_sound_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queue.redb");
    let mut depths = Vec::new();
    for round in 0..12_u64 {
        let this = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new(this)
            .args([
                "--exact",
                "buffer::local::tests::queue::writes_until_it_is_killed",
            ])
            .env(TO_BE_KILLED, &file)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !file.exists() && std::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(60 + round * 37)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let buffer = new(&directory).await;
        assert_eq!(state(&buffer).await.losses, 0);
        depths.push(buffer.depth().await.unwrap());
        let names = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is set aside");
    }
    assert!(depths.iter().any(|depth| *depth > 0), "{depths:?}");
}
