use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;

const WITHIN: Duration = Duration::from_secs(20);

fn place(offset: u64) -> BinlogPlace {
    BinlogPlace {
        file: "bin.000001".to_owned(),
        offset,
        gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7".to_owned()),
    }
}

fn letter(key: &[u8]) -> DeadLetter {
    let mut letter = DeadLetter::new("no-permission", "NOPERM", "grant it").of_key(key);
    letter.position = Some(place(4));
    letter.rules = vec!["users".to_owned()];
    letter
}

async fn read(dir: &Path) -> LedgerSummary {
    LedgerFiles::new(dir, "shop").read().await.unwrap()
}

#[tokio::test]
async fn what_is_put_on_record_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), "shop").await;
    let id = ledger.gap_begun(place(4), place(900), "purged");
    ledger.gap_done(id);
    ledger.dead_letter(letter(b"user:1"));
    ledger.flush(WITHIN).await;
    let before = ledger.summary();

    let again = Ledger::open(dir.path(), "shop").await;
    for book in [again.summary(), read(dir.path()).await] {
        assert_eq!((book.gaps, book.dead_letters, book.unreadable), (1, 1, 0));
        assert_eq!(book.recent_gaps, before.recent_gaps);
        assert_eq!(book.recent_dead_letters, before.recent_dead_letters);
        let gap = &book.recent_gaps[0];
        assert!(gap.done_at.is_some() && !gap.is_open());
        assert_eq!((&gap.from, &gap.to), (&place(4), &Some(place(900))));
    }
    again.dead_letter(letter(b"user:2"));
    again.flush(WITHIN).await;
    assert_eq!(read(dir.path()).await.dead_letters, 2);
}

#[tokio::test]
async fn a_gap_that_is_met_again_replaces_the_one_that_was_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), "shop").await;
    ledger.gap_begun(place(4), place(900), "purged");
    ledger.flush(WITHIN).await;
    assert!(read(dir.path()).await.recent_gaps[0].is_open());
    tokio::time::sleep(Duration::from_millis(2)).await;
    let again = ledger.gap_begun(place(4), place(950), "purged");
    ledger.gap_done(again);
    ledger.flush(WITHIN).await;
    let gaps = read(dir.path()).await.recent_gaps;
    assert!(gaps[0].repeated && !gaps[0].is_open() && gaps[0].done_at.is_none());
    assert!(!gaps[1].repeated && gaps[1].done_at.is_some());
}

#[tokio::test]
async fn a_daemon_that_halts_at_one_gap_again_and_again_puts_it_on_record_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let ledger = Ledger::open(dir.path(), "shop").await;
        ledger.halted(place(4), "purged");
        ledger.flush(WITHIN).await;
    }
    let ledger = Ledger::open(dir.path(), "shop").await;
    ledger.halted(place(5), "purged");
    ledger.flush(WITHIN).await;
    let gaps = read(dir.path()).await.recent_gaps;
    assert_eq!(gaps.len(), 2);
    assert!(gaps.iter().all(|gap| gap.halted && gap.to.is_none()));
}

#[tokio::test]
async fn half_a_line_is_skipped_and_the_next_record_begins_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = LedgerFiles::new(dir.path(), "shop").dead_letters;
    fs::write(&file, "{\"at\":\"2026-").unwrap();
    let ledger = Ledger::open(dir.path(), "shop").await;
    ledger.dead_letter(letter(b"user:1"));
    ledger.flush(WITHIN).await;
    let book = read(dir.path()).await;
    assert_eq!((book.dead_letters, book.unreadable), (1, 1));
}

