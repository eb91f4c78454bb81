//! A file that is new, set back, or of an earlier version.

use super::*;

#[tokio::test]
async fn what_is_written_after_a_file_was_set_back_has_another_place_and_later_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queue.redb");
    let buffer = new(&directory).await;
    buffer.send(vec![message("/first")]).await.unwrap();
    drop(buffer);
    let copy = std::fs::read(&file).unwrap();
    let buffer = new(&directory).await;
    buffer.send(vec![message("/lost")]).await.unwrap();
    let before = all(&buffer).await;
    drop(buffer);

    std::fs::write(&file, copy).unwrap();
    let buffer = new(&directory).await;
    buffer.send(vec![message("/later")]).await.unwrap();
    let after = all(&buffer).await;
    assert_eq!(paths(&after), ["/first", "/later"]);
    // The message of before is the same to everybody.
    assert_eq!(before[0].id, after[0].id);
    let (lost, later) = (place(&before[1]), place(&after[1]));
    assert_ne!(lost.0, later.0);
    assert!(lost.1 < later.1);
}

#[tokio::test]
async fn a_restart_without_a_message_leaves_the_file_where_it_had_come() {
    let directory = tempfile::tempdir().unwrap();
    let buffer = new(&directory).await;
    assert_eq!(state(&buffer).await.mark, None);
    buffer.send(vec![message("/a")]).await.unwrap();
    let first = mark(&buffer).await;
    drop(buffer);
    for _ in 0..3 {
        let buffer = new(&directory).await;
        let state = buffer.continue_from(Some(first.clone())).await;
        let state = state.borrow().clone();
        assert_eq!((state.mark, state.losses), (Some(first.clone()), 0));
    }
    let buffer = new(&directory).await;
    buffer.send(vec![message("/b")]).await.unwrap();
    assert_ne!(mark(&buffer).await, first);
    let state = buffer.continue_from(Some(first)).await;
    assert_eq!(state.borrow().losses, 0);
}

#[tokio::test]
async fn a_file_that_is_new_emptied_or_set_back_has_lost_what_was_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queue.redb");
    let buffer = new(&directory).await;
    buffer.send(vec![message("/a")]).await.unwrap();
    drop(buffer);
    let copy = std::fs::read(&file).unwrap();
    let buffer = new(&directory).await;
    buffer.send(vec![message("/b")]).await.unwrap();
    let stored = mark(&buffer).await;
    drop(buffer);
    let happenings: [&dyn Fn(); 3] = [
        &|| std::fs::remove_file(&file).unwrap(),
        &|| std::fs::write(&file, "").unwrap(),
        &|| std::fs::write(&file, &copy).unwrap(),
    ];
    for happens in happenings {
        happens();
        let buffer = new(&directory).await;
        let state = buffer.continue_from(Some(stored.clone())).await;
        assert_eq!(state.borrow().losses, 1);
        assert!(
            state
                .borrow()
                .reason
                .as_ref()
                .unwrap()
                .contains("queue.redb")
        );
        // It goes on, and the next one goes on from there.
        buffer.send(vec![message("/c")]).await.unwrap();
        let next = mark(&buffer).await;
        drop(buffer);
        let state = new(&directory).await.continue_from(Some(next)).await;
        assert_eq!(state.borrow().losses, 0);
    }
}

/// Makes a file as versions did that had one identity for all openings.
fn earlier(path: &Path, bodies: &[&str], next: u128) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut messages = transaction.open_table(MESSAGES).unwrap();
        for (sequence, body) in (3..).zip(bodies) {
            messages.insert(sequence, body.as_bytes()).unwrap();
        }
        let mut dead = transaction.open_table(DEAD).unwrap();
        let letter = r#"{"reason":"r","deliveries":1,"body":"{\"v\":9}"}"#;
        dead.insert(2, letter.as_bytes()).unwrap();
        let mut numbers = transaction.open_table(NUMBERS).unwrap();
        numbers.insert("identity", 0xabc).unwrap();
        numbers.insert(NEXT, next).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_file_of_an_earlier_version_goes_on_with_its_messages_and_their_ids() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queue.redb");
    let body = crate::buffer::message::encode(&message("/old")).unwrap();
    earlier(&file, &[&body], 4);
    let buffer = new(&directory).await;
    buffer.send(vec![message("/new")]).await.unwrap();
    let received = all(&buffer).await;
    assert_eq!(paths(&received), ["/new", "/old"]);
    assert_eq!(*received[0].id, *format!("{:032x}-3", 0xabc));
    assert_eq!(buffer.redrive().await.unwrap().moved, 1);
    assert_eq!(state(&buffer).await.losses, 0);
    drop(buffer);

    // An earlier version reads what this one has written.
    let database = Database::open(&file).unwrap();
    let transaction = database.begin_read().unwrap();
    let messages = transaction.open_table(MESSAGES).unwrap();
    let paths: Vec<String> = messages
        .iter()
        .unwrap()
        .filter_map(|entry| crate::buffer::message::decode(entry.unwrap().1.value()).ok())
        .flat_map(|message| message.paths)
        .collect();
    assert_eq!(paths, ["/old", "/new"]);
}

#[tokio::test]
async fn openings_without_messages_are_forgotten_but_for_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..70 {
        let buffer = new(&directory).await;
        buffer.send(vec![message("/a")]).await.unwrap();
        let received = all(&buffer).await;
        let receipts: Vec<LocalReceipt> = received.iter().map(|one| one.receipt).collect();
        buffer.delete(&receipts).await.unwrap();
    }
    let buffer = new(&directory).await;
    let count = buffer.run("count", |store| {
        store.file.with_database(|database| {
            let openings = database.begin_read()?.open_table(OPENINGS)?;
            Ok(redb::ReadableTableMetadata::len(&openings)?)
        })
    });
    assert_eq!(count.await.unwrap(), 64);
}
