use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::history::CLEANED_FROM_BYTES;
use super::*;

const VISIBILITY: Duration = Duration::from_secs(30);

fn past_of(distribution: &str, n: u32, at: Timestamp) -> Past {
    Past {
        distribution_id: distribution.to_owned(),
        id: format!("I{n}"),
        tenant: None,
        caller_reference: format!("evictd-{n}"),
        at,
        paths: vec![format!("/{n}"), "/x*".to_owned()],
    }
}

async fn ids(reader: &Reader) -> Vec<String> {
    let news = reader.news().await.unwrap();
    news.into_iter().map(|past| past.id).collect()
}

#[tokio::test]
async fn what_one_process_puts_on_record_another_reads_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.invalidations.jsonl");
    let one = History::open_file(&path, VISIBILITY).await.unwrap();
    let other = History::open_file(&path, VISIBILITY).await.unwrap();
    let reader = other.reader("E1");
    assert_eq!(ids(&reader).await, [""; 0]);
    let now = Timestamp::now();
    let first = past_of("E1", 1, now);
    one.made(first.clone()).await.unwrap();
    one.made(past_of("E2", 2, now)).await.unwrap();
    assert_eq!(reader.news().await.unwrap(), [first]);
    assert_eq!(ids(&reader).await, [""; 0]);
    other.made(past_of("E1", 3, now)).await.unwrap();
    assert_eq!(ids(&reader).await, ["I3"]);
    assert_eq!(ids(&one.reader("E1")).await, ["I1", "I3"]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn half_a_line_costs_no_other_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.invalidations.jsonl");
    let history = History::open_file(&path, VISIBILITY).await.unwrap();
    let reader = history.reader("E1");
    let now = Timestamp::now();
    history.made(past_of("E1", 1, now)).await.unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"distribution_id\":\"E").unwrap();
    assert_eq!(ids(&reader).await, ["I1"]);
    history.made(past_of("E1", 2, now)).await.unwrap();
    assert_eq!(ids(&reader).await, ["I2"]);
    let successor = History::open_file(&path, VISIBILITY).await.unwrap();
    assert_eq!(ids(&successor.reader("E1")).await, ["I1", "I2"]);
}

#[tokio::test]
async fn what_is_too_old_to_matter_goes_and_readers_miss_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.invalidations.jsonl");
    let history = History::open_file(&path, VISIBILITY).await.unwrap();
    let reader = history.reader("E1");
    let now = Timestamp::now();
    let old = now - SignedDuration::from_secs(16 * 60);
    history.made(past_of("E1", 1, old)).await.unwrap();
    history.made(past_of("E1", 2, now)).await.unwrap();
    assert_eq!(ids(&reader).await, ["I1", "I2"]);
    let successor = History::open_file(&path, VISIBILITY).await.unwrap();
    successor.made(past_of("E1", 3, now)).await.unwrap();
    assert!(ids(&reader).await.contains(&"I3".to_owned()));
    assert_eq!(ids(&successor.reader("E1")).await, ["I2", "I3"]);
    let patient = History::open_file(&path, Duration::from_secs(12 * 3_600)).await;
    assert_eq!(ids(&patient.unwrap().reader("E1")).await, ["I2", "I3"]);
}

#[tokio::test]
async fn the_file_does_not_grow_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.invalidations.jsonl");
    let history = History::open_file(&path, VISIBILITY).await.unwrap();
    let old = Timestamp::now() - SignedDuration::from_secs(16 * 60);
    for n in 0..40 {
        let mut past = past_of("E1", n, old);
        past.paths = vec!["/".repeat(100_000)];
        history.made(past).await.unwrap();
    }
    let bytes = path.metadata().unwrap().len();
    assert!(bytes <= CLEANED_FROM_BYTES + 200_000, "{bytes}");
}

#[tokio::test]
async fn a_record_that_cannot_be_written_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing").join("x.jsonl");
    let error = History::open_file(&path, VISIBILITY).await.unwrap_err();
    assert!(error.to_string().contains("missing/x.jsonl"), "{error}");
}