#[tokio::test]
async fn a_full_disk_is_said_and_what_waited_is_written_when_it_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let file = LedgerFiles::new(dir.path(), "shop").dead_letters;
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let ledger = Ledger::open(dir.path(), "shop").await;
    ledger.dead_letter(letter(b"user:1"));
    let trouble = loop {
        if let Some(trouble) = ledger.write_failure() {
            break trouble;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    ledger.dead_letter(letter(b"user:2"));
    assert!(trouble.error.contains("No space left"), "{}", trouble.error);
    // The other file is not concerned.
    ledger.gap_begun(place(4), place(900), "purged");
    fs::remove_file(&file).unwrap();
    ledger.flush(WITHIN).await;
    assert_eq!(ledger.write_failure(), None);
    let book = read(dir.path()).await;
    let keys = |letters: VecDeque<DeadLetter>| -> Vec<String> {
        letters
            .into_iter()
            .filter_map(|letter| letter.key)
            .collect()
    };
    assert_eq!(keys(book.recent_dead_letters), ["user:1", "user:2"]);
    ledger.dead_letter(letter(b"user:3"));
    ledger.flush(WITHIN).await;
    assert_eq!(read(dir.path()).await.dead_letters, 3);
}

#[tokio::test]
async fn what_waits_for_a_full_disk_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let file = LedgerFiles::new(dir.path(), "shop").dead_letters;
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let ledger = Ledger::open(dir.path(), "shop").await;
    for number in 0..40 {
        let mut letter = letter(format!("user:{number}").as_bytes());
        letter.detail = "x".repeat(1 << 20);
        ledger.dead_letter(letter);
    }
    fs::remove_file(&file).unwrap();
    ledger.flush(WITHIN).await;
    let kept = read(dir.path()).await;
    assert!(
        (16..40).contains(&kept.dead_letters),
        "{}",
        kept.dead_letters
    );
    assert_eq!(ledger.summary().dead_letters, 40, "none goes uncounted");
    assert_eq!(kept.unreadable, 0);
    // There is room again.
    ledger.dead_letter(letter(b"user:40"));
    ledger.flush(WITHIN).await;
    let newest = read(dir.path()).await.recent_dead_letters.pop_back();
    assert_eq!(newest.unwrap().key.as_deref(), Some("user:40"));
}

#[test]
fn a_directory_that_is_none_is_refused_and_says_which_field_to_set() {
    let dir = tempfile::tempdir().unwrap();
    assert!(check_directory(dir.path()).is_ok());
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [dir.path().join("missing"), file] {
        let text = check_directory(&path).unwrap_err().to_string();
        let named = text.contains(&path.display().to_string());
        assert!(named && text.contains("ledger.dir"), "{text}");
    }
}

#[test]
fn a_key_that_is_no_text_is_shown_with_escapes() {
    assert_eq!(letter(b"k\xff\x00").key.as_deref(), Some(r"k\xff\x00"));
    assert_eq!(letter("grün".as_bytes()).key.as_deref(), Some("grün"));
}

#[tokio::test]
async fn what_is_put_back_is_counted_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), "shop").await;
    let paths = |number: usize| vec![format!("/{number}"), format!("/{number}/x")];
    let bury = |number: usize| {
        let mut letter = DeadLetter::new("invalid-path", "refused", "put it back");
        letter.distribution = Some("main".to_owned());
        letter.paths = paths(number);
        letter.message = Some(number.to_string());
        ledger.dead_letter(letter);
    };
    (0..100).for_each(bury);
    ledger.dead_letter(letter(b"user:1"));
    assert_eq!(ledger.summary().in_the_buffer(), 100);
    let now = jiff::Timestamp::now;
    for number in 0..60 {
        // A message may hold more than what was refused of it, and come twice.
        let mut held = paths(number);
        held.push("/other".to_owned());
        ledger.redriven("main", &held, now());
        ledger.redriven("main", &held, now());
        ledger.redriven("images", &paths(number + 1), now());
        ledger.redriven("main", &paths(number + 1)[..1], now());
    }
    ledger.flush(WITHIN).await;
    for summary in [ledger.summary(), read(dir.path()).await] {
        assert_eq!((summary.put_back, summary.missed), (60, 0));
        assert_eq!(summary.in_the_buffer(), 40);
    }
    let files = LedgerFiles::new(dir.path(), "shop");
    files.redriven(now(), true).await.unwrap();
    let summary = read(dir.path()).await;
    assert_eq!((summary.put_back, summary.missed), (60, 40));
    assert_eq!((summary.in_the_buffer(), summary.dead_letters), (0, 101));
    files.redriven(now(), false).await.unwrap();
    assert_eq!(read(dir.path()).await.put_back, 60, "they are not there");
}

#[test]
fn a_record_says_how_many_paths_it_is_about() {
    let mut letter = DeadLetter::new("invalid-path", "refused", "put it back");
    letter.paths = vec!["/a".to_owned()];
    assert_eq!(letter.subject(), "path /a");
    letter.paths.extend(["/b".to_owned(), "/c".to_owned()]);
    assert_eq!(letter.subject(), "path /a and 2 more");
}
