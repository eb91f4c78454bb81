use std::time::Duration;

use std::path::Path;

use redb::{Database, Error, ReadableDatabase, ReadableTable};

use super::file::{DEAD, MESSAGES, NEXT, NUMBERS, OPENINGS};
use super::queue::RECEIVE_MAX;
use super::*;
use crate::buffer::{Buffer, Buried, Message, Received, Redriven, RejectedMessage};
use crate::model::{BufferMark, BufferState, CommitTime};

const NOW: Duration = Duration::ZERO;

fn message(path: &str) -> Message {
    Message {
        source: "shop".into(),
        distribution: "main".into(),
        distribution_id: None,
        tenant: None,
        paths: vec![path.to_owned()],
        committed_at: CommitTime::from_micros(1),
        sent: None,
        redriven_at: None,
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
        .run("send", |store| store.append(vec!["{\"v\":9}".to_owned()]))
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

/// Its state, with nothing to go on from.
async fn state(buffer: &Local) -> BufferState {
    buffer.continue_from(None).await.borrow().clone()
}

async fn mark(buffer: &Local) -> BufferMark {
    state(buffer).await.mark.unwrap()
}

/// The messages that are visible.
async fn all(buffer: &Local) -> Vec<Received<LocalReceipt>> {
    let mut all = Vec::new();
    loop {
        let some = buffer.receive(NOW).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// The opening that wrote it, and its number.
fn place(received: &Received<LocalReceipt>) -> (&str, u64) {
    let (opening, number) = received.id.split_once('-').unwrap();
    (opening, number.parse().unwrap())
}

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

type Change = fn(&mut [u8]);

fn page(bytes: &mut [u8], number: usize, change: Change) {
    let end = bytes.len().min((number + 1) * 4096);
    change(&mut bytes[number * 4096..end]);
}

#[tokio::test]
async fn any_damaged_page_gives_every_message_or_a_loss_and_the_file_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queue.redb");
    let buffer = new(&directory).await;
    let sent: Vec<String> = (0..60)
        .map(|n| format!("/{n:02}/{}", "x".repeat(300)))
        .collect();
    for path in &sent {
        buffer.send(vec![message(path)]).await.unwrap();
    }
    let stored = mark(&buffer).await;
    let running = std::fs::read(&file).unwrap();
    drop(buffer);
    let closed = std::fs::read(&file).unwrap();
    let mut losses = 0;
    for (whole, name) in [(running, "after a kill"), (closed, "closed")] {
        let pages = whole.len().div_ceil(4096);
        for number in 0..pages {
            let changes: [(&str, Change); 3] = [
                ("zeroed", |page| page.fill(0)),
                ("flipped", |page| page[page.len() / 2] ^= 0x10),
                ("head", |page| page[9..24].fill(0xa5)),
            ];
            for (change, damage) in changes {
                let mut bytes = whole.clone();
                page(&mut bytes, number, damage);
                let damaged = bytes != whole;
                let scene = memory();
                std::fs::write(scene.path().join("queue.redb"), bytes).unwrap();
                let buffer = new(&scene).await;
                let state = buffer.continue_from(Some(stored.clone())).await;
                let came = paths(&all(&buffer).await);
                let lost = state.borrow().losses > 0;
                assert!(
                    lost || came == sent,
                    "{name}: page {number} {change}: {} of {} came",
                    came.len(),
                    sent.len()
                );
                assert!(damaged || !lost, "{name}: page {number} {change}");
                // A release build would have ended at a panic.
                let reason = state.borrow().reason.clone().unwrap_or_default();
                assert!(
                    !reason.contains("redb cannot read"),
                    "page {number} {change}"
                );
                losses += u32::from(lost);
                if lost && came.is_empty() {
                    let names = std::fs::read_dir(scene.path()).unwrap();
                    let aside = names
                        .map(|entry| entry.unwrap().file_name())
                        .any(|name| name.to_string_lossy().starts_with("queue.redb.damaged-"));
                    assert!(aside, "{name}: page {number} {change}");
                }
                buffer.send(vec![message("/later")]).await.unwrap();
                assert_eq!(paths(&all(&buffer).await), ["/later"]);
            }
        }
        for length in [
            1,
            9,
            100,
            4096,
            whole.len() / 2,
            whole.len() - 4096,
            whole.len() - 1,
        ] {
            let scene = tempfile::tempdir().unwrap();
            std::fs::write(scene.path().join("queue.redb"), &whole[..length]).unwrap();
            let opened = Local::open(scene.path().join("queue.redb")).await;
            let Ok(buffer) = opened else {
                assert!(length < 9, "{length}: {opened:?}");
                continue;
            };
            let state = buffer.continue_from(Some(stored.clone())).await;
            let came = paths(&all(&buffer).await);
            assert!(
                state.borrow().losses > 0 || came == sent,
                "{name}: {length}"
            );
        }
    }
    assert!(losses > 0);
}

/// Where a file may be made often: in memory, if there is such a place.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The bytes of a queue that holds `sent`, as a kill and as a stop leave them, and its mark.
async fn queue_of(sent: &[&str]) -> ([Vec<u8>; 2], BufferMark) {
    let directory = memory();
    let file = directory.path().join("queue.redb");
    let buffer = new(&directory).await;
    for path in sent {
        buffer.send(vec![message(path)]).await.unwrap();
    }
    let stored = mark(&buffer).await;
    let running = std::fs::read(&file).unwrap();
    drop(buffer);
    ([running, std::fs::read(&file).unwrap()], stored)
}

#[tokio::test]
async fn any_bit_of_the_first_pages_gives_every_message_or_a_loss_and_the_file_is_set_aside() {
    let sent = ["/a", "/b", "/c"];
    let (files, stored) = queue_of(&sent).await;
    let mut losses = 0;
    for (whole, bits) in files.into_iter().zip([8, 1]) {
        // No checksum covers the first 64 bytes, and after 320 the first page stands for nothing.
        let bare = (0..64).flat_map(|at| (0..bits).map(move |bit| (at, bit)));
        let checked = (64..320).chain((320..8192).step_by(101));
        for (at, bit) in bare.chain(checked.map(|at| (at, at % 8))) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let scene = memory();
            let file = scene.path().join("queue.redb");
            std::fs::write(&file, bytes).unwrap();
            let buffer = Local::open_expecting(file, true).await;
            let buffer = buffer.unwrap_or_else(|error| panic!("byte {at}, bit {bit}: {error}"));
            let state = buffer.continue_from(Some(stored.clone())).await;
            let state = state.borrow().clone();
            let came = paths(&all(&buffer).await);
            let lost = state.losses > 0;
            assert!(lost || came == sent, "byte {at}, bit {bit}: {came:?}");
            let reason = state.reason.unwrap_or_default();
            assert!(!reason.contains("redb cannot read"), "byte {at}, bit {bit}");
            let names = std::fs::read_dir(scene.path()).unwrap().count();
            let is_aside = names == 2;
            assert!(
                is_aside || !lost || !came.is_empty(),
                "byte {at}, bit {bit}"
            );
            losses += u32::from(lost);
        }
    }
    assert!(losses > 400, "{losses}");
}

#[tokio::test]
async fn a_file_of_something_else_is_left_as_it_is_unless_a_queue_was_there() {
    let ([_, closed], _) = queue_of(&["/a"]).await;
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = closed.clone();
        changes.iter().for_each(|&(at, byte)| bytes[at] = byte);
        bytes
    };
    // A database of something else, as a kill leaves it: to open it mends it.
    let scene = memory();
    let path = scene.path().join("other.redb");
    let other = Database::create(&path).unwrap();
    let notes: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("notes");
    let transaction = other.begin_write().unwrap();
    transaction.open_table(notes).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    let other = std::fs::read(&path).unwrap();
    for (bytes, words, once_in_use) in [
        (b"notes".to_vec(), "is not a queue of evictd", true),
        (
            b"0123456789".repeat(1_000),
            "is not a queue of evictd",
            true,
        ),
        (other, "is not a queue of evictd", true),
        (with(&[(2, b'x')]), "is not a queue of evictd", true),
        (with(&[(64, 2), (192, 2)]), "a later version", false),
        (with(&[(64, 4), (192, 4)]), "a later version", false),
    ] {
        let scene = memory();
        let file = scene.path().join("queue.redb");
        std::fs::write(&file, &bytes).unwrap();
        for error in [
            Local::open(&file).await.unwrap_err(),
            Local::examine(file.clone(), false).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.is_transient());
        }
        let condition = Local::examine(file.clone(), true).await;
        let damaged = matches!(condition, Ok(LocalCondition::Damaged(_)));
        assert_eq!(damaged, once_in_use, "{condition:?}");
        assert!(std::fs::read(&file).unwrap() == bytes, "{words}");
        let opened = Local::open_expecting(file.clone(), true).await;
        assert_eq!(opened.is_ok(), once_in_use, "{opened:?}");
        let aside = scene.path().join("queue.redb.damaged-1");
        let kept = if once_in_use { aside } else { file };
        assert!(std::fs::metadata(kept).is_ok());
    }
}

