//! Binlogs that real servers wrote, whole and damaged: never a panic, and never less than what stands in them unless
//! something widened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use evictd::binlog::decode::layout::TableLayout;
use evictd::binlog::decode::row::RowDecoder;
use evictd::binlog::events::cutter::{Arrival, Events};
use evictd::binlog::reader::{Assembler, Interest, Item, Step};
use evictd::model::{Position, TableName};

use super::corpus::Random;
use crate::support::{Mysql, MysqlOptions};

/// Reads every column of every table.
struct Everything;

impl Interest for Everything {
    type Table = RowDecoder;

    fn wants(&self, _: &TableName) -> bool {
        true
    }

    fn bind(&self, layout: TableLayout) -> Result<RowDecoder, String> {
        let columns: Vec<usize> = (0..layout.column_count()).collect();
        Ok(RowDecoder::new(Arc::new(layout), &columns))
    }
}

/// What some events came to.
#[derive(Debug, Default)]
struct Outcome {
    /// How often each row was read, or each table widened.
    changes: BTreeMap<String, u32>,
    /// Everything was widened.
    everything: bool,
    commits: u32,
}

impl Outcome {
    fn of<'a>(events: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let position = Position {
            file: "bin.000001".into(),
            offset: 4,
            gtids: None,
        };
        let mut assembler = Assembler::new(Everything, position);
        let mut reader = Events::default();
        let mut outcome = Self::default();
        for event in events {
            if let Some(arrival) = reader.feed(BytesMut::from(event), true) {
                outcome.take(&mut assembler, arrival);
            }
            while let Some(arrival) = reader.unpacked() {
                outcome.take(&mut assembler, arrival);
            }
        }
        outcome
    }

    fn take(&mut self, assembler: &mut Assembler<Everything>, arrival: Arrival) {
        let mut step = match arrival {
            Arrival::Event(event) => assembler.feed(event),
            Arrival::Unreadable { event_type, reason } => {
                assembler.feed_unreadable(event_type, reason)
            }
        };
        if let Step::NeedsCatalog(table, event) = step {
            assembler.learn(table, None);
            step = assembler.feed(event);
        }
        let Step::Item(item) = step else { return };
        match item {
            Item::Commit => self.commits += 1,
            Item::AnyChanged(_) | Item::DatabaseDropped(_) => self.everything = true,
            Item::TablesChanged(tables) => tables.iter().for_each(|table| self.widen(table)),
            Item::Undecodable(table, _) => self.widen(&table),
            Item::Statement(dml) => dml.targets.iter().for_each(|table| self.widen(table)),
            Item::Rows(decoder, payload) => {
                let table = &decoder.layout().schema.name;
                let Ok(mut rows) = payload.parse().and_then(|event| decoder.rows(event)) else {
                    return self.widen(table);
                };
                loop {
                    match rows.next_row() {
                        Ok(Some(row)) => {
                            let text =
                                format!("{table} {:?} {:?} {:?}", row.op, row.before, row.after);
                            *self.changes.entry(text).or_default() += 1;
                        }
                        Ok(None) => return,
                        Err(_) => return self.widen(table),
                    }
                }
            }
        }
    }

    fn widen(&mut self, table: &TableName) {
        *self
            .changes
            .entry(format!("{table} as a whole"))
            .or_default() += 1;
    }

    /// A change of `whole` that this outcome covers in no way.
    fn lacks<'a>(&self, whole: &'a Self) -> Option<&'a str> {
        let covered = |change: &str, count: u32| {
            let table = change.split(' ').next().unwrap_or_default();
            self.everything
                || self.changes.get(change).copied().unwrap_or(0) >= count
                || self.changes.contains_key(&format!("{table} as a whole"))
        };
        let mut changes = whole.changes.iter();
        let lacking = changes.find(|(change, count)| !covered(change, **count));
        lacking.map(|(change, _)| change.as_str())
    }
}

/// A file's events, cut by the sizes in their headers.
fn events(file: &[u8]) -> Vec<&[u8]> {
    assert_eq!(&file[..4], b"\xfebin");
    let (mut rest, mut events) = (&file[4..], Vec::new());
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap());
        let (event, after) = rest.split_at(size as usize);
        events.push(event);
        rest = after;
    }
    events
}

/// Everything that this server writes into a binlog.
const HISTORY: &str = "
CREATE DATABASE shop; USE shop;
CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(300), tags JSON, kind ENUM('a', 'b'), at DATETIME(3), cost DECIMAL(9, 2), raw BLOB);
CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, user_id INT, note TEXT);
INSERT INTO users VALUES (1, 'Ada', '{\"a\": [1, 2, \"x\"]}', 'a', NOW(3), 1.5, x'00ff'), (2, NULL, NULL, NULL, NULL, NULL, NULL);
BEGIN; UPDATE users SET name = CONCAT(name, 'x'), cost = cost + 1; INSERT INTO orders (user_id, note) SELECT id, REPEAT('n', id * 100) FROM users; COMMIT;
SET binlog_row_image = MINIMAL; UPDATE users SET name = 'Grace' WHERE id = 1; SET binlog_row_image = FULL;
SET binlog_row_value_options = PARTIAL_JSON; UPDATE users SET tags = JSON_SET(tags, '$.b', 5) WHERE id = 1; SET binlog_row_value_options = '';
SET binlog_transaction_compression = ON; INSERT INTO orders (user_id, note) SELECT user_id, REPEAT('z', 500) FROM orders; DELETE FROM orders WHERE id = 1; SET binlog_transaction_compression = OFF;
XA START 'x'; INSERT INTO orders (note) VALUES ('prepared'); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x';
SET binlog_rows_query_log_events = ON; DELETE FROM users WHERE id = 2; SET binlog_rows_query_log_events = OFF;
ALTER TABLE users ADD city VARCHAR(20) FIRST; INSERT INTO users (id, city) VALUES (3, 'Turin');
CREATE TABLE copies AS SELECT * FROM users; DROP TABLE copies;
SET gtid_next = 'AUTOMATIC:tag'; DELETE FROM orders; SET gtid_next = 'AUTOMATIC';
TRUNCATE users; FLUSH BINARY LOGS";

