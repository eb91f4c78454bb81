//! A file that is damaged, or something else.

use super::*;

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

/// A mark as a position has it of a queue that was here.
fn in_use_at(file: &Path, mark: &BufferMark) -> BufferMark {
    let BufferMark::File { opening, next, .. } = mark.clone() else {
        panic!("{mark:?}");
    };
    let path = Some(file.display().to_string());
    BufferMark::File {
        opening,
        next,
        path,
    }
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
            let expected = in_use_at(&file, &stored);
            let buffer = Local::open_expecting(file, Some(expected)).await;
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
    let ([_, closed], stored) = queue_of(&["/a"]).await;
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
            Local::examine(file.clone(), None).await.unwrap_err(),
            // The queue that a position names was elsewhere.
            Local::examine(file.clone(), Some(stored.clone()))
                .await
                .unwrap_err(),
            Local::open_expecting(file.clone(), Some(stored.clone()))
                .await
                .unwrap_err(),
        ] {
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.is_transient());
        }
        let at = in_use_at(&file, &stored);
        let condition = Local::examine(file.clone(), Some(at.clone())).await;
        let damaged = matches!(condition, Ok(LocalCondition::Damaged(_)));
        assert_eq!(damaged, once_in_use, "{condition:?}");
        assert!(std::fs::read(&file).unwrap() == bytes, "{words}");
        let opened = Local::open_expecting(file.clone(), Some(at)).await;
        assert_eq!(opened.is_ok(), once_in_use, "{opened:?}");
        let aside = scene.path().join("queue.redb.damaged-1");
        let kept = if once_in_use { aside } else { file };
        assert!(std::fs::metadata(kept).is_ok());
    }
}

#[tokio::test]
async fn a_queue_is_examined_without_a_trace() {
    let ([running, closed], stored) = queue_of(&["/a", "/b"]).await;
    let scene = memory();
    let file = scene.path().join("queue.redb");
    let examined = async || Local::examine(file.clone(), None).await.unwrap();
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
        let expecting = |mark| Local::examine(file.clone(), Some(mark));
        let another = expecting(BufferMark::Queue("https://sqs".to_owned())).await;
        let found = (expecting(stored.clone()).await.unwrap(), another.unwrap());
        assert_eq!(
            matches!(found.0, LocalCondition::Sound { .. }),
            is_sound,
            "{found:?}"
        );
        assert_eq!(
            matches!(found.1, LocalCondition::Another { messages: 2, .. }),
            is_sound,
            "{found:?}"
        );
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
async fn a_path_that_cannot_be_a_file_is_refused_with_what_to_do() {
    let scene = tempfile::tempdir().unwrap();
    let at = |name: &str| scene.path().join(name);
    std::fs::create_dir(at("directory")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::os::unix::fs::symlink("missing/queue.redb", at("link")).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(at("fifo"))
        .status();
    assert!(fifo.unwrap().success());
    for (path, says, remedy) in [
        (at("directory"), "a directory is there", "name a file"),
        (at("fifo"), "a named pipe is there", "name a file"),
        (at("socket"), "a socket is there", "name a file"),
        ("/dev/null".into(), "a device is there", "name a file"),
        (at("link"), "link to missing/queue.redb", "correct the link"),
        (
            at("file/queue.redb"),
            "Not a directory",
            "make the directory",
        ),
        (at("none/queue.redb"), "No such file", "make the directory"),
    ] {
        let mut errors = vec![Local::open(&path).await.unwrap_err()];
        if !path.ends_with("none/queue.redb") {
            errors.push(Local::examine(path.clone(), None).await.unwrap_err());
        }
        for error in errors {
            let text = error.to_string();
            assert!(text.contains(says) && text.contains(remedy), "{text}");
            assert!(!error.is_transient(), "{text}");
        }
    }
    // A link to where a file can be is as good as the file.
    std::os::unix::fs::symlink("target.redb", at("good")).unwrap();
    let examined = Local::examine(at("good"), None).await.unwrap();
    assert_eq!(examined, LocalCondition::Absent);
    drop(Local::open(at("good")).await.unwrap());
    assert!(at("target.redb").is_file());
}

#[tokio::test]
async fn a_file_that_was_displaced_while_it_is_open_is_named_with_how_to_keep_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queue.redb");
    let buffer = new(&directory).await;
    buffer.send(vec![message("/a")]).await.unwrap();
    let stored = mark(&buffer).await;
    assert_eq!(buffer.displaced().await.unwrap(), None);
    std::fs::remove_file(&file).unwrap();
    let text = buffer.displaced().await.unwrap().unwrap();
    assert!(text.contains("messages: 1"), "{text}");
    buffer.send(vec![message("/b")]).await.unwrap();
    // Nobody writes meanwhile, as while a process is stopped.
    let descriptor = text.split("/fd/").nth(1).unwrap();
    let descriptor = descriptor.split(' ').next().unwrap();
    let kept = format!("/proc/self/fd/{descriptor}");
    std::fs::copy(kept, &file).unwrap();
    drop(buffer);
    let again = new(&directory).await;
    let state = again.continue_from(Some(stored)).await;
    assert_eq!(state.borrow().losses, 0);
    assert_eq!(paths(&all(&again).await), ["/a", "/b"]);
}