#[tokio::test]
async fn a_queue_is_examined_without_a_trace() {
    let ([running, closed], _) = queue_of(&["/a", "/b"]).await;
    let scene = memory();
    let file = scene.path().join("queue.redb");
    let examined = async || Local::examine(file.clone(), false).await.unwrap();
    assert_eq!(examined().await, LocalCondition::Absent);
    let unfinished = b"\0\0\0\0\0\0\0\0\0\x04\0\0\0\x10\0\0".repeat(1_000);
    let cut = closed[..closed.len() / 2].to_vec();
    for (bytes, is_sound) in [
        (running, true),
        (closed, true),
        (cut, false),
        (vec![0; 5_000], false),
        (unfinished, false),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        match examined().await {
            LocalCondition::Sound { messages } => assert_eq!((messages, is_sound), (2, true)),
            LocalCondition::Damaged(_) => assert!(!is_sound),
            other => panic!("{other:?}"),
        }
        assert!(std::fs::read(&file).unwrap() == bytes);
        assert_eq!(std::fs::read_dir(scene.path()).unwrap().count(), 1);
    }
    let _holder = new(&scene).await;
    assert_eq!(examined().await, LocalCondition::InUse);
}

#[tokio::test]
async fn damage_that_is_met_while_it_runs_is_a_loss_and_the_queue_goes_on() {
    type Damage = fn(&Database) -> Result<(), Error>;
    // A body that is another one, a message that is not there any more, and a
    // page that `redb` cannot read.
    let damages: [Damage; 3] = [
        |database| {
            let transaction = database.begin_write()?;
            {
                let mut messages = transaction.open_table(MESSAGES)?;
                let first = messages.first()?.map(|(sequence, _)| sequence.value());
                messages.insert(first.unwrap(), [0; 50].as_slice())?;
            }
            Ok(transaction.commit()?)
        },
        |database| {
            let transaction = database.begin_write()?;
            transaction.open_table(MESSAGES)?.pop_first()?;
            Ok(transaction.commit()?)
        },
        |_| panic!("as at a damaged page"),
    ];
    for damage in damages {
        let directory = tempfile::tempdir().unwrap();
        let buffer = new(&directory).await;
        let mut lost = buffer.continue_from(None).await;
        buffer
            .send(vec![message("/a"), message("/b")])
            .await
            .unwrap();
        let before = mark(&buffer).await;
        let done = buffer.run("damage", move |store| store.file.with_database(damage));
        done.await.ok();
        // Whoever receives tries again.
        let mut received = buffer.receive(NOW).await;
        if let Err(error) = &received {
            assert!(error.is_transient(), "{error}");
            received = buffer.receive(NOW).await;
        }
        assert!(received.unwrap().is_empty());
        lost.wait_for(|state| state.losses == 1).await.unwrap();
        buffer.send(vec![message("/c")]).await.unwrap();
        assert_eq!(paths(&all(&buffer).await), ["/c"]);
        let aside = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(aside, 2);
        drop(buffer);
        let state = new(&directory).await.continue_from(Some(before)).await;
        assert_eq!(state.borrow().losses, 1, "a crash before it was mended");
    }
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
            .args(["--exact", "buffer::local::tests::writes_until_it_is_killed"])
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