/// What real servers wrote: this one, with and without checksums, and those whose files are at hand in the folder
/// that EVICTD_BINLOGS names.
async fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for checksum in ["CRC32", "NONE"] {
        let mysql = Mysql::start(MysqlOptions {
            extra: vec![format!("--binlog-checksum={checksum}")],
            ..MysqlOptions::default()
        })
        .await;
        mysql.exec(HISTORY).await;
        let path = mysql.data_dir().join("mysql-bin.000001");
        files.push((format!("checksum {checksum}"), std::fs::read(path).unwrap()));
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/binlogs");
    let folder = std::env::var("EVICTD_BINLOGS").map_or(beside, PathBuf::from);
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(b"\xfebin") {
            files.push((path.display().to_string(), bytes));
        }
    }
    files
}

/// One event of `events`, flipped, cut or made longer.
fn damaged(events: &[&[u8]], random: &mut Random) -> (usize, Vec<u8>) {
    let hit = random.next() as usize % events.len();
    let mut event = events[hit].to_vec();
    let mut index = || random.next() as usize % events[hit].len();
    match index() % 8 {
        0 => event.truncate(index()),
        1 => event.extend([index() as u8; 7]),
        2 => {
            let at = index();
            event.drain(at..(at + 1 + index() % 16).min(events[hit].len()));
        }
        // What packets are cut by stays as it was; the server looks at it too.
        flips => {
            for _ in 0..flips.min(4) {
                event[index()] ^= 1 << (index() % 8);
            }
        }
    }
    (hit, event)
}

const DAMAGES: usize = 1_500;

#[tokio::test]
async fn real_binlogs_are_read_whole_and_damaged_ones_never_hide_a_change() {
    let files = files().await;
    assert!(files.len() >= 2);
    for (file, bytes) in &files {
        let events = events(bytes);
        let whole = Outcome::of(events.iter().copied());
        let read: u32 = whole.changes.values().sum();
        println!(
            "{file}: {} events, {read} changes, {} commits",
            events.len(),
            whole.commits
        );
        assert!(!whole.everything, "{file}");
        seed(file, &events);
        let checked = file.to_lowercase().contains("crc32");
        let mut random = Random::new(7);
        for _ in 0..DAMAGES {
            let (hit, event) = damaged(&events, &mut random);
            let sent = (0..events.len()).map(|at| if at == hit { &event[..] } else { events[at] });
            let outcome = Outcome::of(sent);
            // Without checksums a value can turn into another; that nothing panics is what is tried.
            if checked {
                let lacking = outcome.lacks(&whole);
                assert_eq!(
                    lacking, None,
                    "{file}: event {hit} of type {} as {event:?}",
                    events[hit][4]
                );
            }
        }
        for end in (0..bytes.len()).step_by(bytes.len() / 400 + 1) {
            let cut = cut(&events, end);
            let outcome = Outcome::of(cut.iter().copied());
            let until = cut.len().saturating_sub(1);
            let before = Outcome::of(events[..until].iter().copied());
            assert_eq!(outcome.lacks(&before), None, "{file} until {end}");
        }
    }
}

/// The events of a file that ends at `end`, the last of them maybe in its midst.
fn cut<'a>(events: &[&'a [u8]], end: usize) -> Vec<&'a [u8]> {
    let (mut left, mut kept) = (end.saturating_sub(4), Vec::new());
    for event in events {
        if left == 0 {
            break;
        }
        kept.push(&event[..event.len().min(left)]);
        left = left.saturating_sub(event.len());
    }
    kept
}

/// Writes a seed for `fuzz/fuzz_targets/events.rs` into the folder that EVICTD_FUZZ_EVENTS names.
fn seed(file: &str, events: &[&[u8]]) {
    let Ok(folder) = std::env::var("EVICTD_FUZZ_EVENTS") else {
        return;
    };
    let name: String = file.chars().filter(char::is_ascii_alphanumeric).collect();
    // The format stands before each part.
    let (format, events) = events.split_first().unwrap();
    for (part, events) in events.chunks(30).enumerate() {
        let mut input = Vec::new();
        for event in std::iter::once(format).chain(events) {
            if event.len() < 1 << 15 {
                input.extend(u16::try_from(event.len()).unwrap().to_le_bytes());
                input.extend(*event);
            }
        }
        std::fs::write(format!("{folder}/{name}-{part}"), input).unwrap();
    }
}
